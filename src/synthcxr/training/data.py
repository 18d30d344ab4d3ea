"""What a training step sees: which images, at what crop and contrast, under which noise; all from (seed, step)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthcxr.buckets import bucket_for, by_size
from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey, Size
from synthcxr.seeds import seed_for
from synthcxr.store import read_manifest, verify

LARGEST_ZOOM = 0.06
LARGEST_CONTRAST = 0.1
LARGEST_TURN_DEGREES = 2.0


def training_rows(
    datasets: Sequence[Path], split: str, limit: int | None = None, *, optional: bool = False
) -> list[Row]:
    """The rows of a split of several datasets.

    Raises UsageError where one is no finished dataset or has no image in the split, unless it is `optional`.
    """
    rows = []
    for folder in datasets:
        there = read_manifest(folder, "dataset")["counts"]["splits"][split]
        if there or not optional:
            rows += read_rows(folder, split)
    return rows[:limit]


def check_unchanged(datasets: Sequence[Path]) -> None:
    """Raise UsageError where a dataset's files are not those that its manifest lists, by their hashes."""
    for folder in datasets:
        problems = [problem for problem in verify(folder) if not problem.startswith("extra")]
        if problems:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise UsageError(
                f"{folder} is not what it was when it was made ({problems[0]}{more}). Make it again, or take a whole "
                "copy; `synthcxr verify` lists every file."
            )


def spread(rows: list[Row], count: int) -> list[Row]:
    """At most `count` rows at even distances, so that several datasets all have a part in them."""
    return [rows[i * len(rows) // count] for i in range(count)] if len(rows) > count else rows


def sizes_of(datasets: Sequence[Path]) -> set[Size]:
    """The sizes of all datasets' images. Raises UsageError where the datasets differ in resolution."""
    sizes = {folder: _sizes(read_rows(folder)) for folder in datasets}
    # of a bucket, the square that it has as many pixels as: sides of datasets are multiples of 8
    resolutions = {
        folder: 8 * math.ceil(max(math.sqrt(height * width) for height, width in found) / 8)
        for folder, found in sizes.items()
    }
    if len(set(resolutions.values())) > 1:
        words = ", ".join(f"{folder} {resolution} px" for folder, resolution in resolutions.items())
        raise UsageError(f"The datasets differ in resolution ({words}); prepare them with one --resolution.")
    return set().union(*sizes.values())


def _sizes(rows: Sequence[Row]) -> set[Size]:
    """The sizes that rows state; of a dataset whose rows state none, all images are of the first one's."""
    height, width = rows[0].size or rows[0].read().shape
    return {row.size or (height, width) for row in rows}


def group(rows: Sequence[Row], resolution: int) -> dict[Size, list[int]]:
    """The places of rows by the bucket that their images have at a resolution; one group where all are square."""
    return by_size([bucket_for(row.size, resolution) for row in rows])


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of a step's images: epoch after epoch, each in its own order, batches running over the ends."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    indices = np.empty(batch_size, np.int64)
    for epoch in np.unique(positions // count):
        order = np.random.default_rng(seed_for(seed, "order", epoch)).permutation(count)
        inside = positions // count == epoch
        indices[inside] = order[positions[inside] % count]
    return indices


def draw_batch(groups: Sequence[Sequence[int]], batch_size: int, step: int, seed: int) -> list[tuple[int, int]]:
    """What a step sees of groups that are never mixed: of every slot (image, epoch of its group), all of one group.

    Every group is gone through as by `batch_indices`; where there is one group, these are its batches. Whose turn it
    is: in pass p (from 0) over all images a group has as many batches as bring it to p + 1 times its images, rounded
    up, and those of all groups come in an order of their own. So after p passes every image was seen p times at
    least, and a group is never more than a batch ahead of its share. What fills up a batch is of the group's next
    epoch, which goes on behind it.
    """
    counts = np.array([len(members) for members in groups])
    passes = step * batch_size // int(counts.sum())
    while (begun := _batches(counts, batch_size, passes)).sum() > step:
        passes -= 1
    due = np.repeat(np.arange(len(counts)), _batches(counts, batch_size, passes + 1) - begun)
    order = np.random.default_rng(seed_for(seed, "groups", passes)).permutation(due)
    place = step - int(begun.sum())
    turn = int(order[place])
    number = int(begun[turn]) + int((order[:place] == turn).sum())
    members = batch_indices(len(groups[turn]), batch_size, number, seed)
    epochs = (number * batch_size + np.arange(batch_size)) // len(groups[turn])
    return [(groups[turn][member], int(epoch)) for member, epoch in zip(members, epochs, strict=True)]


def _batches(counts: npt.NDArray[np.int64], batch_size: int, passes: int) -> npt.NDArray[np.int64]:
    """Batches in which groups of so many images are seen so many times."""
    return -(-passes * counts // batch_size)


def augment(
    image: Grey,
    rng: np.random.Generator,
    contrast: float = LARGEST_CONTRAST,
    turn_degrees: float = LARGEST_TURN_DEGREES,
) -> Grey:
    """A slightly closer, shifted, turned crop at a slightly different contrast, of the same size. Never a flip."""
    import cv2

    size = np.array(image.shape[::-1])  # width, height
    window = size * (1 - rng.uniform(0, LARGEST_ZOOM))
    corner = rng.uniform(0, size - window)
    angle = np.deg2rad(rng.uniform(-turn_degrees, turn_degrees))
    turned = size[0] / window[0] * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = corner + window / 2  # of the window, which comes to the middle of the crop
    matrix = np.column_stack([turned, size / 2 - turned @ middle])
    cropped = cv2.warpAffine(
        image, matrix, (image.shape[1], image.shape[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    gain = 1 + rng.uniform(-contrast, contrast)
    shift = rng.uniform(-contrast, contrast) * 64
    adjusted = (cropped.astype(np.float32) - 128) * gain + 128 + shift
    # Black borders and burned-in white stay black and white.
    adjusted = np.where((cropped < 3) | (cropped > 252), cropped, adjusted)
    grey: Grey = np.clip(np.rint(adjusted), 0, 255).astype(np.uint8)
    return grey


def random_crop(image: Grey, side: int, rng: np.random.Generator) -> Grey:
    """A square of `side` pixels from anywhere in the image."""
    top = int(rng.integers(0, image.shape[0] - side + 1))
    left = int(rng.integers(0, image.shape[1] - side + 1))
    return image[top : top + side, left : left + side]
