"""What is changed in an image, and what never is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthcxr.cleaning.detect import is_words, merge
from synthcxr.cleaning.inpaint import inpaint
from synthcxr.cleaning.marks import Kind, Mark
from synthcxr.cleaning.paste import changed_outside
from synthcxr.cleaning.picture import Picture
from synthcxr.cleaning.remove import MOST_AREA, Tools, is_legible, remove_text
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
    removal = remove_text(Picture(image), Tools(lambda _: [Mark(corners, "R", 0.9)], dilation=dilation))
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


@pytest.mark.parametrize("kind", ["position", "marker"])
def test_what_a_console_draws_around_letters_goes_with_them(kind: Kind) -> None:
    letter = burn(np.zeros_like(PLAIN), "R", level=255) > 60
    drawn = np.where(dilate(letter, 3), 60, PLAIN).astype(np.uint8)  # a dark line of 3 pixels
    drawn[letter] = 255
    outline = Mark(CORNERS, "R", 0.9, kind)
    if kind == "marker":
        rows, columns = np.nonzero(letter)
        left, right, top, bottom = (float(edge) for edge in (columns.min(), columns.max(), rows.min(), rows.max()))
        outline = Mark(((left, top), (right, top), (right, bottom), (left, bottom)), "", 0.9, kind)
    mask = strokes(drawn, outline)
    assert mask[dilate(letter, 3) & (drawn != PLAIN)].mean() > 0.95
    assert not mask[:, 60:].any(), "the rest of the image has no outline"


def test_grain_is_not_strokes() -> None:
    assert not strokes(PLAIN, BOX).any()


def test_letters_go_and_the_background_comes_back() -> None:
    removal = remove_text(Picture(WITH_R), Tools(fake_read))
    assert removal.status == "removed"
    assert np.abs(removal.image.astype(int) - PLAIN)[removal.mask].mean() < 8


def test_no_text_gives_the_same_pixels() -> None:
    removal = remove_text(Picture(PLAIN), Tools(fake_read))
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
    removal = remove_text(Picture(image), Tools(lambda _: [next(one_at_a_time)]))
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


@pytest.mark.parametrize("kept", [(), ("laterality",)])
def test_the_marker_of_the_side_stays_where_it_is_kept(kept: tuple[Kind, ...]) -> None:
    def read(image: Grey) -> list[Mark]:
        return [Mark(CORNERS, "R", 0.9, "laterality")] if image[16:42, 10:44].max() > 240 else []

    removal = remove_text(Picture(WITH_R), Tools(read, kept=kept))
    assert (removal.status, np.array_equal(removal.image, WITH_R)) == (("clean", True) if kept else ("removed", False))
    assert [mark.text for mark in removal.kept] == (["R"] if kept else [])


@pytest.mark.parametrize(("words", "kind", "lost"), [("RJS", "other", True), ("PORTABLE", "position", False)])
def test_a_short_text_that_goes_may_have_been_the_side(words: str, kind: Kind, lost: bool) -> None:
    def read(image: Grey) -> list[Mark]:
        return [Mark(CORNERS, words, 0.9, kind)] if image[16:42, 10:44].max() > 240 else []

    removal = remove_text(Picture(WITH_R), Tools(read, kept=("laterality",)))
    assert removal.status == "removed" and removal.may_have_lost_side is lost
    beside = replace(removal, kept=(Mark(CORNERS, "L", 0.9, "laterality"),))
    assert not beside.may_have_lost_side


def test_a_marker_that_stays_is_whole_though_other_text_reaches_into_it() -> None:
    image = burn(WITH_R, "DG", (30, 30))
    side = Mark(((12.0, 18.0), (32.0, 18.0), (32.0, 40.0), (12.0, 40.0)), "R", 0.9, "laterality")
    beside = Mark(((24.0, 26.0), (70.0, 26.0), (70.0, 52.0), (24.0, 52.0)), "DG", 0.9)
    shown = iter([[side, beside]])
    removal = remove_text(Picture(image), Tools(lambda _: next(shown, [side]), kept=("laterality",)))
    assert np.array_equal(removal.image[18:41, 12:33], image[18:41, 12:33])
    assert removal.mask[30:50, 36:60].any()


def test_what_is_read_where_no_strokes_stand_out_needs_a_review() -> None:
    removal = remove_text(Picture(PLAIN), Tools(lambda _: [BOX]))
    assert (removal.status, removal.reasons, removal.faint) == ("residual", ("too-faint",), (BOX,))
    assert not removal.mask.any()


class Second:
    """A second reader that sees what is white in a place, and says so."""

    name = "second"

    def __init__(self, says_after: str = "") -> None:
        self.says_after = says_after

    def read(self, image: Grey) -> list[Mark]:
        return fake_read(image)

    def read_marks(self, image: Grey, marks: Sequence[Mark]) -> list[str]:
        return ["R" if fake_read(image) else self.says_after for _ in marks]


def test_what_only_the_second_reader_finds_is_removed_too() -> None:
    removal = remove_text(Picture(WITH_R), Tools(lambda _: [], second=Second()))
    assert removal.status == "removed"
    assert (removal.before, len(removal.later), len(removal.second_found)) == ((), 1, 1)
    assert (removal.second_before, removal.second_after) == (("R",), ("",))
    assert not fake_read(removal.image.astype(np.uint8))


@pytest.mark.parametrize(("says", "status"), [("R", "residual"), ("", "removed"), ("i", "removed")])
def test_what_the_second_reader_can_still_make_out_needs_a_review(says: str, status: str) -> None:
    assert remove_text(Picture(WITH_R), Tools(fake_read, second=Second(says))).status == status


def test_grain_read_as_other_letters_is_not_legible() -> None:
    assert is_legible("DOE JANF", ("DOE JANE", ""))
    assert not is_legible("ae", ("DOE JANE", "DOE"))
    assert not is_legible("", ("DOE JANE", "DOE"))


def test_an_image_that_is_all_text_needs_a_review() -> None:
    image = PLAIN.copy()
    for top in range(0, 120, 14):
        image = burn(image, "DOE JANE 1961", (0, top), 15)
    corners = ((0.0, 0.0), (128.0, 0.0), (128.0, 128.0), (0.0, 128.0))
    everything = Mark(corners, "DOE", 0.9, "identifier")
    seen = iter([[everything]])
    removal = remove_text(
        Picture(image), Tools(lambda _: next(seen, []), segment=lambda *_: np.ones(image.shape, bool))
    )
    assert removal.mask.mean() > MOST_AREA
    assert (removal.status, removal.reasons) == ("residual", ("too-much",))


def test_a_solid_marker_is_masked_as_a_whole() -> None:
    image = PLAIN.copy()
    image[60:76, 60:80] = 250
    outline = Mark(((60.0, 60.0), (79.0, 60.0), (79.0, 75.0), (60.0, 75.0)), "", 0.9, "marker")
    shown = iter([[outline]])
    removal = remove_text(Picture(image), Tools(lambda _: next(shown, [])))
    assert removal.mask[60:76, 60:80].all()
    assert removal.mask.sum() < 24 * 28
