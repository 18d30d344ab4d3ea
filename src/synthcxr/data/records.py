"""What every source gives: one `Record` an image before its file is opened, one `Picture` after."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey, read_grey
from synthcxr.prompts import Subject

if TYPE_CHECKING:
    from synthcxr.config import PrepareConfig


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a source and what the source's tables say of it.

    `name` is its path inside the source, and its key there. Ids are as the source writes them, empty where only the
    file itself tells them (DICOM). `text` is a prompt that the source itself gives; `report` the free text of a
    report, `report_file` the path inside the source of a file that holds it, in the `language` ``en`` or ``es``.
    `split` is the publisher's own split, None where there is none.
    """

    name: str
    patient_id: str = ""
    study_id: str = ""
    subject: Subject = field(default_factory=Subject)
    text: str = ""
    report: str = ""
    report_file: str = ""
    language: str = "en"
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """An opened image at full size as a radiologist would see it, and its record with what the file itself says.

    `pixel_spacing_mm` is (row, column) where it is known; `notes` say what was done to the pixels (window, aspect).
    """

    image: Grey
    record: Record
    pixel_spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


class RejectedImageError(SynthCXRError):
    """An image that is no part of the dataset: the `rule` by name, and the reason in words without identifiers."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.rule, str(self))


Reader = Callable[[Path, Record, "PrepareConfig"], Picture]
"""Opens a record's image below a root; a plain function of a module, so that worker processes can have it.

Raises UnreadableImageError or RejectedImageError.
"""


def read_picture(root: Path, record: Record, config: "PrepareConfig") -> Picture:
    """Open a PNG or JPEG."""
    return Picture(read_grey(root / record.name), record)


@dataclass
class Source:
    """What was found: records to read, rows that cannot be used with the reason, and remarks for the manifest.

    `restricted` says that the terms of use forbid to pass the images on, `public_ids` that patients' ids are the
    publisher's own pseudonyms, which need no hashing. `kind` is its name in `--source`.
    """

    root: Path
    records: list[Record] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    licence: str = "unknown"
    restricted: bool = False
    public_ids: bool = False
    read: Reader = read_picture
    kind: str = ""

    def reject(self, name: str, reason: str, rule: str = "row") -> None:
        """Note a row or file that cannot be used."""
        self.rejected.append({"file": printable(name)[:500], "rule": rule, "reason": printable(reason)[:500]})


def told(text: object) -> str:
    """A piece of a reason that comes from the source (a cell, a file's or a table's name), marked by ``‹`` and ``›``.

    With hashed names the dataset leaves it out (`Naming.reason`); else the marks alone go.
    """
    return f"‹{str(text).replace('‹', '').replace('›', '')}›"


def told_row(where: str) -> str:
    """Where a row lies, ``a.csv, row 2``, with the table's name marked as `told` does."""
    table, comma, row = where.rpartition(", row ")
    return told(table) + comma + row if comma else told(where)


def printable(text: str) -> str:
    """A text that can be written as UTF-8: bytes of a file name or cell that are none become ``\\udc…``."""
    return text.encode("utf-8", "backslashreplace").decode()
