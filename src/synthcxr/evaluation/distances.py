"""Euclidean distances between two sets of features, a block of rows at a time."""

from collections.abc import Iterator

import numpy as np

from synthcxr.evaluation.intervals import Floats

ENTRIES = 4_000_000
"""Distances held at once: 32 MB."""


def row_blocks(rows: int, columns: int, entries: int = ENTRIES) -> Iterator[slice]:
    """Slices over `rows` such that a block of rows times `columns` stays within `entries`."""
    step = max(1, entries // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def distance_blocks(rows: Floats, columns: Floats, entries: int = ENTRIES) -> Iterator[tuple[slice, Floats]]:
    """Distances from `rows` (N, D) to `columns` (M, D), as pairs of a slice of rows and its block (B, M)."""
    from sklearn.metrics.pairwise import euclidean_distances

    # |x|² + |y|² - 2xy cancels less when the features lie around zero.
    centre = columns.mean(axis=0)
    columns = columns - centre
    norms = np.einsum("ij,ij->i", columns, columns)
    for block in row_blocks(len(rows), len(columns), entries):
        yield block, euclidean_distances(rows[block] - centre, columns, Y_norm_squared=norms)
