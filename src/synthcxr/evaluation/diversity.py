"""Diversity: how unlike each other the images of a set are, and how unlike what they were learnt from.

MS-SSIM within a set: Odena, Olah and Shlens, ICML 2017. Vendi score: Friedman and Dieng, TMLR 2023. Authenticity: Alaa,
van Breugel, Saveliev and van der Schaar, ICML 2022.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthcxr.evaluation.distances import distance_blocks
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import (
    GROUPS,
    Bools,
    Estimate,
    Floats,
    Ints,
    LeftOut,
    assign_groups,
    jackknife_interval,
    pairs_interval,
    wilson,
)
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.neighbours import MINIMUM_HELD_OUT, nearest
from synthcxr.images import Grey, to_model_range, to_square
from synthcxr.store import Json

PAIRS = 300
"""Pairs of images that MS-SSIM is taken of."""
SIDE = 256
DRAWS = 20
"""Random choices of as many images as the other side has, averaged over."""


def diversity_metrics(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    *,
    seed: int,
    no_training: str,
) -> list[Json]:
    """MS-SSIM within the set, Vendi score and authenticity, each beside what real images give."""
    return [
        _ms_ssim_metric(real, synthetic, seed),
        _vendi_metric(real, synthetic, seed),
        _authenticity_metric(real, synthetic, training, no_training),
    ]


# --- MS-SSIM within a set -----------------------------------------------------------------------------------


def draw_pairs(patients: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Up to `count` different pairs (P, 2) of images of different patients, codes (N,)."""
    ends = np.sort(rng.integers(0, len(patients), (4 * count, 2)), axis=1)
    ends = ends[patients[ends[:, 0]] != patients[ends[:, 1]]]
    chosen = np.sort(np.unique(ends, axis=0, return_index=True)[1])[:count]
    pairs: Ints = ends[chosen]
    return pairs


def ms_ssim(side: FeatureSet, seed: int) -> tuple[Estimate, int] | None:
    """Mean MS-SSIM over random pairs of images of different patients, and the pairs; None where there are none.

    Images are squared to 256 px. 1 is the same image; low values are varied sets. Needs the images.
    """
    pairs = draw_pairs(side.patients, PAIRS, np.random.default_rng([seed, 3]))
    if not len(pairs):
        return None
    values = likeness({int(i): _square(side, int(i)) for i in np.unique(pairs)}, pairs)
    return pairs_interval(values, side.patients[pairs]), len(pairs)


def likeness(images: Mapping[int, Grey], pairs: Ints) -> Floats:
    """MS-SSIM (P,) of `pairs` (P, 2) of images of one size, by their numbers."""
    import torch

    from synthcxr.training.autoencoder import structural_similarity

    ready = {i: torch.from_numpy(to_model_range(image))[None, None] for i, image in images.items()}
    with torch.no_grad():
        return np.array([float(structural_similarity(ready[i], ready[j])) for i, j in pairs.tolist()])


def _square(side: FeatureSet, index: int) -> Grey:
    row = side.rows[index]
    assert row is not None  # whoever asks has looked
    return to_square(row.read(), SIDE)


def _ms_ssim_metric(real: FeatureSet, synthetic: FeatureSet, seed: int) -> Json:
    found = ms_ssim(synthetic, seed) if all(synthetic.rows) else None
    on_real = ms_ssim(real, seed) if all(real.rows) else None
    warning = "" if on_real else "What real images give is not known here: the real side has no images."
    return {
        **metric(
            "ms_ssim",
            found[0] if found else None,
            n_real=len(real),
            n_synthetic=len(synthetic),
            title="Likeness within the set (MS-SSIM)",
            meaning="how alike two images of the set are; above real images means that they repeat each other",
            unit="similarity",
            better="real",
            interval="95 % t interval by the dyadic variance: pairs that share an image go together",
            estimand="The mean over all pairs of endless images of this model.",
            ceiling=on_real[0].value if on_real else None,
            reason="" if found else "It needs the images of at least two patients.",
            warning=warning if found else "",
            pairs=found[1] if found else 0,
            real={"value": on_real[0].value, "ci_low": on_real[0].low, "ci_high": on_real[0].high} if on_real else None,
        ),
        "preprocessing": f"8-bit grey, central square, Lanczos to {SIDE} px",
    }


# --- Vendi score --------------------------------------------------------------------------------------------


