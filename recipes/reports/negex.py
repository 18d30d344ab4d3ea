"""A negation checker that shares nothing with synthcxr: which findings a report affirms and which it only negates.

NegEx (Chapman et al. 2001, J Biomed Inform 34:301) on a short list of findings: a trigger negates the findings after
it, up to a word that ends its scope or the end of the sentence; a second list of triggers negates what stands before.
"""

import re

FINDINGS = {
    "pneumothorax": "pneumothora(?:x|ces)", "effusion": "effusions?", "consolidation": "consolidations?",
    "edema": "edema", "pneumonia": "pneumonias?", "infiltrate": "infiltrates?", "cardiomegaly": "cardiomegaly",
    "atelectasis": "atelecta(?:sis|ses|tic)", "nodule": "nodules?", "mass": "mass(?:es)?", "fracture": "fractures?",
    "opacity": "opacit(?:y|ies)", "airspace disease": "air ?-?space disease", "emphysema": "emphysema",
    "fibrosis": "fibrosis", "adenopathy": "(?:lymph)?adenopathy", "granuloma": "granulomas?", "scarring": "scarring",
    "hernia": "hernias?", "congestion": "congestion", "thickening": "thickening", "scoliosis": "scoliosis",
    "calcification": "calcifications?", "hyperinflation": "hyperinflation", "pneumomediastinum": "pneumomediastinum",
    "abnormality": "abnormalit(?:y|ies)",
}  # fmt: skip
BEFORE = re.compile(
    r"\b(no|not|without|negative for|free of|free from|clear of|absence of|"
    r"absent|rule out|rules out|ruled out|exclude|"
    r"cannot see|lack of|resolved|resolution of|clearing of|nor|neither|removal of|denies|never)\b"
)
AFTER = re.compile(
    r"\b((is|are|was|were|has been|have been) (not|no longer|ruled out|excluded|absent)|(has|have)( \w+){0,2} "
    r"(resolved|cleared)|resolved|not (seen|identified|appreciated|visualized|present|demonstrated)|unlikely)\b"
)
PSEUDO = re.compile(
    r"\bnot (?:\w+ )?(?:seen|present|visualized|identified|appreciated) on (?:the |a )?(?:prior|previous|earlier)\b"
)
"""Pseudo-negations (NegEx's own term): what was not there before is not denied."""
ENDS = re.compile(
    r"\b(but|however|although|though|except|aside from|other than|which|there is|there are|with the exception)\b|[;:]"
)


def sentences(text: str) -> list[str]:
    """Rough sentences in lower case."""
    text = re.sub(r"(\d)\.(\d)", r"\1,\2", text.lower().replace("\n", " "))
    return [part for part in re.split(r"[.?!]+(?:\s|$)|(?<=[a-z])\.(?=[a-z])|\s\d\.", text) if part.strip()]


def mentions(text: str) -> dict[str, set[bool]]:
    """For each finding that a text names: True where it is affirmed, False where negated, both where both happen."""
    found: dict[str, set[bool]] = {}
    for sentence in sentences(PSEUDO.sub("", " ".join(text.lower().split()))):
        start = 0
        for end in [*(match.start() for match in ENDS.finditer(sentence)), len(sentence)]:
            clause, start = sentence[start:end], end
            first = min((match.end() for match in BEFORE.finditer(clause)), default=len(clause) + 1)
            last = max((match.start() for match in AFTER.finditer(clause)), default=-1)
            for name, pattern in FINDINGS.items():
                for match in re.finditer(rf"\b{pattern}\b", clause):
                    negated = match.start() >= first or match.end() <= last
                    found.setdefault(name, set()).add(not negated)
    return found


def turned_round(report: str, prompt: str) -> set[str]:
    """Findings that a prompt affirms though the report names them and negates each mention."""
    in_report = mentions(report)
    return {
        name for name, stated in mentions(prompt).items() if True in stated and in_report.get(name, {True}) == {False}
    }


def silent(report: str, prompt: str) -> set[str]:
    """Findings that a report affirms where the prompt affirms none at all, and so may read as a normal image's."""
    if any(True in stated for stated in mentions(prompt).values()):
        return set()
    return {name for name, stated in mentions(report).items() if stated == {True}} - {"abnormality"}


def never_named(report: str, prompt: str) -> set[str]:
    """Findings that a prompt names though the report does not."""
    return set(mentions(prompt)) - set(mentions(report))
