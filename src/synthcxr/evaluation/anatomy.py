"""Anatomy: whether chests are built as real ones are, by measures taken between landmarks."""

from collections.abc import Sequence

import numpy as np

from synthcxr.evaluation.answer import Answer, Chart, Sheet, Table
from synthcxr.evaluation.distributions import COLUMNS, Compared, Kind, differs, oddest
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Bools, Floats
from synthcxr.evaluation.landmarks import HEART_LEFT, HEART_RIGHT, LUNGS, Landmarks, load_landmarks
from synthcxr.evaluation.measure import metric
from synthcxr.store import Json

APEX, UPPER_WALL, WALL, COSTOPHRENIC, DOME = range(5)
"""Where a lung's points lie among its own."""
EDGE = 0.012
"""A landmark nearer to the image's edge than this part of its side may lie outside."""
TALLEST_ERROR = 0.5
"""Part of a measure's spread among patients that its error may reach."""
SHOWN = 8
CHARTS = 4

MEASURES = {
    "heart_to_thorax": Kind("Heart-to-thorax ratio", "the heart's width over the chest's inner width", "ratio"),
    "lung_area": Kind("Lung area", "both lungs' area over the square of the chest's inner width", "ratio"),
    "lung_balance": Kind("Lung symmetry", "the part of both lungs' area that is on the image's left", "share"),
    "lung_height": Kind("Lung height", "apex to costophrenic angle over the chest's inner width", "ratio"),
    "taper": Kind("Taper", "the chest's width at a quarter of the lungs' height over its widest: 1 is a box", "ratio"),
    "costophrenic_angle": Kind("Costophrenic angle", "between chest wall and diaphragm, mean of both sides", "degrees"),
    "costophrenic_depth": Kind(
        "Costophrenic depth", "how far the angle lies below the diaphragm's dome, over the lung's height", "ratio"
    ),
}
"""What is measured of every image whose chest is whole."""


def answer_anatomy(
    real: FeatureSet, synthetic: FeatureSet, *, landmarks: Landmarks | None = None, seed: int = 0
) -> Answer:
    """How the chests' proportions differ from real ones, and which images are odd; `landmarks`, else the package's.

    A measure whose error exceeds half its spread among patients has no figure. Images that cut the chest off are left
    out of what they do not show. Without the real images nothing is compared.
    """
    landmarks = landmarks or load_landmarks()
    missing = next((side.name for side in (real, synthetic) if None in side.rows), None)
    if missing:
        reason = f"{missing} has features alone: the images are needed."
        none = metric("anatomy", None, title="Anatomy", reason=reason, n_real=len(real), n_synthetic=len(synthetic))
        return Answer("anatomy", f"Not answered: {reason}", (none,))
    points = [landmarks.find(row.read() for row in side.rows if row) for side in (real, synthetic)]
    found = [measures(each) for each in points]
    usable = {name: not why_not(name, landmarks) for name in MEASURES}
    compared = {
        name: Compared(name, kind, found[0][name], found[1][name], real.patients, seed)
        for name, kind in MEASURES.items()
        if usable[name]
    }
    metrics: list[Json] = []
    for name, kind in MEASURES.items():
        if name not in compared:
            title, reason = kind.title, why_not(name, landmarks)
            metrics.append(metric(name, None, n_real=len(real), n_synthetic=len(synthetic), title=title, reason=reason))
            continue
        error = landmarks.about["measures"][name]
        metrics += [
            {**entry, "measurement_error": error["error"], "landmarks_sha256": landmarks.sha256}
            for entry in compared[name].metrics()
        ]
    whole = [float(np.mean(np.isfinite(each["heart_to_thorax"]))) for each in found]
    note = (
        f"Odd: outside the range of 95 % of real images. The chest is whole in {whole[0]:.0%} of real and "
        f"{whole[1]:.0%} of synthetic images; the others are left out."
    )
    rows = tuple(each.row() for each in compared.values())
    return Answer(
        "anatomy",
        _verdict(list(compared.values())) + _left_out(usable),
        tuple(metrics),
        tables=(Table("Proportions of the chest", COLUMNS, rows, note),),
        charts=_charts(list(compared.values())),
        sheets=(_sheet(synthetic, list(compared.values())),),
        files={"anatomy.jsonl": _lines(synthetic.labels, found[1], points[1])},
    )


# --- measures ----------------------------------------------------------------------------------------------


def measures(points: Floats) -> dict[str, Floats]:
    """`MEASURES` (N,) of landmarks (N, 16, 2); NaN where a point that counts lies on the image's edge.

    The chest's inner width is taken between the outermost points of its walls.
    """
    left, right = (points[:, lung] for lung in LUNGS)
    ends = [np.stack([lung[:, WALL, 0], lung[:, COSTOPHRENIC, 0]]) for lung in (left, right)]
    width = np.maximum(ends[1].max(0) - ends[0].min(0), 1e-6)
    areas = [polygon_area(lung) for lung in (left, right)]
    both = np.maximum(areas[0] + areas[1], 1e-6)
    heights = [np.maximum(lung[:, COSTOPHRENIC, 1] - lung[:, APEX, 1], 1e-6) for lung in (left, right)]
    depths = [(lung[:, COSTOPHRENIC, 1] - lung[:, DOME, 1]) / h for lung, h in zip((left, right), heights, strict=True)]
    found = {
        "heart_to_thorax": (points[:, HEART_RIGHT, 0] - points[:, HEART_LEFT, 0]) / width,
        "lung_area": both / width**2,
        "lung_balance": areas[0] / both,
        "lung_height": (heights[0] + heights[1]) / 2 / width,
        "taper": (wall_at(right, 0.25) - wall_at(left, 0.25)) / width,
        "costophrenic_angle": (angle(left) + angle(right)) / 2,
        "costophrenic_depth": (depths[0] + depths[1]) / 2,
    }
    hidden = cut_off(points[:, [lung.start + i for lung in LUNGS for i in (APEX, WALL, COSTOPHRENIC)]])
    return {name: np.where(hidden, np.nan, value) for name, value in found.items()}


def cut_off(points: Floats) -> Bools:
    """Which images (N,) have one of these points (N, K, 2) on their edge."""
    return np.asarray(((points < EDGE) | (points > 1 - EDGE)).any((1, 2)))


def polygon_area(outlines: Floats) -> Floats:
    """Areas (N,) of polygons (N, K, 2), by the shoelace formula."""
    x, y = outlines[..., 0], outlines[..., 1]
    return np.asarray(np.abs((x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)) / 2)


def angle(lung: Floats) -> Floats:
    """The costophrenic angle (N,) in degrees: at its point (N, 7, 2), between chest wall and diaphragm's dome."""
    up, along = lung[:, WALL] - lung[:, COSTOPHRENIC], lung[:, DOME] - lung[:, COSTOPHRENIC]
    lengths = np.linalg.norm(up, axis=1) * np.linalg.norm(along, axis=1)
    return np.asarray(np.degrees(np.arccos(np.clip((up * along).sum(1) / np.maximum(lengths, 1e-9), -1, 1))))


def wall_at(lung: Floats, part: float) -> Floats:
    """Where (N,) the chest wall lies, from the left, at a `part` of the lung's height below its apex."""
    chain = lung[:, [APEX, UPPER_WALL, WALL, COSTOPHRENIC]]
    heights = chain[:, 0, 1] + part * (chain[:, -1, 1] - chain[:, 0, 1])
    falling = np.maximum.accumulate(chain[..., 1], axis=1)
    return np.array([np.interp(h, y, x) for h, y, x in zip(heights, falling, chain[..., 0], strict=True)])


