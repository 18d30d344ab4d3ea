"""Distances to statistics files of others, and statistics files of both sides for others."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.features import FeatureSet, with_extractor
from synthcxr.evaluation.frechet import Moments, distances_without, frechet_distance, moments
from synthcxr.evaluation.intervals import GROUPS, LeftOut, assign_groups, root_interval
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.statistics_file import (
    check_statistics,
    describe_statistics,
    read_statistics,
    write_statistics,
)
from synthcxr.store import Json


def distance_to_statistics(
    synthetic: FeatureSet, file: Path, extractors: Sequence[Extractor], *, seed: int, batch_size: int, device: str
) -> Json:
    """The Fréchet distance of a set to a statistics file, on the features of the extractor that fits the file.

    A file of this package names its extractor; any other is of the first one with as many features. The statistics are
    held fixed: the interval is for the synthetic side alone. Where no extractor fits, the value is null.
    """
    fitted, about = read_statistics(file)
    count = fitted.count or 0
    try:
        extractor = _fitting(fitted, about, extractors, file)
    except SynthCXRError as error:
        return metric(
            f"distance_to_{file.stem}",
            None,
            n_real=count,
            n_synthetic=len(synthetic),
            title=f"Distance to {file.name}",
            reason=str(error),
        )
    side = with_extractor(synthetic, extractor, batch_size, device)
    value = frechet_distance(fitted, moments(side.features))
    groups = assign_groups(np.arange(len(side)), GROUPS, np.random.default_rng([seed, 1]))
    without = LeftOut(distances_without(side.features, groups, fitted), np.bincount(groups))
    kind = "FID" if extractor.distance == "fid" else "Fréchet distance"
    return metric(
        f"distance_to_{file.stem}",
        root_interval(value, [without]),
        n_real=count,
        n_synthetic=len(side),
        title=f"{kind} to {file.name}",
        meaning="to statistics that were given; the number of images behind these is "
        + (f"{count:,}" if count else "not stated"),
        unit="squared feature units",
        better="lower",
        interval=f"95 % jackknife over {GROUPS} groups of synthetic images, the statistics held fixed; for its root",
        estimand="Its expectation at this number of synthetic images, against these statistics.",
        extractor=side,
        statistics=file.name,
    )


def _fitting(fitted: Moments, about: Json, extractors: Sequence[Extractor], file: Path) -> Extractor:
    size = len(fitted.mean)
    for extractor in extractors:
        named = about.get("extractor", extractor.name) == extractor.name
        if named and extractor.dimension == size:
            check_statistics(about, extractor, file)
            return extractor
    wanted = about.get("extractor") or f"an extractor with {size} features"
    raise SynthCXRError(f"{file.name} is of {wanted}: ask for it with --extractors.")


def keep_statistics(
    folder: Path, sides: Mapping[str, FeatureSet], extractors: Sequence[Extractor], batch_size: int, device: str
) -> None:
    """Write ``statistics/SIDE-EXTRACTOR.npz`` for every side whose images are at hand."""
    for name, side in sides.items():
        for extractor in extractors if all(side.rows) else ():
            found = with_extractor(side, extractor, batch_size, device)
            about = describe_statistics(extractor, len(found), side.name)
            write_statistics(folder / "statistics" / f"{name}-{extractor.name}.npz", moments(found.features), about)
