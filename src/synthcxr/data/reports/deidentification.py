"""What was blacked out of a report: made readable by named rules where that is sure, else the sentence goes.

MIMIC-CXR writes ``___``, the Indiana collection ``XXXX`` (ordinary words among it), MIMIC-III ``[**Name**]``.
"""

import re

BLANK = "XXXX"
"""What every token becomes while a report is worked on; never part of a prompt."""
_KINDS = "redacted|removed|deidentified|name|date|time|hospital|doctor|patient|age|phone|location|id"
TOKEN = re.compile(
    rf"\[\*\*.*?\*\*\]|\[(?:{_KINDS})\]|<(?:{_KINDS})>|_{{2,}}|\bX{{3,}}\b|(?<![A-Za-z])X{{4,}}(?=[A-Z]{{2}}\b)",
    re.IGNORECASE | re.DOTALL,
)
LEFT_OVER = re.compile(r"X{3,}|_{2,}|\[\*\*|\*\*\]", re.IGNORECASE)

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
TELLING = re.compile(
    r"\b\d{1,4}(?P<between>[./-])\d{1,2}(?P=between)\d{2,4}\b"  # 12/03/2019, 2019-03-12, 1.2.1950
    rf"|\b(?:\d{{1,2}}(?:st|nd|rd|th)? )?{_MONTH} (?:\d{{1,2}}(?:st|nd|rd|th)?,? )?(?:19|20)\d{{2}}\b"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?= |[.,;]|$)|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b"
    r"|\b(?:19|20)\d{2}\b|\b\d{1,2}:\d{2}(?::\d{2})?(?: ?[ap]\.?m\b\.?)?"
    r"|\+?\b\d{2,4}[ /-]\d{3,4}[ /-]\d{3,5}\b|\b\d{6,}\b",
    re.IGNORECASE,
)
"""Dates, years, times, telephone and record numbers: a hospital's own report holds them, a published one has none."""


def black_out(text: str) -> str:
    """A text in which dates, times and long numbers have become blacked-out words, to be treated as those are."""
    return TELLING.sub(BLANK, text)


_DIAGNOSIS = (
    r"(?:an? |XXXX |sub\w+ |plate\w* |mild |minimal |small |focal |linear |"
    r"chronic |mucous |superimposed |calcified )*"
    r"(?:atelecta\w+|scar\w*|granulom\w+|fibrosis|pneumonia|infiltrat\w+|edema|emphysema|effusions?|artifact\w*|"
    r"vascular|calcifi\w+|pleural|fractures?|nodules?|bronchitis|inflammat\w+|overlying|overlap\w*)\b"
)
COMPLETIONS: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE), replacement)
    for name, pattern, replacement in (
        ("ray", r"\bx-XXXX", "x-ray"),
        ("degenerative changes", r"\b(degenerative changes?) (?:of|in) the XXXX(?=[.,;]|$)", r"\1"),
        ("lymph nodes", r"\blymph XXXX", "lymph nodes"),
        ("angle", r"\b(costophrenic|cardiophrenic|CP) XXXX(?= blunting| is\b)", r"\1 angle"),
        ("angle", r"\b((?:right|left)(?: \w+)? (?:costophrenic|cardiophrenic|CP)) XXXX", r"\1 angle"),
        ("angles", r"\b(costophrenic|cardiophrenic|CP) XXXX", r"\1 angles"),
        ("midline sternotomy", r"\bXXXX (?=sternotomy)", ""),
        ("sternotomy wires", r"\bsternotomy XXXX", "sternotomy wires"),
        ("lung fields", r"\b((?:clear|both|the) lung|^lung) XXXX", r"\1 fields"),
        ("aortic arch", r"\baortic XXXX(?=[.,;]| (?:calcif|is |are |and |appears))", "aortic arch"),
        ("evidence", r"\bare no XXXX of\b", "is no evidence of"),
        ("evidence", r"\b(no|without) XXXX of\b", r"\1 evidence of"),
        ("heart size", r"\bheart XXXX(?=,| is | and )", "heart size"),
        ("vena cava", r"\bsuperior XXXX XXXX", "superior vena cava"),
        ("most likely", r"\bmost XXXX\b", "most likely"),
        (
            "likely",
            r"\bXXXX (?=(?:combination|represent|reflect|relat|secondary|due|caus|consistent|"
            r"accentuat|projection))",
            "likely ",
        ),
        ("likely", rf"(?<=opacity|acities|density|nsities) XXXX (?={_DIAGNOSIS})", " likely "),
        ("likely", r"(?<=,) XXXX from (?=[a-z])", " likely from "),
        ("likely", rf"(?<=,) XXXX (?={_DIAGNOSIS})", " likely "),
        (
            "size",
            r"(?:XXXX )?\b\d+(?:\.\d+)?(?: x \d+(?:\.\d+)?)? XXXX (?=(?:\w+ )?(?:nod|"
            r"dens|opac|mass|calc|granul))",
            "",
        ),
        ("cardiac device", r"\bcardiac XXXX (?=and leads|overl|with|in place)", "cardiac device "),
        ("seen", r"(?<=,) XXXX (?=seen|noted|identified)", " "),
        ("in place", r"\bin XXXX(?=[.,;]|$| and intact)", "in place"),
        (
            "date",
            r",? (?:from|since|dated?|on|performed|at|by) (?:the )?XXXX(?:(?:, |"
            r" and | at |/)?XXXX)*(?=[.,;)]|$)",
            "",
        ),
        ("date", r"\s*\((?:XXXX[ ,/]*)+\)", ""),
        ("list", r"(?<=, )XXXX, ", ""),
    )
)
"""Rules for blacked-out words that name no one, since only one word (or one of a kind) can stand there.

Where a diagnosis follows a comma and a blank, the blank was a word of doubt: it is ``likely``, so that no guess becomes
a certainty.
"""
_NO_NOUN_BEFORE = re.compile(
    r"(?:^|[,;:(]\s*|\b(?:an?|the|no|without|with|of|in|is|are|was|were|be|"
    r"has|have|and|or|but|there|some|several|few|"
    r"multiple|numerous|many|scattered|both|this|these|any|other|mild\w*|"
    r"minimal\w*|moderate|severe|small|large|slight|"
    r"possible|probable|suspected|for|from|by|over|represent\w*|show\w*|stable|"
    r"unchanged|persistent|increased|chronic|"
    r"old|calcified|diffuse|focal|acute|nodular|patchy|streaky|prominent|"
    r"dense|subtle|vague|hazy|healed|evidence of|low|right|left|bilateral|"
    r"bibasilar|upper|lower|mid|"
    r"residual|likely|versus|vs|appears?|\w+ly)\s+)$",
    re.IGNORECASE,
)
_NO_CONTENT_AFTER = re.compile(
    r"^(?:$|[.,;:)/?'\"-]|(?:is|are|was|were|be|been|has|have|had|appears?|appeared|remains?|may|can|could|should|would|might|"
    r"will|do|does|did|not|of|in|on|at|to|from|with|without|for|by|since|"
    r"over|along|through|and|or|but|than|which|that|"
    r"who|as|seen|noted|present|identified|demonstrated|visualized|overlying|projecting)\b)",
    re.IGNORECASE,
)
_SOFT_NOUN_BEFORE = re.compile(
    r"\b(?:size|silhouette|contours?|opacit(?:y|ies)|densit(?:y|ies)|wires|tip|clips|cardiac|lungs?|base|lobe|"
    r"catheter|calcifications?|markings?|vasculature|basilar|perihilar|thoracic|changes?|wedge|pleural)\s+$",
    re.IGNORECASE,
)
"""Nouns after which a word may be missing and the sentence still says the same (``heart size [ ] within normal``)."""


