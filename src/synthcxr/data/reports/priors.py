"""References to earlier images: put into the present by named rules, or the reason why a sentence goes.

``Stable cardiomegaly`` becomes ``Cardiomegaly``; ``No new effusion`` goes, since an old one may be there; so does
``The effusion has resolved``.
"""

import re

from synthcxr.data.reports.negation import stated
from synthcxr.data.reports.rules import reasons, rephrasings

_AN = r"(?:an?|the|his|her|this|that|these|those|multiple|several|any|patient'?s) "
_OLD = r"(?:prior|previous|comparison|earlier|last|old|older|outside|preceding|remote|(?:most )?recent|same[- ]day) "
_STUDY = (
    r"(?:stud(?:y|ies)|exams?|examinations?|films?|radiographs?|x-?rays?|"
    r"x-XXXX|chest|images?|imaging|cts?|pet|scans?|"
    r"reports?|comparisons?|dates?|mri|cxrs?|exam)\b"
)
_EARLIER = (
    rf"(?:{_AN})?(?:(?:{_OLD})+(?:\w+ ){{0,3}}?{_STUDY}|(?:{_OLD})+(?=XXXX)|priors?(?=[.,;)]|"
    rf"$)|comparison\b|XXXX\b|{_STUDY} (?:dated|from|of)\b)"
)
_LINK = (
    r"(?:(?:very |quite )?similar (?:in \w+ )?(?:to|as)|(?:when |as )?compar\w+ (?:to|"
    r"with)|in comparison (?:to|with)|relative to|since|from|(?:as )?(?:also )?(?:seen|"
    r"noted|described|present|identified|demonstrated|visualized) on|than on|"
    r"than)"
)
_HOW = r"(?:(?:grossly|essentially|relatively|overall|largely|otherwise|generally|also|not significantly) )*"
_SAME = r"(?:stable|unchanged|unaltered|similar|without (?:significant |interval )*change)"
_IN = r"(?: in (?:size|appearance|position|configuration|location|extent)(?: and \w+)?)?"
_TREND = (
    r"(?:new|newly|worsened|worsening|increasing|enlarging|progressing|developing|"
    r"evolving|improving|improved|decreasing)"
)

