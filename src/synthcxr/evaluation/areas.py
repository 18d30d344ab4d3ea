"""Areas under ROC curves of networks that saw the same test images: their mean, their difference, and its interval.

Two things make a difference uncertain: which patients were tested, and the chance in a training (weights, order, which
real images were taken). The first is had from a bootstrap over patients, the second from the seeds.
"""

from collections.abc import Iterator

import numpy as np

from synthcxr.evaluation.intervals import LEVEL, Bools, Estimate, Floats, Ints

DRAWS = 1000
"""Bootstrap draws of patients."""
BLOCK = 4_000_000
"""Weights held at once: 32 MB."""


def weighted_areas(truth: Bools, scores: Floats, weights: Floats) -> Floats:
    """Areas (B,) under the ROC curve of scores (N,) where image i counts `weights` (B, N) times; ties count half.

    NaN where a draw has one class alone.
    """
    values, place = np.unique(scores, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(values)))
    sorted_weights, positive = weights[:, order], truth[order]
    hits = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    misses = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    below = np.cumsum(misses, axis=1) - 0.5 * misses
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    found: Floats = np.divide((hits * below).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
    return found


def draw_patients(patients: Ints, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each of N images counts when patients are drawn with replacement: blocks (B, N), `draws` in all."""
    codes, owner = np.unique(patients, return_inverse=True)
    step = max(1, BLOCK // len(patients))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        yield rng.multinomial(len(codes), np.full(len(codes), 1 / len(codes)), count)[:, owner].astype(np.float64)


def mean_areas(truth: Floats, scores: Floats, weights: Floats) -> Floats:
    """Areas (S, B), each the mean over labels, of scores (S, N, L) for `truth` (N, L): 1, 0 or NaN, not stated.

    NaN where a draw has one class alone of some label.
    """
    found = np.empty((len(scores), truth.shape[1], len(weights)))
    for label in range(truth.shape[1]):
        known = ~np.isnan(truth[:, label])
        for seed, given in enumerate(scores):
            found[seed, label] = weighted_areas(truth[known, label] > 0.5, given[known, label], weights[:, known])
    means: Floats = found.mean(axis=1)
    return means


def area_change(
    truth: Floats, after: Floats, before: Floats | None, patients: Ints, rng: np.random.Generator
) -> Estimate:
    """How far the area of `after` lies above that of `before`, or above 0 without one, on the mean over seeds.

    Scores are (S, N, L) of S trainings, those of one seed a pair; `truth` (N, L), `patients` (N,). The interval's
    variance is that of the mean over seeds when patients are drawn with replacement, and the variance between the
    seeds' values by S; its quantile is Student's t by Satterthwaite. What both hold is counted twice, so it is rather
    too wide. There is no interval without a second seed, or where nothing varies.
    """
    from scipy.stats import t

    def value(weights: Floats) -> Floats:
        area = mean_areas(truth, after, weights)
        return area if before is None else area - mean_areas(truth, before, weights)

    seeds = value(np.ones((1, len(truth))))[:, 0]
    mean = float(seeds.mean())
    if len(seeds) < 2:
        return Estimate(mean)
    drawn = np.concatenate([value(weights).mean(axis=0) for weights in draw_patients(patients, DRAWS, rng)])
    tested, trained = float(np.nanvar(drawn, ddof=1)), float(seeds.var(ddof=1)) / len(seeds)
    freedom = [len(np.unique(patients)) - 1, len(seeds) - 1]
    total = tested + trained
    if total == 0:
        return Estimate(mean)
    satterthwaite = total**2 / (tested**2 / freedom[0] + trained**2 / freedom[1])
    half = float(t.ppf((1 + LEVEL) / 2, satterthwaite)) * total**0.5
    lowest, highest = (0.0, 1.0) if before is None else (-1.0, 1.0)
    return Estimate(mean, max(lowest, mean - half), min(highest, mean + half))
