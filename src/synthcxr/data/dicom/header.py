"""What a DICOM header says of the patient and the view, checked against sense, and which objects are no frontal X-ray.

Reasons and notes are fixed sentences: a header's own words are never quoted, because any field may hold a name.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from synthcxr.data.dicom.values import integer, items, numbers, text, texts
from synthcxr.data.records import RejectedImageError
from synthcxr.prompts import Subject

if TYPE_CHECKING:
    from pydicom import Dataset

RULES = {
    "secondary-capture": "Secondary Capture objects: screenshots, scanned films, exported pictures",
    "for-processing": "raw images of the detector, which no radiologist reads",
    "not-chest": "other modalities than CR, DX and RG, and other parts of the body than the chest",
    "not-frontal": "lateral, oblique, lordotic and decubitus views",
}
"""Rules by which a header alone rejects an image; `--skip-checks` leaves them out by name."""

RADIOGRAPHS = ("CR", "DX", "RG", "DR", "XR", "OT", "")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Its SOP class, and with a further number those of its multi-frame kinds (PS3.4 section B.5)."""
CHEST = re.compile(r"CHEST|CHST|THORA|TORAX|TÓRAX|LUNG|PULM|CXR|BRUSTK|POUMON|POLMON|CARDIAC|HEART")
ABDOMEN = re.compile(r"ABD")
UNSAID = ("", "UNKNOWN", "UNSPECIFIED", "OTHER", "NONE", "NA", "N/A", "UNDEFINED", "DEFAULT", "GENERAL")
YEARS_OF_UNIT = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
SPACING_MM = (0.02, 2.0)
"""Pixel spacings of a chest X-ray; anything else is a slip (metres, zero, dots per inch)."""


@dataclass(frozen=True)
class Header:
    """What is read of a header: ids as they are (never to be written), the subject, (row, column) spacing, notes."""

    patient_id: str
    study_id: str
    accession: str
    subject: Subject
    pixel_spacing_mm: tuple[float, float] | None
    notes: tuple[str, ...]


def read_header(dataset: "Dataset") -> Header:
    """The fields of use; a value that makes no sense counts as unknown and leaves a note.

    A patient without an id is the study's.
    """
    notes: list[str] = []
    patient, study = text(dataset, "PatientID"), text(dataset, "StudyInstanceUID")
    if not patient:
        notes.append("no patient id: the study counts as a patient")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        notes.append("the header says that identifying text is burned in")
    if (text(dataset, "ImageLaterality") or text(dataset, "Laterality")).upper() in ("L", "R"):
        notes.append("the header names one side of the body")
    if [value.upper() for value in texts(dataset, "PatientOrientation")] == ["R", "F"]:
        notes.append("the header says that the image is mirrored; it is left as it is")
    subject = Subject(age=read_age(dataset, notes), sex=read_sex(dataset, notes), view=read_view(dataset, notes))
    return Header(
        patient or study, study, text(dataset, "AccessionNumber"), subject, read_spacing(dataset, notes), tuple(notes)
    )


def check_object(dataset: "Dataset", skipped: tuple[str, ...] | list[str] = ()) -> None:
    """Raise RejectedImageError where a header says that this is no frontal chest radiograph.

    By the rules ``no-pixels`` and those of `RULES` that are not `skipped`.
    """
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise RejectedImageError("no-pixels", "the file holds no image")
    sop_class = text(dataset, "SOPClassUID")
    findings = {
        "secondary-capture": "it is a Secondary Capture"
        if sop_class == SECONDARY_CAPTURE or sop_class.startswith(f"{SECONDARY_CAPTURE}.")
        else "",
        "for-processing": "it is raw data of the detector, for processing"
        if text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING"
        else "",
        "not-chest": _why_not_chest(dataset),
        "not-frontal": "its view is not frontal" if view_of(dataset) == "other" else "",
    }
    for rule, reason in findings.items():
        if reason and rule not in skipped and "all" not in skipped:
            raise RejectedImageError(rule, reason)


def _why_not_chest(dataset: "Dataset") -> str:
    if text(dataset, "Modality").upper() not in RADIOGRAPHS:
        return "its modality is no radiograph"
    part = text(dataset, "BodyPartExamined").upper()
    if part in UNSAID:
        part = " ".join(text(item, "CodeMeaning") for item in items(dataset, "AnatomicRegionSequence")).upper()
    if part.strip() in UNSAID or (CHEST.search(part) and not ABDOMEN.search(part)):
        return ""
    return "its body part is not the chest"


# --- the view ---------------------------------------------------------------------------------------------


OTHER_VIEW = re.compile(
    r"\b(LL|RL|LLAT|RLAT|LAT|LATERAL|LATERO|LATL|LLO|RLO|OBL|OBLIQUE|LAO|RAO|LPO|RPO|LLD|RLD|DECUB\w*|XTABLE|"
    r"SWIMMERS?|AXIAL|LORDOTIC|TANGENTIAL|SAGITTAL)\b"
)
VIEWS = {
    "PA": re.compile(r"\b(PA|P-A|POSTERO-?ANTERIOR|POSTERIOR-ANTERIOR)\b"),
    "AP": re.compile(r"\b(AP|A-P|ANTERO-?POSTERIOR|ANTERIOR-POSTERIOR)\b"),
}