REPHRASED = rephrasings(
    ("interval", r"^in the interval,? (?:the interval,? )?|,? \bin the interval(?=[.,;]|$)", ""),
    (
        "interval",
        r",? with(?:out)? (?:(?:slight|mild|significant|interval|overall|any|XXXX) )*(?:improvement|worsening|change)"
        r"(?=[.,;]|$)",
        "",
    ),
    (
        "earlier image",
        rf"^(?:grossly |XXXX |when |as )*(?:compar\w+ (?:to|with)|in comparison (?:to|"
        rf"with)|since) {_EARLIER}[^,]*,(?: ?(?:XXXX|\d{{4}}),)* ",
        "",
    ),
    (
        "earlier image",
        rf"(?:,? \(?|,|^)(?:(?:and|but|(?:which|that) (?:is|are|appears?|has been|"
        rf"have been)|as) )?{_HOW}(?:{_SAME}{_IN} |,? ?(?:increased|decreased|"
        rf"improved|worsened) (?:XXXX )?)?{_LINK} {_EARLIER}[^,;.]*(?:, (?:XXXX|"
        rf"\d{{4}}))*",
        "",
    ),
    ("earlier image", r",? with no comparison(?: \w+)?(?=[,.;]|$)", ""),
    ("trend", r",? with (?:interval )?(?:improved|increased|decreased|worsened) aeration\b[^,;.]*", ""),
    ("before", r",? \(?as before\)?(?=[,;.]|$)", ""),
    (
        "again",
        r"^(?:once )?again,? (?:seen|noted|demonstrated|identified|visualized|"
        r"observed|present|shown) (?:is|are|and is) (?:made of )?(?:an? |the )?",
        "",
    ),
    ("again", r"^we again (?:see|note) (?:the |an? )?", ""),
    ("again", r"^(?:there is )?redemonstration of (?:the |an? )?", ""),
    ("again", r"\b(is|are) redemonstrated\b", r"\1 seen"),
    ("again", r",? ?\bredemonstrated\b,?", ""),
    ("again", r",? ?\b(?:once )?again\b,?", ""),
    ("same", rf"\b(is|are|appears?|remains?) {_HOW}(?:stable|unchanged){_IN},? and (?!stable|unchanged)", r"\1 "),
    ("same", r"\b(?:stable|unchanged) and (?=normal|clear|within|unremarkable|intact|not)", ""),
    ("same", rf",? (?:and|but|yet) (?:(?:is|are) )?{_HOW}(?:stable|unchanged)\b{_IN}", ""),
    ("same", rf",? (?:which|that) (?:is|are|appears?|remains?) {_HOW}(?:stable|unchanged)\b{_IN}", ""),
    (
        "same",
        rf" (?:is|are|remains?|appears?) {_HOW}(?:stable|unchanged)\b{_IN},? (?=with\b|"
        rf"projecting|overlying|within|at the)",
        " ",
    ),
    (
        "same",
        r"\b(?:stable|unchanged)(?: in)? (?:appearance|appearing|position|positioning|"
        r"size|configuration) (?:of )?(?:the |an? )?",
        "",
    ),
    ("same", rf", {_HOW}(?:stable|unchanged){_IN}(?=[,.;]|$)", ""),
    (
        "same",
        r"\b(?:(?:grossly|essentially|relatively|overall) )?(?:stable|unchanged),? (?=[a-z0-9])(?!(?:and|"
        r"but|or|in|since|from|compared|when|as|over|to|at|with|on|for)\b)",
        "",
    ),
    (
        "same",
        r"(?<=\w)(?<! is)(?<! are)(?<!remains)(?<!remain)(?<!appears)(?<!appear)(?<!grossly) (?:stable|"
        r"unchanged)(?=[,.;]|$)",
        "",
    ),
    (
        "persistent",
        r"\b(?:persistent|continued|longstanding|long-standing)\b,? (?:but \w+ing )?|"
        r"\bpersistently |\bstill ",
        "",
    ),
    ("persistent", r"\bpersists\b", "is present"),
    ("persistent", r"\bpersist\b", "are present"),
    ("persistent", r"\b(?:remains|continues to be)\b", "is"),
    ("persistent", r"\b(?:remain|continue to be)\b", "are"),
    ("trend", r"^there has been (?:interval )?(?:development|appearance|placement|insertion) of (?:an? )?", ""),
    ("trend", r"\bhas (?:now |recently )?(?:developed|been (?:placed|inserted))\b", "is present"),
    ("trend", r"\bhave (?:now |recently )?(?:developed|been (?:placed|inserted))\b", "are present"),
    (
        "trend",
        r"\binterval (?:development|appearance|placement|insertion|worsening|"
        r"progression|increase in size) of (?:the |an? )?",
        "",
    ),
    ("trend", r"\b(?:interval )?(?:increased|decreased) size (?:and number )?of (?:the )?", ""),
    (
        "trend",
        rf"\b(?:slight(?:ly)? |mild(?:ly)? |interval )?{_TREND},? (?=[a-z-]+)(?!(?:\w+ )?aerat|"
        rf"ventil|inspir|in\b|of\b|and\b|or\b|since|from|the\b|lung vol|left lung aer|"
        rf"right lung aer)",
        "",
    ),
)
"""Named rules that take a reference to earlier images out of a sentence, in their order."""

