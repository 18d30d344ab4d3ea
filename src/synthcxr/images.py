"""The one image layer: reading, sizes, value ranges, PNG with text fields.

An image is a ``uint8`` array (height, width), grey, 0 black to 255 white, from here to the last stage.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from synthcxr.errors import SynthCXRError
from synthcxr.store import write_bytes

Grey = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels, as the shape of an array."""
SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
"""What is opened, whatever a file's name ends in: Pillow knows formats that run other programs, as EPS does."""
MAXIMUM_PIXELS = 64_000_000
"""An X-ray of 8,000 by 8,000 pixels; anything larger is taken for a decompression bomb."""


class UnreadableImageError(SynthCXRError):
    """An image that cannot be read, with the reason."""


def list_images(folder: Path) -> list[Path]:
    """All images under a folder, sorted, hidden files and folders left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_grey(path: Path | IO[bytes], name: str = "") -> Grey:
    """Read a PNG or JPEG as grey ``uint8`` (height, width); `name` stands for it in errors.

    16-bit images are scaled from the full range, colour goes by ITU-R 601 luma, alpha is laid over black.
    Raises UnreadableImageError with the reason: missing, not an image, truncated, too large.
    """
    name = name or str(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAXIMUM_PIXELS:
                raise UnreadableImageError(f"{name} has {image.width} by {image.height} pixels, too many for an X-ray.")
            image.load()
            return _to_grey(image)
    except FileNotFoundError:
        raise UnreadableImageError(f"{name} does not exist.") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{name} is not an image.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"{name} cannot be read: {error}.") from error


def _to_grey(image: Image.Image) -> Grey:
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(image).astype(np.float64)
        return np.clip(np.rint(values / 257.0), 0, 255).astype(np.uint8)
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, (0, 0, 0, 255)), layered)
    return np.asarray(image.convert("L"))


def resize(image: Grey, width: int, height: int) -> Grey:
    """Resize with an antialiased Lanczos filter (Pillow), as little blurring as down-sampling allows."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def cover(image: Grey, size: Size) -> Grey:
    """Bring an image to a size: scaled until it covers it, the overhang cropped centrally. Nothing is stretched."""
    height, width = image.shape
    scale = max(size[0] / height, size[1] / width)
    scaled = max(1, round(height * scale)), max(1, round(width * scale))
    resized = image if scaled == image.shape else resize(image, scaled[1], scaled[0])
    return crop_centre(resized, size)


def crop_centre(image: Grey, size: Size) -> Grey:
    """The middle of an image that is at least as large."""
    top, left = ((there - kept) // 2 for there, kept in zip(image.shape, size, strict=True))
    return np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])


def central_square(image: Grey) -> Grey:
    """The central square of the short side, its pixels as they are."""
    return crop_centre(image, (min(image.shape),) * 2)


def to_square(image: Grey, side: int, rule: Literal["center", "pad"] = "center") -> Grey:
    """Make a square of `side` pixels.

    ``center``: the short side becomes `side`, the central square is kept. ``pad``: the long side becomes `side`,
    the rest is black. The content is never stretched.
    """
    if rule == "center":
        return cover(image, (side, side))
    height, width = image.shape
    scale = side / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((side, side), np.uint8)
    top, left = (side - new_height) // 2, (side - new_width) // 2
    resized = image if (new_width, new_height) == (width, height) else resize(image, new_width, new_height)
    square[top : top + new_height, left : left + new_width] = resized
    return square


def to_model_range(images: Grey) -> npt.NDArray[np.float32]:
    """Grey levels 0 to 255 as float32 from -1 to 1."""
    return images.astype(np.float32) / 127.5 - 1.0


def to_grey_levels(values: npt.NDArray[np.floating[Any]]) -> Grey:
    """Floats from -1 to 1 as grey levels, rounded and clipped as diffusers does."""
    return np.rint(np.clip(values / 2 + 0.5, 0, 1) * 255).astype(np.uint8)


def encode_png(
    image: Grey | npt.NDArray[np.uint16], text: dict[str, str] | None = None, *, compress_level: int = 6
) -> bytes:
    """A PNG's bytes, 8 or 16 bits deep, with text fields (Latin-1 as tEXt, else iTXt).

    The same input gives the same bytes.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info, compress_level=compress_level)
    return buffer.getvalue()


def write_png(path: Path, image: Grey, text: dict[str, str] | None = None) -> None:
    """Write a PNG, whole or not at all."""
    write_bytes(path, encode_png(image, text))


def read_png_text(path: Path | IO[bytes]) -> dict[str, str]:
    """The text fields of a PNG."""
    try:
        with Image.open(path) as image:
            image.load()
            return {str(key): str(value) for key, value in getattr(image, "text", {}).items()}
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImageError(f"{path} cannot be read: {error}.") from error


def contact_sheet(images: Sequence[Grey], columns: int, gap: int = 4, background: int = 255) -> Grey:
    """Images laid out in rows of `columns`, each in the middle of a cell that the largest fill."""
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), background, np.uint8)
    for index, image in enumerate(images):
        top = (index // columns) * (height + gap) + (height - image.shape[0]) // 2
        left = (index % columns) * (width + gap) + (width - image.shape[1]) // 2
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet
