"""What is changed in an image, and what never is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthcxr.cleaning.detect import is_words, merge
from synthcxr.cleaning.inpaint import changed_outside, inpaint
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.remove import remove_text
from synthcxr.cleaning.segment import dilate, strokes
from synthcxr.images import Grey

from .xrays import CORNERS, burn, drawn_xray, fake_read

PLAIN = drawn_xray()
WITH_R = burn(PLAIN, "R")
BOX = Mark(CORNERS, "R", 0.9)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40))),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["telea", "navier-stokes"]),
)
def test_pixels_outside_any_mask_stay(image: Grey, seed: int, method: str) -> None:
    mask = np.random.default_rng(seed).random(image.shape) < 0.2
    before = image.copy()
    filled = inpaint(image, mask, method)  # type: ignore[arg-type]
    assert np.array_equal(filled[~mask], image[~mask])
    assert np.array_equal(image, before)
    assert changed_outside(image, filled, mask) == 0


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(16, 48), st.integers(16, 48))),
    st.tuples(*[st.floats(-10, 60)] * 8),
    st.integers(0, 3),
)
def test_any_box_on_any_image_changes_only_its_mask(image: Grey, numbers: tuple[float, ...], dilation: int) -> None:
    height, width = image.shape
    corners = tuple((float(x), float(y)) for x, y in np.clip(np.reshape(numbers, (4, 2)), 0, (width, height)))
    removal = remove_text(image, lambda _: [Mark(corners, "R", 0.9)], dilation=dilation)
    assert removal.mask.shape == image.shape
    assert changed_outside(image, removal.image, removal.mask) == 0


@pytest.mark.parametrize("level", [255, 0], ids=["white", "black"])
def test_strokes_are_masked_with_their_rim_but_not_the_box(level: int) -> None:
    image = burn(PLAIN, "R", level=level)
    burned = image != PLAIN
    mask = dilate(strokes(image, BOX), 1)  # the faintest pixels of a rim are the dilation's
    assert (mask & burned).sum() >= 0.98 * burned.sum()
    assert not (mask & ~dilate(burned, 4)).any()
    assert mask.sum() < 0.6 * (34 * 26)


def test_a_box_without_area_on_the_edge_has_no_strokes() -> None:
    edge = Mark(((128.0, 128.0),) * 4, "R", 0.9)
    assert not strokes(WITH_R, edge).any()


def test_grain_is_not_strokes() -> None:
    assert not strokes(PLAIN, BOX).any()


def test_letters_go_and_the_background_comes_back() -> None:
    removal = remove_text(WITH_R, fake_read)
    assert removal.status == "removed"
    assert np.abs(removal.image.astype(int) - PLAIN)[removal.mask].mean() < 8


def test_no_text_gives_the_same_pixels() -> None:
    removal = remove_text(PLAIN, fake_read)
    assert removal.status == "clean"
    assert removal.image.tobytes() == PLAIN.tobytes()
    assert not removal.mask.any()


def test_text_that_stays_is_residual() -> None:
    places = [(14, 20), (70, 20), (14, 90), (70, 90)]
    image, boxes = PLAIN, []
    for left, top in places:
        image = burn(image, "R", (left, top))
        corners = tuple((x - 14 + left, y - 20 + top) for x, y in CORNERS)
        boxes.append(Mark(corners, "R", 0.9))
    one_at_a_time = iter(boxes)
    removal = remove_text(image, lambda _: [next(one_at_a_time)])
    assert removal.status == "residual"
    assert removal.left == (boxes[-1],)
    assert removal.later == tuple(boxes[1:-1])


def test_of_overlapping_boxes_the_longest_reading_stays() -> None:
    whole = Mark(((0, 0), (80, 0), (80, 10), (0, 10)), "PORTABLE", 0.8)
    part = Mark(((40, 0), (80, 0), (80, 10), (40, 10)), "ABLE", 0.9)
    other = Mark(((0, 30), (10, 30), (10, 40), (0, 40)), "R", 0.9)
    assert merge([part, other, whole]) == [whole, other]


@pytest.mark.parametrize(("text", "expected"), [("R", True), ("7", True), ("个", False), ("·-", False), ("右侧", True)])
def test_a_single_symbol_is_no_word(text: str, expected: bool) -> None:
    assert is_words(text) is expected
