"""A set at a glance: its first images on one sheet."""

from collections.abc import Sequence
from pathlib import Path

from synthcxr.generation.provenance import DISCLAIMER
from synthcxr.images import Grey, contact_sheet, read_grey, resize, write_png

SHEET = "sheet.png"
SHOWN = 64
COLUMNS = 8
LARGEST = 256
"""Pixels of an image's long side on the sheet, at most."""


def write_sheet(folder: Path, images: Sequence[Path], says: str = DISCLAIMER) -> None:
    """Write ``sheet.png`` of the first 64 images of a set; nobody chooses them."""
    small = [_shrink(read_grey(path)) for path in images[:SHOWN]]
    write_png(folder / SHEET, contact_sheet(small, min(COLUMNS, len(small))), {"Description": says})


def _shrink(image: Grey) -> Grey:
    scale = LARGEST / max(image.shape)
    height, width = (max(1, round(side * scale)) for side in image.shape)
    return image if scale >= 1 else resize(image, width, height)