DROPPED = reasons(
    (
        "resolved",
        r"\bresolv\w+\b|(?<!high.)\bresolution\b|\bno longer\b|\bcleared\b|\bclearing\b|"
        r"\b(?:removal|removed|extubat\w+)\b",
    ),
    (
        "earlier image",
        rf"\bcompar(?:ed|isons?|ing|e)\b(?! (?:to|with) (?:the )?(?:left|right|"
        rf"contralateral|opposite|other))|\bpreviously\b|\b{_OLD}(?:\w+ )?{_STUDY}|"
        rf"\bpriors?[.,]|\b(?:prior|previous)$|\bearlier\b",
    ),
    (
        "earlier image",
        r"\b(?:seen|noted|shown|described|present|visualized|documented|characterized) (?:\w+ )?(?:on|"
        r"by|at) (?:\w+ ){0,3}(?:ct|cts|mri|pet|scan|ultrasound)\b|\b(?:on|by|"
        r"per) (?:\w+ ){0,2}ct\b",
    ),
    (
        "change",
        r"\bno (?:(?:significant|interval|appreciable|definite|acute|substantial|"
        r"gross|obvious|overall|relevant|major|other|XXXX) )*changes?\b(?! of)|"
        r"\bwithout (?:\w+ )?(?:interval )?change\b",
    ),
    (
        "change",
        r"\b(?:has|have|had) (?:been )?(?:\w+ly )?(?:not )?(?:\w+ly )?(?:increased|"
        r"decreased|improved|worsened|progressed|enlarged|changed|developed|advanced|"
        r"withdrawn|repositioned|exchanged|diminished|become|grown|occurred|XXXX|"
        r"taken)\b",
    ),
    (
        "change",
        r"\b(?:interval|since|stable|unchanged|worsen\w+|improve(?:d|ment|s)?|"
        r"new|newly|again|old studies|before|meanwhile|persist\w*|continu(?:es|"
        r"ed)|remain(?:s|ed)?|redemonstrat\w+|chang(?:ed|ing)|unaltered)\b(?! mexico)",
    ),
    (
        "change",
        r"\b(?:increase|decrease|reduction|progression|enlargement) in (?:the )?(?:size|"
        r"number|extent|amount|conspicuity|heart|volume|aerat\w+)\b|\b(?:larger|"
        r"smaller|less|more)\b[^,;]*\bthan\b",
    ),
)
"""Reasons for which a sentence goes that still tells of another time after the rules above."""

