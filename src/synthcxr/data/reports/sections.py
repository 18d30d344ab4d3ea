"""A report's sections: what was found and what was made of it, under whatever headings, or under none."""

import re
import unicodedata
from dataclasses import dataclass

FINDINGS = frozenset((
    "finding", "findings", "chest findings", "radiographic findings", "imaging findings", "report", "body of report",
    "description", "narrative", "observation", "observations", "discussion", "result", "results", "hallazgo",
    "hallazgos", "hallazgos radiologicos", "descripcion", "informe", "informe radiologico", "exploracion",
))  # fmt: skip
"""Headings of what was seen."""
ORGANS = frozenset((
    "chest", "heart", "lungs", "lung", "pleura", "mediastinum", "bones", "lungs and pleura", "heart and mediastinum",
    "devices", "lines and tubes", "lines/tubes", "support devices", "tubes and lines", "cardiac silhouette", "hila",
    "cardiomediastinal", "cardiomediastinal silhouette", "bones and soft tissues", "osseous structures", "other",
    "soft tissues", "airways", "lungs and airways", "pulmones", "corazon", "mediastino", "huesos",
))  # fmt: skip
"""Headings inside a section, organ by organ; outside of one, of what was seen."""
IMPRESSION = frozenset((
    "impression", "impressions", "pression", "imp", "conclusion", "conclusions", "opinion", "assessment", "summary",
    "interpretation", "diagnosis", "final impression", "final diagnosis", "impresion", "impresion diagnostica",
    "impresion radiologica", "conclusiones", "juicio diagnostico", "diagnostico", "resumen", "comentario", "comment",
))  # fmt: skip
BOTH = frozenset((
    "findings and impression", "findings/impression", "impression and findings", "impression/findings",
    "findings & impression", "report and impression", "hallazgos y conclusion", "hallazgos e impresion",
))  # fmt: skip
BODY = frozenset(("final report", "final", "preliminary report", "radiology report", "text"))
"""Titles after which a report begins: what follows without a heading of its own is its body."""
OTHER = frozenset((
    "addendum", "wet read", "wet reading", "preliminary read", "indication", "indications", "clinical indication",
    "history", "clinical history", "clinical information", "clinical data", "reason for exam", "reason for study",
    "reason for examination", "reason for this examination", "reason", "technique", "procedure", "views", "comparison",
    "comparisons", "compared to", "comparison study", "exam", "examination", "exam type", "study", "type of study",
    "examination type", "date", "date of exam", "date of study", "exam date", "time", "recommendation",
    "recommendations", "recommendation(s)", "notification", "notifications", "communication", "final attestation",
    "attestation", "signed", "electronically signed by", "dictated by", "end of impression", "accession number",
    "accession", "medical condition", "patient", "name", "mrn", "admission date", "discharge date", "id", "dob",
    "referring physician", "attending", "ordering provider", "contrast", "dose", "position", "quality", "limitations",
    "motivo", "motivo de consulta", "motivo de la consulta", "datos clinicos", "antecedentes", "indicacion", "tecnica",
    "comparacion", "estudio", "fecha", "recomendacion", "recomendaciones", "proyecciones", "medico",
))  # fmt: skip
"""Headings of what a prompt has no use for, read over up to the next heading or blank line."""
HEADINGS = FINDINGS | ORGANS | IMPRESSION | BOTH | BODY | OTHER
OTHER_BODY_PART = re.compile(
    r"\b(knee|shoulder|clavicle|hip|femur|pelvis|foot|ankle|wrist|hand|elbow|humerus|tibia|forearm|finger|toe|lumbar|"
    r"cervical spine|thoracic spine|abdomen|kub|skull|sinus(es)?|orbits|spine)\b"
)
OTHER_WORDS = re.compile(
    r"\b(?:history|indications?|clinical|reason|technique|compar\w+|dates?|recommend\w*|notif\w*|read|signed|"
    r"physician|radiologist|dictat\w+|transcri\w+|number|diagnos[ei]s code|antecedentes|motivo|fecha)\b"
)
"""Words that make an unknown heading one that is read over."""
HEADING = re.compile(r"(?:^|(?<=[\n.;?!]))(?P<name>[^\n.;?!:]{2,70})(?P<end>:|(?=\n)|$)")
"""What may be a heading: a few words up to a colon or the line's end."""
CAPITALS_AT_THE_END = re.compile(r"\b[A-Z][A-Z/&() ]{2,40}$")
"""A heading in capitals after a sentence that lacks its full stop."""
PADCHEST_CONCLUSION = re.compile(r"(?:^|\.)\s*conclusion(?:es)?\s*[.:]", re.IGNORECASE)
CODED_SUMMARY = re.compile(r"\s*\d\s*-\s*[A-Z]")
"""CheXpert's ``SUMMARY: 2-ABNORMAL, …``, a code and no conclusion."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The text of a report's two sections, either empty where there is none.

    A text without headings is its `findings`. `notes` say what else lay there (``addendum``, ``wet read``).
    """

    findings: str = ""
    impression: str = ""
    notes: tuple[str, ...] = ()


