"""A section's text to sentences that a prompt may say, each with what was done to it, and what was dropped and why."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from synthcxr.data.reports import elsewhere, priors
from synthcxr.data.reports.deidentification import blank, fill, with_right_article
from synthcxr.data.reports.negation import FINDING, stated
from synthcxr.data.reports.rules import reason_to_drop, rephrase
from synthcxr.data.reports.sentences import split_sentences, tidy

DANGLING = re.compile(
    r"^(?:this|these|it|they|however|otherwise|also|additionally|there (?:is|are) (?:also|otherwise)|which|although|"
    r"the (?:latter|former|other)|though|if|in addition|such|may|could|likely|most likely|unclear|whether|review)\b|"
    r"\b(?:in|within|at|to) (?:that|the same|this) (?:distribution|area|region|location|level|process)\b",
    re.IGNORECASE,
)
"""How a sentence starts that says nothing without the one before it."""
FRAGMENT = re.compile(
    r"\b(?:the|an?|of|in|with|and|or|no|to|for|from|at|by|but|which|that|"
    r"is|are|most|likely|without|due|secondary|than|"
    r"as|has|have|on|may|be|been|was|were|consistent|compatible|versus|vs|"
    r"suggest\w*|represent\w*|relat\w+|concerning|appears?|"
    r"slightly|mildly|similar)\W*$|^(?:is|are|of|and|or|than|which|that|but|since|due|including)\b|"
    r"\b(?:of|the|an?|with|in|at|to) (?:of|with|and|or|is|are)\b|\b(?:and|or|is|are) (?:and|or|is|are)\b|"
    r"\b(?:is|are) (?:position\b|\w+ly\W*$)|\bsimilar to\b|"
    r"^(?:increased|decreased|improved|worsened|larger|smaller|stable|appearance)\W*$",
    re.IGNORECASE,
)
"""What only a sentence out of which too much was taken looks like."""


LONGEST_SENTENCE = 600
"""Characters above which a text without a full stop is no sentence."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that may be said, the one of the report it comes from, and the rules that changed it.

    `leans` says that it needs the sentence before it.
    """

    text: str
    original: str
    rules: tuple[str, ...] = ()
    leans: bool = False


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What can be said of a section, and the number of sentences dropped by reason.

    `unsaid` of them state a finding as there: the picture shows more than the sentences say.
    """

    sentences: tuple[Sentence, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0


def clean(text: str, *, language: str = "en", priors_kept: bool = False, lateral_shown: bool = False) -> Cleaned:
    """Clean a section's text sentence by sentence.

    Where `priors_kept`, only blacked-out words and calls to colleagues go, and all else stays as it was written.
    Spanish sentences are kept or dropped, never changed.
    """
    sentences: list[Sentence] = []
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    before_is_there, unsaid = True, 0
    for original in _split(blank(text), language):
        changed, why, rules = _clean_sentence(original, language, priors_kept, lateral_shown)
        leans = bool(DANGLING.search(original)) and language == "en"
        if changed and leans and not before_is_there:
            changed, why = "", "leans on a dropped sentence"
        before_is_there = bool(changed)
        if changed and changed.casefold() in seen:
            dropped["said before"] += 1
        elif changed:
            seen.add(changed.casefold())
            sentences.append(Sentence(changed, original, rules, leans and bool(sentences)))
        else:
            dropped[why] += 1
            unsaid += why not in ("resolved", "communication", "advice") and bool(stated(original)[0])
    return Cleaned(tuple(sentences), dropped, unsaid)


def _split(text: str, language: str) -> Iterator[str]:
    """Sentences; PadChest's texts are in lower case throughout, with full stops that stand alone."""
    if language == "es" and not re.search(r"[A-ZÁÉÍÓÚÑ]", text.replace("XXXX", "")):
        yield from (sentence for part in re.split(r"\s\.(?=\s|$)|\n", text) if (sentence := tidy(part)))
    else:
        yield from split_sentences(text)


def _clean_sentence(
    original: str, language: str, priors_kept: bool, lateral_shown: bool
) -> tuple[str, str, tuple[str, ...]]:
    """(text or empty, reason if empty, names of the rules that changed it)."""
    if len(original) > LONGEST_SENTENCE:
        return "", "too long for a sentence", ()
    if why := reason_to_drop(original, elsewhere.CALLS):
        return "", why, ()
    if language == "es":
        bare = "".join(c for c in unicodedata.normalize("NFKD", original) if not unicodedata.combining(c))
        why = None if priors_kept else reason_to_drop(bare, elsewhere.SPANISH_DROPPED)
        return ("", why, ()) if why else _filled(original, original, ())
    if priors_kept:
        return _filled(original, original, ())
    return _to_present(original, lateral_shown)


def _to_present(written: str, lateral_shown: bool) -> tuple[str, str, tuple[str, ...]]:
    original = priors.NOT_THERE_BEFORE.sub("", elsewhere.NOT_ON_LATERAL.sub("", written))
    lateral = () if lateral_shown else elsewhere.LATERAL
    if priors.tells_of_change_only(original):
        return "", "change", ()
    if why := reason_to_drop(original, (*priors.DROPPED[:1], *lateral[:1])):
        return "", why, ()
    here, rules = rephrase(original, elsewhere.REPHRASED)
    rules += ["earlier image"] if original != written else []
    cut = priors.without_unchanged_anatomy(here)
    if cut is None:
        return "", "only that an organ is unchanged", ()
    rules += ["same"] if cut != here else []
    here, more = rephrase(cut, priors.REPHRASED)
    for reason in (elsewhere.DROPPED, priors.DROPPED, lateral):
        if why := reason_to_drop(here, reason):
            return "", why, ()
    return _filled(here, original, tuple(dict.fromkeys([*rules, *more])))


def _filled(sentence: str, original: str, rules: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Close the gaps of blacked-out words and check that what is left is a sentence and says nothing new."""
    whole = fill(sentence)
    if whole is None:
        return "", "blacked-out words", ()
    text = tidy(with_right_article(whole) if rules or whole != sentence else whole)
    if whole != sentence:
        rules = (*rules, "blacked-out words")
    if not text:
        return "", "nothing left", ()
    if priors.says_nothing(text):
        return "", "names organs only", ()
    if rules and (_is_torn(text, original) or (len(text.split()) == 1 and not FINDING.search(text))):
        return "", "nothing readable left", ()
    if rules and not stated(text)[0] <= _findings_there(original):
        return "", "would turn a negation round", ()
    return text, "", rules


def _is_torn(text: str, original: str) -> bool:
    return bool(FRAGMENT.search(text)) and not FRAGMENT.search(original)


def _findings_there(original: str) -> frozenset[str]:
    """Findings stated as there, in a report's sentence with its gaps closed as for a prompt."""
    whole = fill(original)
    return stated(original)[0] | (stated(tidy(whole))[0] if whole else frozenset()) | {"nodes", "wires"}