NEW = re.compile(
    r"\b(?:no|not|without|nor|negative for|free of)\b[^.;]*?\b(?:new|newly|worsen\w*|"
    r"increas(?:e|ing)|enlarging|interval|progress\w*|developing|since|(?:compared|"
    r"from) (?:to |with )?(?:the )?(?:prior|previous|XXXX))\b",
    re.IGNORECASE,
)
"""A negation of change: an old finding may be there, so that ``No new effusion`` must not become ``No effusion``."""
_ORGAN_SAME_WITH = re.compile(
    rf"^(?P<subject>[\w ]+?) (?:is|are|remains?|appears?) {_HOW}(?:stable|"
    rf"unchanged){_IN} with (?:an? )?(?P<rest>.+)$",
    re.IGNORECASE,
)
NOT_THERE_BEFORE = re.compile(
    rf",? (?:(?:which|that) (?:was|were|is|are) )?not (?:(?:definitely|clearly|"
    rf"well) )?(?:seen|present|visualized|identified|evident|noted) (?:on|in) (?:the )?{_EARLIER}(?:[^\w,;.]+XXXX)*",
    re.IGNORECASE,
)
"""What says that a finding was absent on an earlier image, and so nothing against it on this one."""
_SAME_PREDICATE = re.compile(
    rf"^(?P<subject>(?:there (?:is|are) )?(?:(?!\b(?:is|are|which|that|has|"
    rf"have)\b).)+?),? (?:is|are|appears?|remains?|(?:has|have) remained|has been) (?:also )?{_HOW}(?:stable|"
    rf"unchanged|redemonstrated|persistent|(?:re)?demonstrated again|(?:seen|"
    rf"noted|present|demonstrated|identified) again|again (?:seen|noted|present|"
    rf"demonstrated|identified|visualized|evident)|in (?:stable|unchanged) position|"
    rf"(?:stable |unchanged )?{_IN} ?(?=(?:when |as )?(?:similar|compar|from|"
    rf"since)))\b{_IN}(?:,? ?{_LINK} {_EARLIER}.*)?\W*$",
    re.IGNORECASE,
)
_TREND_BEFORE_CLAUSE = re.compile(
    rf"\b(?:is|are|has|have|there (?:is|are|has been)|appears?)\b[^,;]*\b(?:increas|"
    rf"decreas|improv|worsen|larger|smaller|more|less|chang|progress|differ)\w*[^,;]*{_LINK} {_EARLIER}|"
    rf"\b(?:in|de)creased (?:\w+ ){{2,}}(?:since|compared|from) (?!(?:to |with )?the (?:left|right)\b)",
    re.IGNORECASE,
)
_SAME_SEGMENT = re.compile(rf"\b{_HOW}{_SAME}\b", re.IGNORECASE)
_ANATOMY = re.compile(
    r"\b(?:the|and|of|in|an?|or|with|both|cardio|cardiac|heart|cardiomediastinal|"
    r"mediastin\w+|silhouettes?|contours?|sizes?|shape|hil[aiu]\w*|"
    r"lungs?|pulmonary|vascula\w+|vessels?|aort\w+|thorac\w+|chest|thorax|"
    r"bony|bones?|osseous|skelet\w+|structures?|soft|"
    r"tissues?|pleura\w?|diaphragms?|hemidiaphragms?|trachea\w?|appearance|"
    r"appearing|position|appears?|is|are|there|wall|spine|cage|"
    r"volumes?|fields?|parenchyma\w*|pattern|findings?|remainder|examination|"
    r"exam|study|postoperative|left|right|upper|lower|"
    r"limits?|including|configuration|markings?|support|apparatus|XXXX|mid|"
    r"zones?|this|these|it|they|neck|ribs?|lobes?|costophrenic|angles?|sulc[ui]s?|sulci|"
    r"base|bases|basilar|apex|abdomen|size)\b|[^\w]",
    re.IGNORECASE,
)


def without_unchanged_anatomy(sentence: str) -> str | None:
    """Cut what only says that an organ is as it was; None where nothing else is said.

    ``Heart size is stable`` says nothing of the picture, ``Left scar is unchanged`` that there is a scar.
    """
    match = _SAME_PREDICATE.match(sentence)
    if match is not None:
        there, absent = stated(match["subject"])
        return (
            re.sub(r"^(?:there (?:is|are)|the|these|this) ", "", match["subject"], flags=re.IGNORECASE)
            if there - absent
            else None
        )
    if (match := _ORGAN_SAME_WITH.match(sentence)) and says_nothing(match["subject"]):
        return match["rest"]
    segments = re.split(r"([,;] (?:and |with |but )?)", sentence.rstrip("."))
    kept = [
        (segments[i - 1] if i else "", part)
        for i, part in enumerate(segments)
        if i % 2 == 0 and not _is_unchanged_anatomy(part)
    ]
    if len(kept) == (len(segments) + 1) // 2:
        return sentence
    return (kept[0][1] + "".join(link + part for link, part in kept[1:])) if kept else None


def _is_unchanged_anatomy(segment: str) -> bool:
    return bool(_SAME_SEGMENT.search(segment)) and says_nothing(_SAME_SEGMENT.sub("", segment))


def says_nothing(sentence: str) -> bool:
    """Whether only names of organs and small words are there."""
    return not _ANATOMY.sub("", sentence)


def tells_of_change_only(sentence: str) -> bool:
    """Whether a sentence negates a change, or says how a finding differs from an earlier image."""
    return bool(NEW.search(sentence) or _TREND_BEFORE_CLAUSE.search(sentence))