def read_sections(text: str) -> Sections:
    """Take a report apart at its headings, in English or Spanish, in capitals or not, on lines of their own or not.

    Paragraphs after a blank line under a heading that is read over (``COMPARISON: none.``) are the report's body, as
    MIMIC-CXR's are where no FINDINGS heading follows. Wet reads and addenda are read over.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, list[str]] = {"findings": [], "impression": [], "body": []}
    notes: list[str] = []
    kind = "body"
    for heading, content in _pieces(text):
        kind = _kind(heading, content, kind)
        if kind == "both":
            found["findings"].append(content)
            found["impression"].append(content)
        elif kind == "other":
            if heading in ("addendum", "wet read", "wet reading"):
                notes.append("wet read" if heading.startswith("wet") else heading)
            else:
                found["body"] += re.split(r"\n[ \t]*\n", content)[1:]
        elif kind != "elsewhere":
            found[kind].append(content)
    findings, impression, body = (
        "\n\n".join(filter(None, (part.strip(" \t\n*_") for part in found[name]))) for name in found
    )
    if not findings:
        findings = body
    return Sections(findings, impression, tuple(dict.fromkeys(notes)))


def _pieces(text: str) -> list[tuple[str, str]]:
    """(heading, content) pairs in order; the heading is empty for what stands before the first."""
    text = PADCHEST_CONCLUSION.sub("\nconclusion:\n", text) if not re.search(r"[A-Z]", text) else text
    shouted = not re.search(r"[a-z]{3}", text)
    pieces, start, heading = [], 0, ""
    for match in HEADING.finditer(text):
        written, begin = match["name"].rstrip(" \t*_"), match.start()
        colon = match["end"] == ":"
        tail = CAPITALS_AT_THE_END.search(written) if colon else None
        if tail is not None and tail.start() and _plain(tail[0]) in HEADINGS:
            written, begin = tail[0], match.start() + tail.start()
        elif not _is_heading(written, colon, written.isupper() and not (shouted and not colon)):
            continue
        pieces.append((heading, text[start:begin]))
        heading, start = _plain(written), match.end()
    pieces.append((heading, text[start:]))
    return pieces


def _is_heading(written: str, colon: bool, capitals: bool) -> bool:
    name = _plain(written)
    if name in HEADINGS:
        return colon or capitals or name in BODY or name in ("findings", "impression", "hallazgos", "conclusiones")
    if re.search(r"\d", name) or len(name) < 4 or len(name.split()) > 6:
        return False
    if not colon:
        return capitals and len(name.split()) <= 4 and "XXX" not in written
    return capitals or bool(OTHER_BODY_PART.search(name)) or name.split()[-1] in HEADINGS


def _kind(heading: str, content: str, kind_before: str) -> str:
    """What a heading announces; an unknown one goes on with what was before it, or with the report's body."""
    inside = kind_before if kind_before in ("findings", "impression", "both") else ""
    kinds = (
        ("both", heading in BOTH),
        ("other", heading in IMPRESSION and bool(CODED_SUMMARY.match(content))),
        ("impression", heading in IMPRESSION),
        ("findings", heading in FINDINGS),
        (inside or "findings", heading in ORGANS),
        ("body", not heading or heading in BODY),
        ("elsewhere", bool(OTHER_BODY_PART.search(heading))),
        ("other", heading in OTHER or bool(OTHER_WORDS.search(heading))),
    )
    return next((kind for kind, holds in kinds if holds), inside or "body")


def _plain(heading: str) -> str:
    """A heading in lower case without accents and with single spaces."""
    bare = unicodedata.normalize("NFKD", heading.casefold())
    return " ".join("".join(char for char in bare if not unicodedata.combining(char)).split()).strip(" *#_-")