def why_not(name: str, landmarks: Landmarks) -> str:
    """Why a measure cannot be trusted; empty where its error is at most half its spread among patients."""
    known = landmarks.about["measures"][name]
    if known["error"] <= TALLEST_ERROR * known["spread"]:
        return ""
    unit = "" if MEASURES[name].unit in ("ratio", "share") else f" {MEASURES[name].unit}"
    return (
        f"The landmarks are not sure enough: on {known['n']} images of patients they were not learnt from, the error "
        f"is {known['error']:.2g}{unit}, more than half of the spread among patients, {known['spread']:.2g}{unit}."
    )


# --- what is shown -----------------------------------------------------------------------------------------


def _verdict(compared: Sequence[Compared]) -> str:
    unlike, alike = [], []
    for each in compared:
        difference, odd = each.metrics()
        if difference["value"] is None:
            continue
        unit = f" {each.kind.unit}" if each.kind.unit == "degrees" else ""
        if not (differs(difference) or differs(odd)):
            alike.append(each.kind.title.lower())
            continue
        words = (
            f"{each.kind.title.lower()} ({each.kind.meaning}) is {difference['synthetic']['mean']:.3g}{unit} on "
            f"average, {difference['real']['mean']:.3g}{unit} in real chests"
        )
        if difference["ci_low"] is not None:
            words += f" (difference {difference['ci_low']:+.2g} to {difference['ci_high']:+.2g})"
        if differs(odd):
            words += f", and outside the range of 95 % of real chests in {100 * odd['value']:.0f} % of images"
        unlike.append(words)
    if not unlike and not alike:
        return "Nothing can be said: no measure has images enough, or is sure enough."
    text = f"Unlike real chests: {'; '.join(unlike)}." if unlike else ""
    return text + (f"{' ' if unlike else ''}Not told from real chests: {', '.join(alike)}." if alike else "")


def _left_out(usable: dict[str, bool]) -> str:
    """That measures have no figure, so that nobody takes silence for a good sign."""
    names = [MEASURES[name].title.lower() for name, there in usable.items() if not there]
    if len(names) in (0, len(usable)):
        return ""
    return f" Nothing is said of {', '.join(names)}: the landmarks are not found surely enough."


def _charts(compared: Sequence[Compared]) -> tuple[Chart, ...]:
    """Distributions of the measures that differ most."""
    from synthcxr.report.charts import histograms

    def apart(each: Compared) -> float:
        return float(np.mean(each.oddness()))

    charts = []
    for each in sorted(compared, key=apart, reverse=True)[:CHARTS]:
        lists = {"real": each.real[np.isfinite(each.real)], "synthetic": each.synthetic[np.isfinite(each.synthetic)]}
        if min(map(len, lists.values())) == 0:
            continue
        low, high = each.usual() if len(lists["real"]) else (0.0, 0.0)
        caption = f"{each.kind.meaning[0].upper()}{each.kind.meaning[1:]}. Usual: {low:.3g} to {high:.3g}."
        values = {name: value.tolist() for name, value in lists.items()}
        charts.append(Chart(each.kind.title, str(histograms(values, None, each.kind.title.lower())), caption))
    return tuple(charts)


def _sheet(synthetic: FeatureSet, compared: Sequence[Compared]) -> Sheet:
    images = []
    for i, each in oddest(compared, SHOWN):
        low, high = each.usual()
        words = f"{each.kind.title.lower()} {each.synthetic[i]:.3g} (usual {low:.3g} to {high:.3g})"
        images.append((synthetic.rows[i], f"{synthetic.labels[i]}: {words}"))
    note = "Those farthest from the mean of real images by each measure; within the usual range a chest is not odd."
    return Sheet("The oddest chests", tuple(images), note=note)


def _lines(labels: Sequence[str], found: dict[str, Floats], points: Floats) -> list[Json]:
    """Measures and landmarks of every image, as rows to keep."""
    return [
        {
            "file_name": label,
            **{name: None if np.isnan(values[i]) else round(float(values[i]), 4) for name, values in found.items()},
            "landmarks": points[i].round(4).tolist(),
        }
        for i, label in enumerate(labels)
    ]
