"""A bare folder of PNG and JPEG images, of which nothing else is known."""

from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.errors import UsageError
from synthcxr.images import list_images


def recognise(path: Path) -> str:
    """Any folder that no other source recognises."""
    return "it holds images and no table that is known" if path.is_dir() else ""


def read(config: PrepareConfig) -> Source:
    """Every image is its own patient."""
    folder = config.source_path
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; --source folder needs a folder of images.")
    names = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    records = [Record(name, patient_id=name) for name in names]
    note = "A bare folder names no patients: every image counts as its own patient, and prompts say nothing of it."
    return Source(folder, records, notes=[note], licence=config.licence)
