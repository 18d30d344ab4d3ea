"""An image as it is stored, 8 or 16 bits deep, and as a viewer shows it; so that depth is kept and text is seen.

A viewer shows 16 bits through a window. What lies outside the window is not seen, but is seen by whoever moves it: so
a deep image is read twice, through its window and at its full range.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from synthcxr.images import FORMATS, MAXIMUM_PIXELS, Grey, UnreadableImageError

Values = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Stored values (height, width)."""

PERCENTILES = (0.5, 99.5)
"""Percentiles of 16-bit values that a viewer shows as black and white."""
ALIKE = 0.9
"""A window that covers so much of the full range is not read at the full range as well."""
COLOUR_TOLERANCE = 12
"""Grey levels between the channels of what counts as grey."""
COLOURED_SHARE = 0.05
"""Part of the pixels that may be in colour, as a coloured marker is; an image with more is no X-ray."""
DEEP = 16
"""Bits of a PNG's samples that Pillow keeps only where there is no colour and no alpha."""


@dataclass(frozen=True)
class Picture:
    """Stored `values`, and tables from every possible value to a grey level; without a table 8 bits are shown as is."""

    values: Values
    tables: tuple[Grey, ...] = ()
    notes: tuple[str, ...] = ()

    def views(self, values: Values) -> list[Grey]:
        """How values of this picture look, the viewer's way first."""
        return [np.asarray(table[values]) for table in self.tables] or [values.astype(np.uint8, copy=False)]


def read_picture(data: bytes, name: str) -> Picture:
    """A PNG's or JPEG's bytes as a picture; `name` stands for it in errors.

    16 bits stay 16 bits. Alpha is laid over black, and what it hid is gone. Grey in colours, palette or CMYK becomes
    grey by ITU-R 601 luma. Raises UnreadableImageError with the reason.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAXIMUM_PIXELS:
                raise UnreadableImageError(f"{name} has {image.width} by {image.height} pixels, too many for an X-ray.")
            if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
                raise UnreadableImageError(f"{name} is animated: it has {getattr(image, 'n_frames', 1)} frames.")
            image.load()
            values, notes = _deep(data) if _is_deep_in_colour(image, data) else _shallow(image)
    except UnidentifiedImageError:
        what = "a GIF" if data.startswith(b"GIF8") else "no PNG, JPEG or DICOM"
        raise UnreadableImageError(f"{name} is {what}; PNG, JPEG and DICOM are cleaned.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"{name} cannot be read: {str(error).rstrip('.')}.") from error
    if values is None:
        raise UnreadableImageError(f"{name} is a picture in colour; X-rays are grey. Convert it to grey if it is one.")
    return Picture(values, windows(values) if values.dtype == np.uint16 else (), tuple(notes))


def windows(values: Values) -> tuple[Grey, ...]:
    """Tables for 16-bit values without a window of their own: from percentile to percentile, and the full range."""
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    return with_full_range([ramp(low, high)] if high > low else [], values)


def with_full_range(tables: Sequence[Grey], values: Values) -> tuple[Grey, ...]:
    """Tables, and one from the smallest value to the largest unless the first shows nearly all of it."""
    first, last = int(values.min()), int(values.max())
    if tables:
        shown = np.flatnonzero((tables[0] > 0) & (tables[0] < 255))
        covered = np.count_nonzero((shown >= first) & (shown <= last))
        if covered >= ALIKE * max(last - first, 1):
            return tuple(tables)
    return (*tables, ramp(first, max(last, first + 1), np.iinfo(values.dtype).max + 1))


def ramp(low: float, high: float, size: int = 65536) -> Grey:
    """A table from values to grey levels: `low` and below black, `high` and above white."""
    return np.asarray(np.rint(np.clip((np.arange(size) - low) / (high - low), 0, 1) * 255), np.uint8)


def _is_deep_in_colour(image: Image.Image, data: bytes) -> bool:
    """Whether a PNG has 16 bits a sample of which Pillow would drop eight."""
    return image.format == "PNG" and data[24] == DEEP and not image.mode.startswith("I")


def _shallow(image: Image.Image) -> tuple[Values | None, list[str]]:
    """What Pillow reads, as grey; None for a picture in colour."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16), []
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L")), []
    notes = [] if image.mode == "RGB" else [f"mode {image.mode} became grey"]
    if image.mode in ("LA", "RGBA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    colours = image.convert("RGB")
    return (None, notes) if _is_coloured(np.asarray(colours), notes) else (np.asarray(colours.convert("L")), notes)


def _deep(data: bytes) -> tuple[Values | None, list[str]]:
    """A PNG of 16 bits in colour or with alpha, by OpenCV."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise ValueError("its pixels cannot be decoded")
    notes = ["16-bit colour or alpha became grey"]
    colours: npt.NDArray[Any] = pixels[..., 2::-1].astype(np.float64)  # OpenCV has blue first
    if pixels.shape[2] == 4:
        colours *= pixels[..., 3:] / 65535
    if _is_coloured(colours / 257, notes):
        return None, notes
    return np.rint(colours @ np.array([0.299, 0.587, 0.114])).astype(np.uint16), notes


def _is_coloured(colours: npt.NDArray[Any], notes: list[str]) -> bool:
    """Whether an image (height, width, 3) from 0 to 255 is in colour; a little colour leaves a note."""
    apart = colours.max(-1).astype(np.float64) - colours.min(-1)
    share = float(np.mean(apart > COLOUR_TOLERANCE))
    if share:
        notes.append("the colour of a few pixels was dropped")
    return share > COLOURED_SHARE
