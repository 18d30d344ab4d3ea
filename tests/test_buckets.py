"""Buckets: which there are, which an image goes to, and that nothing on the way is stretched or mixed."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.buckets import LONGEST, STEPS, blocks_by_size, bucket_for, buckets, spell
from synthcxr.images import Size, contact_sheet, cover
from synthcxr.training.data import augment, batch_indices, draw_batch


def kohya(resolution: int, step: int) -> set[Size]:
    """`make_bucket_resolutions` of kohya-ss/sd-scripts (library/model_util.py), for sizes from a step up."""
    area, found = resolution**2, {(resolution // step * step,) * 2}
    for width in range(step, 2 * resolution + 1, step):
        height = min(2 * resolution, area // width // step * step)
        if height >= step:
            found |= {(width, height), (height, width)}
    return found


@pytest.mark.parametrize(("resolution", "step"), [(256, 32), (512, 64), (1024, 64)])
def test_buckets_are_those_of_kohya(resolution: int, step: int) -> None:
    theirs = {size for size in kohya(resolution, step) if max(size) <= LONGEST * min(size)}
    ours = set(buckets(resolution))
    assert ours <= theirs and all(math.prod(size) < 0.95 * resolution**2 for size in theirs - ours)
    assert [spell(size) for size in buckets(256)] == ["192×320", "224×288", "256×256", "288×224", "320×192"]


@given(st.integers(4, 256).map(lambda n: 8 * n))
def test_no_bucket_is_larger_than_the_square_or_cannot_be_halved(resolution: int) -> None:
    step = STEPS[512] if resolution >= 512 else STEPS[0]
    for size in buckets(resolution):
        assert math.prod(size) <= resolution**2 and max(size) <= LONGEST * min(size)
        assert size == (resolution, resolution) or not any(side % step for side in size)
        assert size[::-1] in buckets(resolution) and bucket_for(size, resolution) == size


@given(st.integers(50, 400), st.integers(50, 400), st.sampled_from([128, 256, 512]))
def test_an_image_goes_where_least_is_cut_off_and_stays_round(height: int, width: int, resolution: int) -> None:
    def kept(size: Size) -> float:
        ratio = height / width * size[1] / size[0]
        return min(ratio, 1 / ratio)

    chosen = bucket_for((height, width), resolution)
    assert kept(chosen) == pytest.approx(max(map(kept, buckets(resolution))))
    y, x = np.mgrid[0:height, 0:width]
    disc = (np.hypot(y - height / 2, x - width / 2) < min(height, width) / 4).astype(np.uint8) * 255
    covered = cover(disc, chosen)
    assert covered.shape == chosen and covered[chosen[0] // 2, chosen[1] // 2] == 255
    rows, columns = (np.ptp(np.flatnonzero((covered > 127).any(axis))) for axis in (1, 0))
    assert abs(int(rows) - int(columns)) <= 0.03 * min(chosen) + 4
    assert augment(covered, np.random.default_rng(height)).shape == chosen


def test_an_image_of_unknown_size_is_square() -> None:
    assert bucket_for(None, 256) == (256, 256)


counts_of_groups = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(counts_of_groups, st.integers(1, 12), st.integers(0, 9), st.integers(1, 4))
def test_every_batch_is_of_one_group_and_every_image_comes_once_a_pass(
    counts: list[int], batch_size: int, seed: int, passes: int
) -> None:
    ends = np.cumsum([0, *counts])
    groups = [range(start, end) for start, end in pairwise(ends.tolist())]
    steps = sum(-(-passes * count // batch_size) for count in counts)
    batches = [draw_batch(groups, batch_size, step, seed) for step in range(steps)]
    home = {image: number for number, group in enumerate(groups) for image in group}
    assert all(len(batch) == batch_size and len({home[image] for image, _ in batch}) == 1 for batch in batches)
    slots = [slot for batch in batches for slot in batch]
    assert len(set(slots)) == len(slots), "an image came twice in an epoch"
    seen = Counter(image for image, _ in slots)
    for group in groups:
        assert min(seen[image] for image in group) >= passes
        assert sum(seen[image] for image in group) < passes * len(group) + batch_size


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 200), st.integers(0, 9))
def test_the_batches_of_squares_are_what_they_were(count: int, batch_size: int, step: int, seed: int) -> None:
    drawn = draw_batch([range(count)], batch_size, step, seed)
    assert [image for image, _ in drawn] == batch_indices(count, batch_size, step, seed).tolist()
    assert [epoch for _, epoch in drawn] == [(step * batch_size + slot) // count for slot in range(batch_size)]


def test_groups_take_turns_in_an_order_of_their_own() -> None:
    groups = [range(40), range(40, 80)]
    turns = ["".join("ab"[draw_batch(groups, 4, step, seed)[0][0] >= 40] for step in range(20)) for seed in (0, 1)]
    assert turns[0] != turns[1] and all(turn.count("a") == 10 and turn != "ab" * 10 for turn in turns)


def test_blocks_have_one_size() -> None:
    sizes = [(1, 2), (2, 1), (1, 2), (1, 2), (2, 1)]
    assert blocks_by_size(sizes, 2) == [[0, 2], [3], [1, 4]]
    assert blocks_by_size([(1, 1)] * 5, 2) == [[0, 1], [2, 3], [4]]


def test_a_sheet_of_several_sizes() -> None:
    sheet = contact_sheet([np.zeros((10, 20), np.uint8), np.zeros((30, 10), np.uint8)], columns=2, gap=2)
    assert sheet.shape == (30, 42)
    assert not sheet[10:20, :20].any() and not sheet[:, 27:37].any()
    assert (sheet == 0).sum() == 200 + 300
