"""Shapes like an L or R."""

import numpy as np
import pytest

from synthcxr.cleaning.letters import find_letters, like_l
from synthcxr.images import Grey

from .xrays import burn, drawn_xray

PLAIN = drawn_xray(256)


def with_bars(turns: int, level: int, wide: int = 20, high: int = 32, stroke: int = 5) -> Grey:
    """An L of two bars at (60, 70), turned clockwise by quarters."""
    ink = np.zeros((high, wide), bool)
    ink[:, :stroke] = ink[-stroke:] = True
    ink = np.rot90(ink, -turns)
    image = PLAIN.copy()
    image[70 : 70 + ink.shape[0], 60 : 60 + ink.shape[1]][ink] = level
    return image


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("level", [255, 0])
def test_an_l_is_found_with_its_bounds_and_its_turn(turns: int, level: int) -> None:
    best, *_ = find_letters(with_bars(turns, level))
    wide, high = (32, 20) if turns % 2 else (20, 32)
    assert best[:4] == (60, 70, 60 + wide, 70 + high)
    assert (best.likeness, best.quarter_turns, best.text) == (1.0, turns, "L")


@pytest.mark.parametrize("letter", "TOIXUHCSRV")
def test_other_letters_are_no_l(letter: str) -> None:
    assert all(found.text != "L" for found in find_letters(burn(PLAIN, letter, (60, 60), 40)))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("size", [12, 22, 50])
def test_an_r_is_found_with_its_turn(turns: int, size: int) -> None:
    image = np.ascontiguousarray(np.rot90(burn(PLAIN, "R", (60, 60), size), -turns))
    assert {("R", turns)} == {(letter.text, letter.quarter_turns) for letter in find_letters(image)}


@pytest.mark.parametrize("letter", "BATHL")
def test_what_has_no_stem_or_not_one_hole_is_no_r(letter: str) -> None:
    assert all(found.text != "R" for found in find_letters(burn(PLAIN, letter, (60, 60), 40)))


def test_an_image_without_letters_has_none() -> None:
    assert find_letters(PLAIN) == []


def test_likeness_falls_with_every_pixel_that_is_not_a_bars() -> None:
    shape = np.zeros((20, 12), bool)
    shape[:, :3] = shape[-3:] = True
    assert like_l(shape) == 1.0
    worse = shape.copy()
    worse[5:8, 5:7] = True
    assert like_l(worse) == pytest.approx(shape.sum() / worse.sum())
