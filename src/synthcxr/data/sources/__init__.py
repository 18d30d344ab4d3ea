"""The sources: one small file each, with `recognise`, why a path is taken for it, and `read`, what lies there."""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Source
from synthcxr.errors import UsageError
from synthcxr.progress import say

NAMES = (
    *("mimic", "chexpert", "nih", "padchest", "openi", "vindr", "siim", "kermany"),
    *("imagefolder", "table", "dicom", "folder"),
)
"""Modules of this package, the more particular first: `--source auto` takes the first that recognises the path."""


class SourceModule(Protocol):
    """What each module of a source has."""

    def recognise(self, path: Path) -> str:
        """Why a path is taken for this source, as the end of “…, because”; empty where it is not."""

    def read(self, config: PrepareConfig) -> Source:
        """The source at a path. Raises UsageError where it is not laid out as this source is."""


def read_source(config: PrepareConfig) -> Source:
    """Read the source that a config names. Raises UsageError where there is nothing to read."""
    if not config.source_path.exists():
        raise UsageError(f"{config.source_path} does not exist. Give a folder of X-rays, or the table beside them.")
    name, why = (config.source, "") if config.source != "auto" else recognise(config.source_path)
    source = module(name).read(config)
    source.kind = "csv" if name == "table" else name
    if why:
        note = f"Taken for --source {name}, because {why}."
        say(note)
        source.notes.append(note)
    if not source.records and not source.rejected:
        raise UsageError(f"There is no image in {config.source_path}.")
    return source


def recognise(path: Path) -> tuple[str, str]:
    """Which source a path is, and why."""
    for name in NAMES:
        if why := module(name).recognise(path):
            return name, why
    raise UsageError(f"{path} is laid out as no source that is known. Name one with --source.")


def module(name: str) -> SourceModule:
    """The module of a source by its name in `--source`."""
    return import_module(f"{__name__}.{'table' if name == 'csv' else name}")
