"""Realism and diversity: how far a set lies from real X-rays, and how much of them it reaches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.answer import Answer, Chart, Sheet
from synthcxr.evaluation.degradation import scramble
from synthcxr.evaluation.diversity import diversity_metrics
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.features import FeatureSet, with_extractor
from synthcxr.evaluation.floor import HALVINGS
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.infinity import Curve, limit_curve
from synthcxr.evaluation.intervals import GROUPS, Floats, assign_groups
from synthcxr.evaluation.measure import distances, metric
from synthcxr.evaluation.neighbours import nearest
from synthcxr.evaluation.published import distance_to_statistics
from synthcxr.images import Grey, UnreadableImageError, to_square
from synthcxr.store import Json

NOISE = 64
"""Images of noise that say what a set without any worth gives."""
SHOWN = 9


def answer_realism(
    real: FeatureSet,
    synthetic: FeatureSet,
    training: FeatureSet | None,
    *,
    no_training: str,
    bundled: Extractor,
    extractors: Sequence[Extractor] = (),
    statistics: Sequence[Path] = (),
    k: int,
    seed: int,
    batch_size: int = 32,
    device: str = "auto",
) -> Answer:
    """Distances and shares on the bundled encoder's features and how varied the set is, then on those of `extractors`.

    A further extractor needs the images of both sides; where they are not at hand its distance is null with the reason.
    `no_training` says why there is no training.
    """
    pictures = _noise(synthetic, seed)
    noise = _embed(pictures, bundled, batch_size, device)[:, : real.features.shape[1]]
    metrics = distances(real, synthetic, k=k, seed=seed, noise=noise)
    metrics[0]["at_floor_n"] = at_floor_n(real, synthetic, seed)
    curve = limit_of(real, synthetic, seed)
    metrics.insert(1, limit_metric(real, synthetic, curve))
    metrics += diversity_metrics(real, synthetic, training, seed=seed, no_training=no_training)
    for extractor in extractors:
        try:
            one, other = (with_extractor(side, extractor, batch_size, device) for side in (real, synthetic))
            metrics += on_extractor(one, other, extractor, _embed(pictures, extractor, batch_size, device), k, seed)
        except SynthCXRError as error:
            name, (n, m) = extractor_name("frechet_distance", extractor), (len(real), len(synthetic))
            metrics.append(metric(name, None, n_real=n, n_synthetic=m, title=_title(extractor), reason=str(error)))
    how: Json = {"seed": seed, "batch_size": batch_size, "device": device}
    metrics += [distance_to_statistics(synthetic, file, extractors, **how) for file in statistics]
    warnings = [extractor.warning for extractor in extractors if extractor.warning]
    charts = [_learning_curve(curve)] if curve else []
    return Answer(
        "realism", _verdict(metrics), tuple(metrics), tuple(warnings), (), tuple(charts), _sheets(synthetic, real)
    )


# --- figures ----------------------------------------------------------------------------------------------


def at_floor_n(real: FeatureSet, synthetic: FeatureSet, seed: int) -> Json | None:
    """The Fréchet distance of a half of the real patients to synthetic images, and to the other half, at equal numbers.

    A Fréchet distance falls with the number of images, so only these compare: `median` with `floor`, `n` images a side
    (about half of the real ones, or all synthetic ones where these are fewer). None for fewer than two patients.
    """
    if len(np.unique(real.patients)) < 2 or min(len(real), len(synthetic)) < 4:
        return None
    values, floor = [], []
    for number in range(HALVINGS):
        rng = np.random.default_rng([seed, number])
        half = assign_groups(real.patients, 2, rng) == 0
        n = min(int(half.sum()), int((~half).sum()), len(synthetic))
        one, other, drawn = (
            moments(features[rng.permutation(len(features))[:n]])
            for features in (real.features[half], real.features[~half], synthetic.features)
        )
        values.append(frechet_distance(one, drawn))
        floor.append(frechet_distance(one, other))
    found = {"n": n, "median": float(np.median(values)), "low": min(values), "high": max(values)}
    found |= {"floor": float(np.median(floor)), "floor_low": min(floor), "floor_high": max(floor)}
    return found | {"times_floor": found["median"] / found["floor"] if found["floor"] > 0 else None}


def limit_of(real: FeatureSet, synthetic: FeatureSet, seed: int) -> Curve | None:
    """How the Fréchet distance falls with the number of images; None for too few images or patients."""
    groups = (
        assign_groups(real.patients, GROUPS, np.random.default_rng([seed, 0])),
        assign_groups(np.arange(len(synthetic)), GROUPS, np.random.default_rng([seed, 1])),
    )
    return limit_curve(real.features, synthetic.features, *groups, seed)


def limit_metric(real: FeatureSet, synthetic: FeatureSet, curve: Curve | None) -> Json:
    """FD∞: the Fréchet distance without what few images add to it, and how many would do."""
    more: Json = {}
    here = f"{len(real)} real and {len(synthetic)} synthetic"
    if curve:
        more = {
            "bias_at_n": curve.bias,
            "needed": curve.needed,
            "curve": [*zip(curve.sizes, curve.values, strict=True)],
        }
    return metric(
        "frechet_limit",
        curve.limit if curve else None,
        n_real=len(real),
        n_synthetic=len(synthetic),
        title="Fréchet distance of endless images (FD∞)",
        meaning="the distance without what a small number of images adds to it",
        unit="squared feature units",
        better="lower",
        interval=f"95 % jackknife of the whole extrapolation over {GROUPS} groups of patients a side",
        estimand="The distance between the populations.",
        extractor=synthetic,
        reason="" if curve else f"Too few images: 8 a side of 4 patients are needed, here are {here}.",
        warning=curve.warning if curve else "",
        **more,
    )


def extractor_name(name: str, extractor: Extractor) -> str:
    """A metric's name on a further extractor's features: that of the extractor behind it, but the FID is ``fid``."""
    if name == "frechet_distance" and extractor.distance == "fid":
        name = "fid"
        if extractor.name == "inception":
            return name
    return f"{name}_{extractor.name.replace('-', '_')}"


def _title(extractor: Extractor) -> str:
    return "FID" if extractor.distance == "fid" else "Fréchet distance"


def on_extractor(
    real: FeatureSet, synthetic: FeatureSet, extractor: Extractor, noise: Floats, k: int, seed: int
) -> list[Json]:
    """The distances and shares on another extractor's features, each under its name."""
    found = distances(real, synthetic, k=k, seed=seed, noise=noise)[:-1]
    for entry in found:
        title = _title(extractor) if entry["name"] == "frechet_distance" else entry["title"]
        entry |= {"name": extractor_name(entry["name"], extractor), "title": f"{title}, {extractor.title}"}
    return found


