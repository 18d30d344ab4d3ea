"""What a training step sees: which images, at what crop and contrast, under which noise; all from (seed, step)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey
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


def common_resolution(datasets: Sequence[Path]) -> int:
    """Side of all datasets' images, in pixels. Raises UsageError where they differ."""
    sizes = {folder: row_side(read_rows(folder)[0]) for folder in datasets}
    if len(set(sizes.values())) > 1:
        words = ", ".join(f"{folder} {size} px" for folder, size in sizes.items())
        raise UsageError(f"The datasets differ in resolution ({words}); prepare them with one --resolution.")
    return next(iter(sizes.values()))


def row_side(row: Row) -> int:
    """Side of a dataset's square image, in pixels."""
    return int(row.read().shape[0])


def batch_indices(count: int, batch_size: int, step: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of a step's images: epoch after epoch, each in its own order, batches running over the ends."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    indices = np.empty(batch_size, np.int64)
    for epoch in np.unique(positions // count):
        order = np.random.default_rng(seed_for(seed, "order", epoch)).permutation(count)
        inside = positions // count == epoch
        indices[inside] = order[positions[inside] % count]
    return indices


def augment(
    image: Grey,
    rng: np.random.Generator,
    contrast: float = LARGEST_CONTRAST,
    turn_degrees: float = LARGEST_TURN_DEGREES,
) -> Grey:
    """A slightly closer, shifted, turned crop at a slightly different contrast, of the same size. Never a flip."""
    import cv2

    side = image.shape[0]
    window = side * (1 - rng.uniform(0, LARGEST_ZOOM))
    left, top = rng.uniform(0, side - window, 2)
    angle = np.deg2rad(rng.uniform(-turn_degrees, turn_degrees))
    turned = side / window * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([left, top]) + window / 2  # of the window, which comes to the middle of the crop
    matrix = np.column_stack([turned, side / 2 - turned @ middle])
    cropped = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
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
