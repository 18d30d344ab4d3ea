"""Depth, alpha, palettes and colours: what is kept of them, and what is shown to the reader."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthcxr.cleaning.clean import clean
from synthcxr.cleaning.picture import read_picture
from synthcxr.config import CleanConfig
from synthcxr.images import UnreadableImageError, encode_png
from synthcxr.store import read_jsonl

from .xrays import burn, drawn_xray

GREY = drawn_xray()
DEEP = ((GREY.astype(np.uint16) << 4) + 5).astype(np.uint16)


def save(image: Image.Image, how: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, how, **options)
    return buffer.getvalue()


def deep_with_alpha(values: Any, alpha: int) -> bytes:
    """A PNG of 16-bit grey with alpha, by hand: Pillow cannot write one."""
    height, width = values.shape
    rows = np.dstack([values, np.full_like(values, alpha)]).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_8_bits_are_read_and_shown_as_they_are() -> None:
    picture = read_picture(encode_png(GREY), "a")
    assert np.array_equal(picture.values, GREY)
    assert [view.tolist() for view in picture.views(picture.values)] == [GREY.tolist()]


def test_16_bits_stay_and_are_shown_through_a_window_and_at_full_range() -> None:
    values = DEEP.copy()
    values[:2, :2] = 65535  # a text far brighter than the X-ray, of fewer pixels than the percentile
    picture = read_picture(save(Image.fromarray(values)), "a")
    assert picture.values.dtype == np.uint16
    assert np.array_equal(picture.values, values)
    window, full = picture.views(values)
    assert window[20:].std() > 40 and full[20:].std() < 5
    assert full[0, 0] == 255 > full[2:].max() + 100


def test_16_bits_in_colour_or_with_alpha_stay_16_bits() -> None:
    assert np.array_equal(read_picture(deep_with_alpha(DEEP, 65535), "a").values, DEEP)
    assert read_picture(deep_with_alpha(DEEP, 0), "a").values.max() == 0


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "RGBA", "LA"])
def test_grey_in_another_mode_becomes_the_same_grey(mode: str) -> None:
    image = Image.fromarray(GREY)
    data = save(image.convert("RGB").convert("CMYK"), "TIFF") if mode == "CMYK" else save(image.convert(mode))
    if mode == "CMYK":
        data = save(Image.open(io.BytesIO(data)), "JPEG", quality=100)
    values = read_picture(data, "a").values
    assert np.abs(values.astype(int) - GREY).max() <= (4 if mode == "CMYK" else 0)


def test_what_alpha_hid_is_gone() -> None:
    hidden = np.dstack([burn(GREY, "R"), np.where(GREY > 0, 255, 0).astype(np.uint8)])
    hidden[:60, :, 1] = 0
    values = read_picture(save(Image.fromarray(hidden, "LA")), "a").values
    assert values[:60].max() == 0
    assert np.array_equal(values[60:], np.where(GREY[60:] > 0, GREY[60:], 0))


def test_a_palette_of_a_few_colours_becomes_grey_and_a_photo_is_refused() -> None:
    colours = np.repeat(GREY[..., None], 3, axis=2)
    colours[:4, :4] = (255, 255, 0)  # a coloured marker
    few = Image.fromarray(np.where(colours[..., 2] == 0, 255, GREY).astype(np.uint8), "L")
    few.putpalette([level for grey in range(255) for level in (grey, grey, grey)] + [255, 255, 0])
    picture = read_picture(save(few), "a")
    assert np.array_equal(picture.values[4:], GREY[4:])
    assert "the colour of a few pixels was dropped" in picture.notes
    colours[:, :64, 2] = 0
    with pytest.raises(UnreadableImageError, match="in colour"):
        read_picture(save(Image.fromarray(colours)), "a")


@pytest.mark.usefixtures("quick_reader")
def test_depth_is_kept_from_end_to_end(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    values = burn(GREY, "R").astype(np.uint16) * 257
    (folder / "deep.png").write_bytes(save(Image.fromarray(values)))
    clean(CleanConfig(folder=folder, out=out, workers=1))
    after = np.asarray(Image.open(out / "train" / "deep.png"))
    mask = np.asarray(Image.open(out / "masks" / "deep.png")) > 0
    assert after.dtype == np.uint16
    assert np.array_equal(after[~mask], values[~mask])
    assert after[mask].max() < 60000 and len(np.unique(after[mask] % 257)) > 1
    (proof,) = read_jsonl(out / "proof.jsonl")
    assert (proof["bits"], proof["status"], proof["changed_outside_mask"]) == (16, "removed", 0)
