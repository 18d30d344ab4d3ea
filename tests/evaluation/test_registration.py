"""Registration: a copy is found at its shift and scale whatever its brightness; other pictures do not fit as well."""

import cv2
import numpy as np
import pytest

from synthcxr.evaluation.registration import MARGIN, SIDE, detail, register
from synthcxr.images import Grey
from tests.conftest import made_up_xray


def textured(seed: int, side: int = 192) -> Grey:
    """A made-up X-ray with fine structure of its own that a scale to 96 px leaves."""
    rough = np.random.default_rng(seed).normal(0, 25, (side // 4, side // 4)).astype(np.float32)
    return np.asarray((made_up_xray(seed, side) + cv2.resize(rough, (side, side))).clip(0, 255), np.uint8)


def moved(image: Grey, scale: float = 1.0, right: float = 0.0, down: float = 0.0) -> Grey:
    """The image made larger around its middle, then shifted by parts of its side."""
    side = len(image)
    middle = (side - 1) / 2
    matrix = np.array([[scale, 0, middle * (1 - scale) + right * side], [0, scale, middle * (1 - scale) + down * side]])
    return np.asarray(cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@pytest.mark.parametrize(
    ("scale", "right", "down"), [(1.0, 0.0, 0.0), (1.0, 0.05, -0.04), (1.06, 0.0, 0.0), (0.94, -0.03, 0.03)]
)
def test_a_copy_is_found_at_its_shift_and_scale(scale: float, right: float, down: float) -> None:
    image = textured(1)
    copy = (0.7 * moved(image, scale, right, down) + 20).astype(np.uint8)
    found = register(detail(image), detail(copy))
    assert found.correlation > 0.85
    # the other is enlarged by what undoes the copy's scale; its middle then lies where the copy was moved to
    assert found.scale == pytest.approx(1 / scale, abs=0.021)
    assert (found.right, found.down) == pytest.approx((right, down), abs=1.5 / SIDE)


def test_other_pictures_fit_worse_than_any_copy() -> None:
    pictures = [detail(textured(seed)) for seed in range(8)]
    others = [register(one, two).correlation for i, one in enumerate(pictures) for two in pictures[i + 1 :]]
    assert max(others) < 0.5


def test_a_shift_beyond_the_margin_is_another_picture() -> None:
    image = textured(3)
    far = register(detail(image), detail(moved(image, right=2 * MARGIN / SIDE)))
    assert far.correlation < 0.5


def test_brightness_and_contrast_count_for_nothing_and_flat_pictures_correlate_with_nothing() -> None:
    image = textured(5)
    assert register(detail(image), detail((image // 2) + 60)).correlation > 0.95
    flat = np.full((64, 64), 90, np.uint8)
    assert register(detail(flat), detail(flat)).correlation == 0
    assert register(detail(flat), detail(image)).correlation == 0
