"""What was filled, put back: faded in, and grained like what is around it."""

import numpy as np
import numpy.typing as npt
import pytest

from synthcxr.cleaning.paste import changed_outside, fade_in, grain, paste

from .test_inpainters import PLAIN

MASK = np.zeros((160, 160), bool)
MASK[60:76, 30:130] = MASK[40:120, 70:80] = True


def noise(kind: str, deviation: float = 5.0, seed: int = 0) -> npt.NDArray[np.float32]:
    """Grain of a single pixel's size, or of about two."""
    import cv2

    white = np.random.default_rng(seed).standard_normal(MASK.shape)
    made = white if kind == "fine" else cv2.GaussianBlur(white, (0, 0), 0.8)
    return np.asarray(deviation * made / made.std(), np.float32)


@pytest.mark.parametrize("kind", ["fine", "coarse"])
@pytest.mark.parametrize("deviation", [1.5, 6.0])
def test_grain_has_the_strength_and_the_spectrum_of_what_is_around(kind: str, deviation: float) -> None:
    around = noise(kind, deviation)
    rows = np.mgrid[0:160, 0:160][0]
    made = grain(np.where(MASK, 100 + rows * 0.3, 100 + rows * 0.3 + around).astype(np.float32), MASK)
    assert (made[~MASK] == 0).all()
    assert made[MASK].std() == pytest.approx(around.std(), rel=0.25)
    inside = MASK[:, 1:] & MASK[:, :-1]
    ours, theirs = (
        np.corrcoef(values[:, 1:][where], values[:, :-1][where])[0, 1]
        for values, where in ((made, inside), (around, ~inside))
    )
    assert ours == pytest.approx(theirs, abs=0.2)


def test_grain_is_strong_where_its_surroundings_are() -> None:
    strength = np.where(np.arange(160) < 80, 1.0, 6.0)
    levels = 100 + np.where(MASK, 0, noise("fine", 1.0) * strength)
    made = grain(levels.astype(np.float32), MASK)
    left, right = (made[60:76, part].std() for part in (slice(30, 60), slice(100, 130)))
    assert left < 2.5 and right > 4


def test_a_fill_with_grain_of_its_own_gets_no_more() -> None:
    made = grain(100 + noise("fine"), MASK)
    assert made[MASK].std() < 2.5


def test_a_black_border_stays_black() -> None:
    assert (paste(np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.float32), MASK[40:100, 40:100]) == 0).all()


def test_a_fill_fades_in_from_the_edge_of_its_mask() -> None:
    share = fade_in(MASK)
    assert (share[~MASK] == 0).all() and (share[MASK] > 0).all()
    assert share[60, 50] == pytest.approx(0.5, abs=0.05) and share[67, 50] == 1
    assert share[61, 50] > share[60, 50]
    at_the_edge = np.zeros((9, 9), bool)
    at_the_edge[:5] = True
    assert fade_in(at_the_edge)[0].min() == 1, "no fade towards what lies beyond the image"
    assert (fade_in(np.ones((4, 4), bool)) == 1).all()


def test_nothing_of_another_hole_is_taken_for_grain() -> None:
    """Letters side by side: white ones, should any of it be copied it would be seen."""
    mask = np.zeros((60, 200), bool)
    mask[20:44, 4:196:8] = mask[20:44, 5:196:8] = mask[20:44, 6:196:8] = True
    made = grain(np.where(mask, 255, noise("fine")[:60, :120].repeat(2, 1)[:, :200]).astype(np.float32), mask)
    assert np.abs(made).max() < 40
    assert (grain(np.ones((30, 30), np.float32), np.ones((30, 30), bool)) == 0).all()


def test_changes_outside_are_counted() -> None:
    after = PLAIN.copy()
    after[:2, :3] += 1
    mask = np.zeros(PLAIN.shape, bool)
    mask[0, 0] = True
    assert changed_outside(PLAIN, after, mask) == 5
