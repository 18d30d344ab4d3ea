"""A bare folder of PNG and JPEG images, of which nothing else is known."""

from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.data.sources.files import list_files, reject_the_rest
from synthcxr.data.sources.tables import with_options
from synthcxr.errors import UsageError


def recognise(path: Path) -> str:
    """Any folder that no other source recognises."""
    return "it holds images and no table that is known" if path.is_dir() else ""


def read(config: PrepareConfig) -> Source:
    """Every image is its own patient."""
    folder = config.source_path
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; --source folder needs a folder of images.")
    files = list_files(folder)
    records = [with_options(Record(name, patient_id=name), config) for name in files.names]
    note = "A bare folder names no patients: every image counts as its own patient, and prompts say nothing of it."
    source = Source(folder, records, notes=[note], licence=config.licence)
    reject_the_rest(source, files)
    return source