_TURNS_ROUND = re.compile(
    rf"\b(?:no|not|without|any|nor) {BLANK} (?!of\b)|{BLANK} (?:visuali[sz]\w+|"
    rf"seen|expanded|inflated|aerated|inspir\w+|defined|lungs?)\b",
    re.IGNORECASE,
)
"""Where the sense hangs on the blank: ``No [new] airspace disease``, ``[poor] visualization``."""


def blank(text: str) -> str:
    """Write every de-identification token as `BLANK`, a run of them as one for each."""
    return TOKEN.sub(BLANK, text)


def fill(sentence: str) -> str | None:
    """A sentence without blanks, or None where what is left would say something else, or nothing.

    First the named `COMPLETIONS`; then a blank before a noun or adjective is left out, as in ``a [ ] opacity``. Where a
    noun, a verb or a measure itself is missing, as in ``The [ ] are intact``, the sentence cannot be saved.
    """
    if BLANK not in sentence:
        return None if LEFT_OVER.search(sentence) else sentence
    for _, pattern, replacement in COMPLETIONS:
        sentence = pattern.sub(replacement, sentence)
    sentence = _without_lost_partners(sentence)
    if _TURNS_ROUND.search(sentence):
        return None
    while (start := sentence.find(BLANK)) >= 0:
        end = start + len(BLANK)
        while sentence[end:].startswith(f" {BLANK}"):
            end += len(BLANK) + 1
        before, after = sentence[:start], sentence[end:].lstrip()
        attached = (before and before[-1] not in " (") or (sentence[end:] and sentence[end] not in " ")
        if attached or _NO_CONTENT_AFTER.search(after) or re.search(r"\d\s+$", before):
            return None
        if not (_NO_NOUN_BEFORE.search(before) or _SOFT_NOUN_BEFORE.search(before)):
            return None
        sentence = before + after
    return None if LEFT_OVER.search(sentence) else sentence


def _without_lost_partners(sentence: str) -> str:
    """Leave a blank out of an enumeration of subjects: ``Pulmonary vasculature and [ ] are normal``."""
    match = re.search(
        rf"^(?P<left>(?:The )?[\w -]+?) and (?:the )?(?:{BLANK} ?)+(?P<verb>are|appear|remain)\b", sentence
    )
    if match is None or BLANK in match["left"]:
        return sentence
    last = match["left"].split()[-1].lower()
    several = " and " in match["left"] or (last.endswith("s") and not last.endswith(("ss", "is", "us")))
    verb = match["verb"] if several else {"are": "is"}.get(match["verb"], match["verb"] + "s")
    return f"{match['left']} {verb}{sentence[match.end() :]}"


def with_right_article(sentence: str) -> str:
    """``a`` and ``an`` as the next word asks, where a word between them is gone."""
    sentence = re.sub(r"\b([Aa]) (?=[aeio]\w)", r"\1n ", sentence)
    return re.sub(r"\b([Aa])n (?=[bcdfgjklmpqrstvwxz]\w*[aeiouy]\w)", r"\1 ", sentence)