def _noise(synthetic: FeatureSet, seed: int) -> list[Grey]:
    """Images of the set turned to noise of their own brightness and spectrum: what a set without any worth holds."""
    rng, pictures = np.random.default_rng([seed, 2]), []
    for row in synthetic.rows[:NOISE]:
        assert row is not None  # a set is a folder
        try:
            image = row.read()
        except (UnreadableImageError, OSError):
            continue
        pictures.append(scramble(to_square(image, min(image.shape)), 1.0, rng))
    return pictures


def _embed(pictures: Sequence[Grey], extractor: Extractor, batch_size: int, device: str) -> Floats:
    blocks = [pictures[i : i + batch_size] for i in range(0, len(pictures), batch_size)]
    found = [extractor.embed(np.stack([extractor.prepare(each) for each in block]), device) for block in blocks]
    return np.concatenate(found).astype(np.float64)


# --- words and pictures ------------------------------------------------------------------------------------


def _verdict(metrics: Sequence[Json]) -> str:
    """Whether the set is told from real X-rays as a whole, by how much, and how much of them it reaches."""
    by_name = {each["name"]: each for each in metrics}
    distance = by_name["frechet_distance"]
    if distance["value"] is None:
        return f"The Fréchet distance could not be computed: {distance['reason']}"
    text = f"Its Fréchet distance to real X-rays is {distance['value']:.3g}"
    if distance["ci_low"] is not None:
        text += f" (95 % interval {distance['ci_low']:.3g} to {distance['ci_high']:.3g})"
    text += f", at {distance['n_synthetic']} synthetic and {distance['n_real']} real images"
    equal = distance["at_floor_n"]
    if distance["floor"] and equal and equal["times_floor"]:
        text += (
            f"; at equal numbers ({equal['n']} a side) that is {equal['times_floor']:.1f} times what two halves of "
            "the real patients are apart"
        )
        if distance["ci_low"] is not None:
            apart = equal["low"] > equal["floor_high"]
            text = ("As a whole the set can be told from real X-rays. " if apart else _NOT_TOLD) + text
    if by_name["precision"]["value"] is not None:
        among, reached = _share(by_name["precision"]), _share(by_name["recall"])
        text += f". {among} of its images lie among the real ones, and it reaches {reached} of these"
    return text + "."


def _share(metric: Json) -> str:
    text = f"{100 * metric['value']:.0f} %"
    if metric["ci_low"] is None:
        return text
    return f"{text} ({100 * metric['ci_low']:.0f} to {100 * metric['ci_high']:.0f} %)"


_NOT_TOLD = "As a whole the set is not told from real X-rays at these numbers of images. "


def _learning_curve(curve: Curve) -> Chart:
    from synthcxr.report.charts import curves

    lines = {
        "this set": [(float(n), value) for n, value in zip(curve.sizes, curve.values, strict=True)],
        "endless images (FD∞)": [(float(n), curve.limit.value) for n in (curve.sizes[0], curve.sizes[-1])],
    }
    needed = (
        f"About {curve.needed:,} images a side would bring what is added below a tenth of FD∞."
        if curve.needed and not curve.warning
        else "How many images would be enough cannot be said from these."
    )
    return Chart(
        "Fréchet distance by number of images",
        str(curves(lines, "images a side", "Fréchet distance by number of images")),
        f"Few images make any Fréchet distance larger: here by {curve.bias:.3g}. {needed}",
    )


def _sheets(synthetic: FeatureSet, real: FeatureSet) -> tuple[Sheet, ...]:
    """The images that lie nearest to real ones, and those that lie farthest from any."""
    far = nearest(synthetic.features, real.features).distance
    order, count = np.argsort(far, kind="stable"), min(SHOWN, max(1, len(far) // 2))

    def sheet(title: str, chosen: Sequence[int]) -> Sheet:
        images = tuple((synthetic.rows[i], f"{synthetic.labels[i]}: {far[i]:.3g}") for i in chosen)
        return Sheet(title, images, note="Under each image its distance to the nearest real one, in feature units.")

    return (
        sheet("Most like real images", order[:count].tolist()),
        sheet("Least like any real image", order[::-1][:count].tolist()),
    )
