"""The reader of DICOM: one file as a picture, or the reason why not."""

from dataclasses import replace
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.dicom.display import make_square, to_grey_levels
from synthcxr.data.dicom.file import open_dataset, quiet
from synthcxr.data.dicom.header import Header, check_object, pixel_aspect, read_header
from synthcxr.data.dicom.pixels import read_stored_values
from synthcxr.data.records import Picture, Record, RejectedImageError
from synthcxr.data.sources.tables import with_options
from synthcxr.prompts import Subject


def read_dicom_picture(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Read a DICOM of which nothing but its name is known.

    Raises UnreadableImageError, or RejectedImageError by the rules of `header.RULES` (unless `skip_checks` names them),
    ``not-dicom``, ``no-pixels``, ``multi-frame``, ``too-large``, ``colour``, ``bad-pixels`` and ``burned-in-text``.
    """
    return _read(root, record, config, skipped=config.skip_checks)[0]


def read_published_picture(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Read a DICOM that a publisher's table lists as a chest X-ray; what the table says goes before the header."""
    return _read(root, record, config, skipped=["all"])[0]


def read_with_header(root: Path, record: Record, config: PrepareConfig) -> tuple[Picture, Header]:
    """As `read_dicom_picture`, and the header, whose ids lead to what lies beside the file."""
    return _read(root, record, config, skipped=config.skip_checks)


def _read(root: Path, record: Record, config: PrepareConfig, skipped: list[str]) -> tuple[Picture, Header]:
    with quiet():
        dataset = open_dataset(root / record.name)
        check_object(dataset, skipped)
        header = read_header(dataset)
        if config.burned_in == "reject" and any("burned in" in note for note in header.notes):
            raise RejectedImageError("burned-in-text", "the header says that identifying text is burned in")
        notes = list(header.notes)
        stored = read_stored_values(dataset, config.frames, notes)
        grey = to_grey_levels(dataset, stored, config.window, notes)
        aspect = pixel_aspect(dataset, header.pixel_spacing_mm, notes)
    image, spacing = make_square(grey, aspect, header.pixel_spacing_mm)
    if image is not grey:
        notes.append("pixels made square")
    return Picture(image, complete(record, header, config), spacing, tuple(dict.fromkeys(notes))), header


def complete(record: Record, header: Header, config: PrepareConfig) -> Record:
    """A record with what only the header tells, and then what `--patient-pattern` and `--missing-age` ask for."""
    told = record.subject
    if told.age is None and told.age_range == config.missing_age_range():
        told = replace(told, age_range=None)  # of the option, not of the table: an age in the header goes before it
    filled = replace(
        record,
        patient_id=header.patient_id or record.name,
        study_id=record.study_id or header.study_id,
        subject=fill_in(told, header.subject),
    )
    filled = with_options(filled, config)
    # a table's id has been through the pattern already, and a second time may give another
    return replace(filled, patient_id=record.patient_id or filled.patient_id)


def fill_in(told: Subject, header: Subject) -> Subject:
    """What a table tells, and what only the header does."""
    age = told.age if told.age is not None or told.age_range else header.age
    return replace(told, age=age, sex=told.sex or header.sex, view=told.view or header.view)