def view_of(dataset: "Dataset") -> str:
    """``AP``, ``PA``, ``other`` for what is not frontal, or empty; from the first field that tells.

    In turn: View Position, the meaning of the view's code, the description of series and protocol, and last Patient
    Orientation, whose rows run to the front or back only in a lateral view.
    """
    codes = " ".join(text(item, "CodeMeaning") for item in items(dataset, "ViewCodeSequence"))
    description = f"{text(dataset, 'SeriesDescription')} {text(dataset, 'ProtocolName')}"
    for words in (text(dataset, "ViewPosition"), codes, description):
        if view := name_view(words):
            return view
    orientation = (*texts(dataset, "PatientOrientation"), "")[0].upper()
    return "other" if orientation[:1] in ("A", "P") and len(orientation) <= 3 else ""


def name_view(words: str) -> str:
    """The one view that some words name: ``AP``, ``PA``, ``other``; empty where they name none or two."""
    upper = re.sub(r"[_.,;:/()]+", " ", words.upper())
    other = "other" if OTHER_VIEW.search(upper) else ""
    frontal = [view for view, pattern in VIEWS.items() if pattern.search(upper)]
    if other and frontal:
        # "AP LLD" and "AP AXIAL" are one view that is not frontal; "PA LAT" names the two of a study
        return "" if re.search(r"\bLAT", upper) else other
    return other or (frontal[0] if len(frontal) == 1 else "")


def read_view(dataset: "Dataset", notes: list[str]) -> str | None:
    """``AP`` or ``PA``, None where no field says it."""
    view = view_of(dataset)
    if view in VIEWS:
        return view
    if text(dataset, "ViewPosition").upper() not in UNSAID:
        notes.append("the view is not frontal" if view else "the view is none that is known")
    return None


# --- age and sex ------------------------------------------------------------------------------------------


def read_age(dataset: "Dataset", notes: list[str]) -> int | None:
    """Age in whole years from Patient's Age (``055Y``, ``018M``, ``003W``, ``010D``), else from birth and study."""
    stated = text(dataset, "PatientAge")
    age = parse_age(stated)
    if stated and age is None:
        notes.append("the age makes no sense")
    by_dates = _age_by_dates(dataset)
    if age is None:
        if text(dataset, "PatientBirthDate") and by_dates is None:
            notes.append("the dates of birth and study give no age")
        age = by_dates
    elif by_dates is not None and abs(by_dates - age) > 1:
        notes.append("the age and the dates of birth and study disagree; the age counts")
    return age


def parse_age(stated: str) -> int | None:
    """Whole years of an age string (PS3.5 section 6.2, AS); None where it is none or above 120 years."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", stated.strip().upper(), re.ASCII)
    if not match:
        return None
    years = int(int(match[1]) * YEARS_OF_UNIT[match[2]])
    return years if years <= 120 else None


def _age_by_dates(dataset: "Dataset") -> int | None:
    born = parse_date(text(dataset, "PatientBirthDate"))
    taken = next(
        filter(None, (parse_date(text(dataset, name)) for name in ("StudyDate", "AcquisitionDate", "ContentDate"))),
        None,
    )
    if born is None or taken is None:
        return None
    years = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return years if 0 <= years <= 120 else None


def parse_date(written: str) -> date | None:
    """A date as ``YYYYMMDD`` or, as of old, ``YYYY.MM.DD``; None for anything else."""
    match = re.fullmatch(r"(\d{4})(\.?)(\d\d)\2(\d\d)", written, re.ASCII)
    try:
        return date(int(match[1]), int(match[3]), int(match[4])) if match else None
    except ValueError:
        return None


def read_sex(dataset: "Dataset", notes: list[str]) -> str | None:
    """``M`` or ``F``; ``O``, other, is None."""
    sex = text(dataset, "PatientSex").upper()
    if sex in ("M", "F"):
        return sex
    if sex not in ("O", *UNSAID):
        notes.append("the sex makes no sense")
    return None


# --- the size of a pixel ----------------------------------------------------------------------------------


def read_spacing(dataset: "Dataset", notes: list[str]) -> tuple[float, float] | None:
    """(row, column) spacing in mm: in the patient, else at the detector, else of the film scanner."""
    low, high = SPACING_MM
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = numbers(dataset, keyword)
        if len(values) == 2 and all(low <= value <= high for value in values):
            return values
        if texts(dataset, keyword):
            notes.append("a pixel spacing makes no sense")
    return None


def pixel_aspect(dataset: "Dataset", spacing: tuple[float, float] | None, notes: list[str]) -> float:
    """Height of a pixel over its width, from its spacing, else from Pixel Aspect Ratio; 1 where neither makes sense."""
    pair = spacing or numbers(dataset, "PixelAspectRatio")
    if not pair:
        return 1.0
    if len(pair) == 2 and min(pair) > 0 and 0.25 <= pair[0] / pair[1] <= 4:
        return pair[0] / pair[1]
    notes.append("a pixel's aspect makes no sense")
    return 1.0


def frame_count(dataset: "Dataset") -> int:
    """Number of Frames, at least one."""
    return max(1, integer(dataset, "NumberOfFrames", 1))
