"""Euclidean distances between two sets of features, a block of rows at a time."""

from collections.abc import Iterator

import numpy as np

from synthcxr.evaluation.intervals import Floats

ENTRIES = 1_000_000
"""Distances held at once: 8 MB, so that a block and what is made of it stay near the processor."""


def row_blocks(rows: int, columns: int, entries: int = ENTRIES) -> Iterator[slice]:
    """Slices over `rows` such that a block of rows times `columns` stays within `entries`."""
    step = max(1, entries // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def distance_blocks(rows: Floats, columns: Floats, entries: int = ENTRIES) -> Iterator[tuple[slice, Floats]]:
    """Distances from `rows` (N, D) to `columns` (M, D), as pairs of a slice of rows and its block (B, M).

    What is no more than the rounding of |x|² + |y|² - 2xy is 0: equal images have no distance.
    """
    from sklearn.metrics.pairwise import euclidean_distances

    norms = np.einsum("ij,ij->i", columns, columns)
    rounding = (8 * np.finfo(np.float64).eps * float(norms.max(initial=0.0))) ** 0.5
    for block in row_blocks(len(rows), len(columns), entries):
        found = euclidean_distances(rows[block], columns, Y_norm_squared=norms)
        found[found < rounding] = 0.0
        yield block, found
