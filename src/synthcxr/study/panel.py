"""The figures over all readers: what would other readers see in other images?

Two readers or more are a sample of readers, and the images one of images (`statistics.mrmc`). A single reader's
interval is over images alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from synthcxr.study.answers import Answer
from synthcxr.study.material import Material, Section, matrix, readers_of, spanned
from synthcxr.study.readings import POSITIVE, score
from synthcxr.study.statistics import roc
from synthcxr.study.statistics.mrmc import (
    Floats,
    Pooled,
    area_interval,
    compare_means,
    one_shot,
    pool_areas,
    pool_means,
    share_interval,
    success,
)
from synthcxr.study.statistics.proportion import wilson

MINIMUM = 2
"""Images of a kind that a reader must have answered to count among several."""


@dataclass(frozen=True)
class Estimate:
    """A figure over readers, its interval at 1 - `alpha`, and what it is made of.

    `variance_readers` and `variance_cases` add up to the variance; `gallas_error` is the standard error by the
    U-statistic, beside `standard_error` by Obuchowski and Rockette.
    """

    name: str
    readers: int
    images: int
    value: float
    ci_low: float
    ci_high: float
    alpha: float = 0.05
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    variance_readers: float | None = None
    variance_cases: float | None = None
    gallas_error: float | None = None

    def __str__(self) -> str:
        """The figure and its interval."""
        return spanned(self.value, self.ci_low, self.ci_high, 3)


def from_pooled(
    name: str,
    pooled: Pooled,
    images: int,
    readers: int,
    ends: tuple[Floats, Floats],
    alpha: float,
    gallas: float | None = None,
) -> Estimate:
    """An estimate from the statistics of one study."""
    freedom = float(pooled.freedom)
    return Estimate(
        name,
        readers,
        images,
        float(pooled.value),
        float(ends[0]),
        float(ends[1]),
        alpha,
        float(np.sqrt(pooled.variance)),
        freedom if np.isfinite(freedom) else None,
        float(pooled.readers),
        float(pooled.cases),
        gallas,
    )


def share(name: str, strata: Sequence[Floats], alpha: float = 0.05) -> Estimate | None:
    """The mean share of right answers; `strata` of readers by images (R, C) with 1, 0 and NaN. None without answers."""
    present = [np.asarray(scores) for scores in strata if scores.size]
    if not present:
        return None
    kept = np.all([np.sum(~np.isnan(s), axis=1) >= min(MINIMUM, s.shape[1]) for s in present], axis=0)
    present = [scores[kept] for scores in present]
    readers, images = int(kept.sum()), sum(scores.shape[1] for scores in present)
    if readers == 0:
        return None
    if readers == 1 or any(scores.shape[1] < MINIMUM for scores in present):
        right = int(sum(np.nansum(scores) for scores in present))
        n = int(sum(np.sum(~np.isnan(scores)) for scores in present))
        low, high = wilson(right, n, alpha)
        return Estimate(name, readers, images, right / n, float(low), float(high), alpha)
    pooled = pool_means(present)
    gallas = one_shot(np.concatenate(present, axis=1), 2).variance
    return from_pooled(name, pooled, images, readers, share_interval(pooled, images, alpha), alpha, _root(gallas))


def area(positive: Floats, negative: Floats, alpha: float = 0.05) -> Estimate | None:
    """The mean area under the ROC curve, from scores (R, M) of synthetic and (R, N) of real images."""
    if min(positive.shape[1], negative.shape[1]) < MINIMUM:
        return None
    kept = (np.sum(~np.isnan(positive), axis=1) >= MINIMUM) & (np.sum(~np.isnan(negative), axis=1) >= MINIMUM)
    positive, negative = positive[kept], negative[kept]
    readers, sizes = int(kept.sum()), (positive.shape[1], negative.shape[1])
    if readers == 0:
        return None
    if readers == 1:
        places = roc.place(positive, negative)
        low, high = roc.interval(places, alpha)
        return Estimate("AUC", 1, sum(sizes), float(places.area[0]), float(low[0]), float(high[0]), alpha)
    pooled = pool_areas(positive, negative)
    gallas = one_shot(success(positive, negative), 3).variance
    return from_pooled("AUC", pooled, sum(sizes), readers, area_interval(pooled, sizes, alpha), alpha, _root(gallas))


def mean(name: str, scores: Floats, alpha: float = 0.05) -> Estimate | None:
    """The mean of ratings (R, C) with an interval over readers and images; None below two images."""
    scores = scores[np.sum(~np.isnan(scores), axis=1) >= MINIMUM]
    if scores.shape[0] == 0 or scores.shape[1] < MINIMUM:
        return None
    if scores.shape[0] > 1:
        pooled = pool_means([scores])
        return from_pooled(name, pooled, scores.shape[1], len(scores), pooled.interval(alpha), alpha)
    from scipy.stats import t

    given = scores[0][~np.isnan(scores[0])]
    half = float(t.ppf(1 - alpha / 2, len(given) - 1) * given.std(ddof=1) / np.sqrt(len(given)))
    value = float(given.mean())
    return Estimate(name, 1, len(given), value, value - half, value + half, alpha)


def difference(name: str, some: Sequence[Floats], others: Sequence[Floats], alpha: float = 0.05) -> Estimate | None:
    """The difference of two groups of images in the share of the same readers; None below two readers or images."""
    groups = [[scores for scores in strata if scores.shape[1]] for strata in (some, others)]
    counts = [np.sum(~np.isnan(scores), axis=1) for strata in groups for scores in strata]
    if not all(groups) or min(int(count.min()) for count in counts) < MINIMUM or len(counts[0]) < 2:
        return None
    pooled = compare_means(*groups)
    images = sum(scores.shape[1] for strata in groups for scores in strata)
    low, high = (np.clip(end, -1.0, 1.0) for end in pooled.interval(alpha))
    return from_pooled(name, pooled, images, len(counts[0]), (low, high), alpha)


def _root(variance: Floats) -> float | None:
    """The standard error; None where the unbiased variance came out below 0, as it may."""
    return float(np.sqrt(variance)) if variance >= 0 else None


def by_truth(
    material: Material, value: Callable[[Answer], float | None], keep: Callable[[str], bool] = lambda _: True
) -> tuple[Floats, Floats]:
    """Values of all calls (R, M) to synthetic and (R, N) to real images, of the images that `keep` keeps."""
    readers = readers_of(material.calls)
    answered = sorted({answer.image for answer in material.calls if keep(answer.image)})
    synthetic = [image for image in answered if material.truth[image] == POSITIVE]
    real = [image for image in answered if material.truth[image] != POSITIVE]
    return matrix(material.calls, readers, synthetic, value), matrix(material.calls, readers, real, value)


def is_right(material: Material) -> Callable[[Answer], float]:
    """1 for a right call, 0 for a wrong one."""
    return lambda answer: float(answer.answer == material.truth[answer.image])


def estimates(material: Material, alpha: float = 0.05) -> dict[str, Estimate]:
    """Accuracy, sensitivity, specificity and area over all readers, as far as there are answers for them."""
    synthetic, real = by_truth(material, is_right(material))
    found = {
        "accuracy": share("accuracy", [synthetic, real], alpha),
        "sensitivity": share("sensitivity", [synthetic], alpha),
        "specificity": share("specificity", [real], alpha),
        "auc": area(*by_truth(material, score), alpha),
    }
    return {name: estimate for name, estimate in found.items() if estimate}


def section(material: Material) -> Section:
    """The table over readers."""
    found = estimates(material)
    rows = [estimate_row(estimate) for estimate in found.values()]
    several = any(estimate.readers > 1 for estimate in found.values())
    note = (
        "Readers and images are both random: the figures hold for other readers and images of the kind. Variances of "
        "readers and of images add up to the squared standard error."
        if several
        else "One reader: the intervals are over images and say nothing of other readers."
    )
    return Section("mrmc", "Over all readers", ESTIMATE_COLUMNS, rows, {k: asdict(v) for k, v in found.items()}, [note])


ESTIMATE_COLUMNS = (
    "figure",
    "readers",
    "images",
    "mean (95 % interval)",
    "error",
    "error (Gallas)",
    "df",
    "from readers",
)


def estimate_row(estimate: Estimate) -> tuple[str, ...]:
    """An estimate under `ESTIMATE_COLUMNS`."""

    def number(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    part = None
    if estimate.variance_readers is not None and estimate.variance_cases is not None:
        total = estimate.variance_readers + estimate.variance_cases
        part = estimate.variance_readers / total if total else None
    return (
        estimate.name,
        str(estimate.readers),
        str(estimate.images),
        str(estimate),
        number(estimate.standard_error, ".4f"),
        number(estimate.gallas_error, ".4f"),
        number(estimate.degrees_of_freedom, ".1f"),
        number(part, ".0%"),
    )
