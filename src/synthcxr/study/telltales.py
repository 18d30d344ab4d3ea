"""What tells real from synthetic without a look at the anatomy: simple figures of a picture, and how well each tells.

A reader cannot see most of them, but one that separates the piles says what differs in the making of the pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey
from synthcxr.study.statistics.roc import place


@dataclass(frozen=True)
class Telltale:
    """A figure's means, and the share of pairs (synthetic, real) that it puts right: 0.5 tells nothing, 0 and 1 all.

    `tells` is true where that share is further from 0.5 than chance explains (two-sided 5 %, Mann and Whitney).
    """

    name: str
    real: float
    synthetic: float
    area: float
    tells: bool


def gaps(image: Grey) -> float:
    """Share of grey levels missing between the darkest and the brightest one: a stretched contrast has gaps."""
    counts = np.bincount(image.ravel(), minlength=256)
    present = np.flatnonzero(counts)
    return 1 - len(present) / int(present[-1] - present[0] + 1)


def clipped(image: Grey) -> float:
    """Share of pixels that are wholly black or white."""
    return float(np.mean((image == 0) | (image == 255)))


def bars(image: Grey) -> float:
    """Share of rows and columns, from the edges inwards, that are of one grey level: padding."""

    def run(flat: npt.NDArray[np.bool_]) -> int:
        return len(flat) if bool(flat.all()) else int(np.argmin(flat)) + int(np.argmin(flat[::-1]))

    flat_rows, flat_columns = np.ptp(image, axis=1) <= 2, np.ptp(image, axis=0) <= 2
    return float(run(flat_rows) + run(flat_columns)) / sum(image.shape)


def blocks(image: Grey) -> float:
    """How much larger steps are at every 8th pixel than on average: JPEG's blocks, or a decoder's upsampling."""
    levels = image.astype(np.float64)
    across, down = np.abs(np.diff(levels, axis=1)).mean(axis=0), np.abs(np.diff(levels, axis=0)).mean(axis=1)
    at = [steps[7::8] for steps in (across, down)]
    all_steps = np.concatenate([across, down])
    return float(np.concatenate(at).mean() / max(all_steps.mean(), 1e-9) - 1) if all(map(len, at)) else 0.0


def detail(image: Grey) -> float:
    """Fine detail: mean step between neighbouring pixels, as a share of the spread of grey levels."""
    levels = image.astype(np.float64)
    steps = (np.abs(np.diff(levels, axis=1)).mean() + np.abs(np.diff(levels, axis=0)).mean()) / 2
    return float(steps / max(levels.std(), 1e-9))


FIGURES: Mapping[str, Callable[[Grey], float]] = {
    "gaps in grey levels": gaps,
    "black or white pixels": clipped,
    "flat bars at the edges": bars,
    "8 by 8 grid": blocks,
    "fine detail": detail,
    "mean grey level": lambda image: float(image.mean()),
    "spread of grey levels": lambda image: float(image.std()),
}


def figures(image: Grey) -> dict[str, float]:
    """All figures of a picture."""
    return {name: figure(image) for name, figure in FIGURES.items()}


def compare(real: Sequence[Mapping[str, float]], synthetic: Sequence[Mapping[str, float]]) -> list[Telltale]:
    """How well each figure alone tells the piles apart, from each picture's `figures`."""
    found = []
    spread = ((len(real) + len(synthetic) + 1) / (12 * len(real) * len(synthetic))) ** 0.5
    for name in FIGURES:
        ours, theirs = ([one[name] for one in pile] for pile in (real, synthetic))
        area = float(place(theirs, ours).area)
        tells = abs(area - 0.5) > 1.96 * spread
        found.append(Telltale(name, float(np.mean(ours)), float(np.mean(theirs)), area, tells))
    return found
