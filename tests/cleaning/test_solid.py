"""Markers that are no text."""

import cv2
import numpy as np
import pytest

from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.solid import find_solid
from synthcxr.images import Grey

from .xrays import burn, drawn_xray

SIDE = 512
PLAIN = drawn_xray(SIDE)
LETTER = Mark(((240.0, 240.0), (260.0, 240.0), (260.0, 268.0), (240.0, 268.0)), "R", 0.9, "laterality")
MIDDLE = (250, 254)


def with_letter(image: Grey, level: int = 255) -> Grey:
    return burn(image, "R", (243, 244), 26, level)


def filled(mark: Mark) -> Grey:
    area = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [np.rint(mark.points).astype(np.int32)], 1)
    return np.asarray(area, np.uint8)


def agreement(mark: Mark, truth: Grey) -> float:
    return float((filled(mark) & truth).sum() / (filled(mark) | truth).sum())


def test_a_ring_around_a_letter_is_found_with_what_is_in_it() -> None:
    image = with_letter(cv2.circle(PLAIN.copy(), MIDDLE, 28, 255, 3))
    (found,) = find_solid(image, [LETTER])
    assert (found.kind, found.text) == ("marker", "")
    assert agreement(found, cv2.circle(np.zeros_like(PLAIN), MIDDLE, 29, 1, -1)) > 0.9


@pytest.mark.parametrize(("tab", "letter"), [(255, 0), (0, 255)], ids=["white tab", "black disc"])
def test_a_filled_holder_is_found(tab: int, letter: int) -> None:
    image = with_letter(cv2.ellipse(PLAIN.copy(), MIDDLE, (24, 32), 0, 0, 360, tab, -1), letter)
    (found,) = find_solid(image, [LETTER])
    assert agreement(found, cv2.ellipse(np.zeros_like(PLAIN), MIDDLE, (24, 32), 0, 0, 360, 1, -1)) > 0.9


def test_a_disc_counts_only_beside_a_letter() -> None:
    disc = cv2.circle(PLAIN.copy(), (250, 212), 14, 240, -1)
    assert find_solid(disc, []) == []
    assert find_solid(with_letter(PLAIN), [LETTER]) == []
    (found,) = find_solid(with_letter(disc), [LETTER])
    assert agreement(found, cv2.circle(np.zeros_like(PLAIN), (250, 212), 14, 1, -1)) > 0.85


@pytest.mark.parametrize("turns", range(4))
def test_an_arrow_is_found_anywhere(turns: int) -> None:
    arrow = np.zeros((36, 24), np.uint8)
    cv2.fillPoly(arrow, [np.array([(12, 0), (23, 16), (0, 16)])], 1)
    arrow[16:, 8:16] = 1
    arrow = np.ascontiguousarray(np.rot90(arrow, turns))
    truth = np.zeros_like(PLAIN)
    truth[100 : 100 + arrow.shape[0], 60 : 60 + arrow.shape[1]] = arrow
    (found,) = find_solid(np.where(truth > 0, 255, PLAIN).astype(np.uint8), [])
    assert agreement(found, truth) > 0.85


@pytest.mark.parametrize("shape", ["square", "bar", "disc"])
def test_what_is_no_arrow_is_none(shape: str) -> None:
    image = PLAIN.copy()
    if shape == "disc":
        cv2.circle(image, (100, 100), 15, 255, -1)
    else:
        image[100:130, 60 : 90 if shape == "square" else 68] = 255
    assert find_solid(image, []) == []
