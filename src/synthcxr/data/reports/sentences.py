"""Sentences out of running text, with the numbered lists, abbreviations and decimals of radiologists."""

import re

ABBREVIATION = re.compile(
    r"(?:\b(?:dr|drs|mr|mrs|ms|prof|st|vs|approx|cf|resp|dra|sra|fig|no|pt|incl|e\.g|i\.e|a\.m|p\.m|[A-Za-z])|\b\d+)\.$",
    re.IGNORECASE,
)
"""What a full stop may follow without ending the sentence, if the next word does not say otherwise."""
NEVER_AT_THE_END = re.compile(r"\b(?:dr|drs|mr|mrs|ms|prof|vs|approx|cf|e\.g|i\.e|dra|sra)\.$", re.IGNORECASE)
BOUNDARY = re.compile(r"[.?!]+(?=\s|$)|(?<=[a-z)])\.(?=[A-Z][a-z])|\n\s*\n")
LIST_NUMBER = re.compile(r"(?:^|(?<=[\s.;]))\(?(\d{1,2})[.)](?!\d)\s*(?=\S)")
BULLET = re.compile(r"(?:^|\n)[ \t]*[-*•–][ \t]+")
ACRONYMS = frozenset(
    [
        "AP",
        "PA",
        "CT",
        "MRI",
        "PET",
        "ICU",
        "CABG",
        "COPD",
        "CHF",
        "PICC",
        "IJ",
        "SVC",
        "ETT",
        "NG",
        "OG",
        "TB",
        "HIV",
        "AICD",
        "ICD",
        "IVC",
        "RA",
        "RV",
        "LV",
        "LA",
        "TAVR",
        "IABP",
        "ECMO",
        "PEG",
        "LVAD",
        "VP",
        "ARDS",
        "CXR",
        "US",
        "RUL",
        "RML",
        "RLL",
        "LUL",
        "LLL",
        "CP",
        "AC",
        "RLQ",
        "RUQ",
        "LUQ",
        "L1",
        "L2",
        "L3",
        "L4",
        "T1",
        "T2",
        "T3",
        "T4",
        "T5",
        "T6",
        "T7",
        "T8",
        "T9",
        "T10",
        "T11",
        "T12",
    ]
)


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, each with single spaces, a capital at its start and a full stop at its end.

    Hard line breaks are joined; a blank line, a bullet and the next number of a list end a sentence. List numbers and
    stray punctuation go.
    """
    text = re.sub(r"<[^<>]{1,20}>|&nbsp;", " ", text)
    text = BULLET.sub("\n\n", _without_list_numbers(text))
    pieces, start = [], 0
    for match in BOUNDARY.finditer(text):
        if match[0].startswith(".") and _goes_on(text[start : match.end()], text[match.end() :]):
            continue
        pieces.append(text[start : match.end()])
        start = match.end()
    pieces.append(text[start:])
    tidied = (tidy(piece) for piece in pieces)
    return [sentence for sentence in tidied if sentence]


def _goes_on(so_far: str, rest: str) -> bool:
    """Whether a full stop belongs to an abbreviation: by what stands before it, and by what comes next."""
    if NEVER_AT_THE_END.search(so_far):
        return True
    following = rest.lstrip()
    if not following or rest.startswith("\n\n"):
        return False
    lower = following[0].islower() and re.search(r"[A-Z]", so_far) is not None
    return lower and bool(ABBREVIATION.search(so_far))


def _without_list_numbers(text: str) -> str:
    """Turn the numbers 1, 2, 3 … of a list, as long as they come in this order, into blank lines."""
    expected, out, start = 1, [], 0
    for match in LIST_NUMBER.finditer(text):
        if int(match[1]) != expected:
            continue
        if expected == 1 and text[: match.start()].strip() and "2" not in text[match.end() :]:
            continue
        out.append(text[start : match.start()])
        start, expected = match.end(), expected + 1
    return "\n\n".join([*out, text[start:]])


def tidy(sentence: str) -> str:
    """Single spaces, no space before punctuation, a capital first, one full stop last; empty if no word is left."""
    sentence = " ".join(sentence.split())
    sentence = re.sub(r"\s+([,.;:?!)])", r"\1", sentence)
    sentence = re.sub(r"\(\s*\)|\[\s*\]", "", sentence)
    sentence = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", sentence)
    sentence = re.sub(r"\(\s+", "(", sentence)
    question = sentence.endswith("?")
    sentence = sentence.strip(" \t,;:.?!-–*•_").strip()
    if not re.search(r"[^\W\d_]{2}", sentence):
        return ""
    if sum(map(str.isupper, sentence)) > 0.7 * sum(map(str.isalpha, sentence)) and len(sentence.split()) > 2:
        sentence = _sentence_case(sentence)
    if sentence.count("(") != sentence.count(")"):
        sentence = sentence.replace("(", "").replace(")", "")
    return sentence[0].upper() + sentence[1:] + ("?" if question else ".")


def _sentence_case(sentence: str) -> str:
    words = re.split(r"(\W+)", sentence)
    return "".join(word if word in ACRONYMS or word == "XXXX" else word.lower() for word in words)