def vendi(features: Floats) -> float:
    """exp of the entropy of the eigenvalues of K / N, K the cosines of features (N, D): from 1 to min(N, D).

    The effective number of different images. Grows with N, so two values compare only at equal numbers.
    """
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms > 0, norms, 1.0)
    product = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    values = np.linalg.eigvalsh(product / len(unit))
    values = values[values > 1e-15]
    return float(np.exp(-np.sum(values * np.log(values))))


def vendi_interval(features: Floats, groups: Ints) -> Estimate:
    """The Vendi score with the delete-a-group jackknife of its entropy, for its expectation at this N."""
    count = int(groups.max()) + 1
    value = vendi(features)
    if count < 2:
        return Estimate(value)
    without = np.log([vendi(features[groups != group]) for group in range(count)])
    entropy = jackknife_interval(float(np.log(value)), [LeftOut(without, np.bincount(groups))])
    assert entropy.low is not None and entropy.high is not None
    return Estimate(value, max(1.0, float(np.exp(entropy.low))), float(np.exp(entropy.high)))


def _vendi_metric(real: FeatureSet, synthetic: FeatureSet, seed: int) -> Json:
    n = min(len(real), len(synthetic))
    rng = np.random.default_rng([seed, 4])
    # About each side's own mean: what all of a set have in common, its softness say, is a matter of the distances.
    drawn, shot = (side.features - side.features.mean(axis=0) for side in (synthetic, real))
    at_n = {
        name: float(np.mean([vendi(features[rng.permutation(len(features))[:n]]) for _ in range(DRAWS)]))
        for name, features in (("synthetic", drawn), ("real", shot))
    }
    fewer = len(real) < len(synthetic)
    groups = assign_groups(synthetic.patients, GROUPS, np.random.default_rng([seed, 1]))
    return metric(
        "vendi_score",
        vendi_interval(drawn, groups) if len(synthetic) > 1 else None,
        n_real=len(real),
        n_synthetic=len(synthetic),
        title="Effective number of different images (Vendi score)",
        meaning=f"at {n} images a side: {at_n['synthetic']:.1f} here, {at_n['real']:.1f} in real images",
        unit="images",
        better="real",
        interval=f"95 % jackknife of its entropy over {GROUPS} groups of images",
        estimand="Its expectation at this number of images; it grows with them. Of cosines about the set's own mean.",
        extractor=synthetic,
        ceiling=None if fewer else at_n["real"],
        useless=1.0,
        reason="" if len(synthetic) > 1 else "It needs two images.",
        at_equal_n={"n": n, **at_n},
    )


# --- authenticity -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surroundings:
    """Training images for authenticity: `features` (N, D), and the distance to the next patient, `reach` (N,)."""

    features: Floats
    reach: Floats


def surround(features: Floats, patients: Ints) -> Surroundings:
    """Features (N, D) of patients, codes (N,), with each image's distance to the nearest image of another patient."""
    reach = np.empty(len(features))
    for rows, block in distance_blocks(features, features):
        block[patients[rows, None] == patients] = np.inf
        reach[rows] = block.min(axis=1)
    return Surroundings(features, reach)


def authentic(training: Surroundings, features: Floats) -> Bools:
    """Whether each of features (M, D) lies farther from its nearest training image than that from any other patient."""
    near = nearest(features, training.features)
    farther: Bools = near.distance > training.reach[near.index]
    return farther


def _authenticity_metric(
    real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, no_training: str
) -> Json:
    estimate, expected, unseen = None, None, 0
    reason = no_training if training is None else "The training images are of one patient."
    if training is not None and len(np.unique(training.patients)) > 1:
        around, known = surround(training.identity, training.patients), {key for key in training.keys if key}
        count = int(np.count_nonzero(authentic(around, synthetic.identity)))
        estimate, reason = Estimate(count / len(synthetic), *wilson(count, len(synthetic))), ""
        fresh = np.array([key not in known for key in real.keys])
        unseen = int(fresh.sum())
        if unseen >= MINIMUM_HELD_OUT:
            expected = float(authentic(around, real.identity[fresh]).mean())
    return metric(
        "authenticity",
        estimate,
        n_real=len(real),
        n_synthetic=len(synthetic),
        title="Authenticity",
        meaning="share farther from its nearest training image than that is from any other patient; copies are not",
        unit="share",
        better="higher",
        interval="95 % Wilson interval, the training images held fixed",
        estimand="The share among endless images of this model, by these training images.",
        extractor=synthetic,
        reason=reason,
        ceiling=expected,
        useless=0.0,
        n_training=len(training) if training is not None else None,
        n_held_out=unseen,
    )
