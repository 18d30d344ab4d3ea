"""The image layer, held to Pillow and to its own promises."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from synthcxr.images import (
    UnreadableImageError,
    encode_png,
    read_grey,
    read_png_text,
    to_grey_levels,
    to_model_range,
    to_square,
    write_png,
)


def test_every_grey_level_survives_the_model_range() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (to_grey_levels(to_model_range(levels)) == levels).all()


def test_png_is_lossless_and_carries_text(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    write_png(tmp_path / "a.png", image, {"synthcxr": "{}", "Description": "naïve “quotes”"})
    assert (read_grey(tmp_path / "a.png") == image).all()
    assert read_png_text(tmp_path / "a.png") == {"synthcxr": "{}", "Description": "naïve “quotes”"}
    assert encode_png(image) == encode_png(image)


@given(st.integers(40, 90), st.integers(40, 90), st.sampled_from(["center", "pad"]))
def test_squares_are_square_and_nothing_is_stretched(height: int, width: int, rule: str) -> None:
    y, x = np.mgrid[0:height, 0:width]
    disc = (np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4).astype(np.uint8) * 255
    square = to_square(disc, 64, rule)  # type: ignore[arg-type]
    assert square.shape == (64, 64)
    rows, columns = (np.ptp(np.flatnonzero((square > 127).any(axis))) for axis in (1, 0))
    assert abs(int(rows) - int(columns)) <= 4


def test_center_keeps_the_middle_and_pad_keeps_everything() -> None:
    wide = np.zeros((50, 100), np.uint8)
    wide[:, :10] = 255
    assert to_square(wide, 50, "center").max() == 0
    assert to_square(wide, 50, "pad").max() == 255


def test_sixteen_bit_colour_and_alpha(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_grey(tmp_path / "deep.png").tolist() == [[0, 100, 255]]
    Image.new("RGB", (2, 1), (200, 200, 200)).save(tmp_path / "colour.png")
    assert read_grey(tmp_path / "colour.png").tolist() == [[200, 200]]
    Image.new("RGBA", (1, 1), (255, 255, 255, 0)).save(tmp_path / "alpha.png")
    assert read_grey(tmp_path / "alpha.png").tolist() == [[0]]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="does not exist"):
        read_grey(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UnreadableImageError, match="not an image"):
        read_grey(tmp_path / "text.png")
    whole = encode_png(np.random.default_rng(1).integers(0, 256, (200, 200), dtype=np.uint8))
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="cannot be read"):
        read_grey(tmp_path / "torn.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImageError, match="too many"):
        read_grey(tmp_path / "bomb.png")
