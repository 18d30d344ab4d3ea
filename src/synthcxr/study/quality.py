"""Rated items and pairs: shares of every step, means, agreement between readers, pairs called right."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np

from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.material import Material, Section, matrix, readers_of, spanned
from synthcxr.study.panel import ESTIMATE_COLUMNS, Estimate, estimate_row, mean, share
from synthcxr.study.protocol import SIDES, Item
from synthcxr.study.readings import POSITIVE, wilson
from synthcxr.study.statistics.agreement import Agreement, fleiss, intraclass
from synthcxr.study.statistics.mrmc import Floats


def groups(material: Material) -> dict[str, list[str]]:
    """The rated images by what they are: synthetic, real, or of unknown origin."""
    images = sorted({answer.image for answer in material.ratings})
    found: dict[str, list[str]] = {}
    for image in images:
        found.setdefault(material.truth.get(image, "unknown"), []).append(image)
    return dict(sorted(found.items(), reverse=True))


def rated(material: Material, item: Item, images: list[str]) -> Floats:
    """Steps (R, C) that readers gave an item."""
    return matrix(material.ratings, readers_of(material.ratings), images, lambda answer: answer.ratings.get(item.name))


def scaled(material: Material) -> Iterator[tuple[str, Item, Floats]]:
    """Every group of images with every item that has steps and was rated in it."""
    for kind, images in groups(material).items():
        for item in material.items:
            steps = rated(material, item, images)
            if item.steps and not np.isnan(steps).all():
                yield kind, item, steps


def section(material: Material) -> Section:
    """Each item: the share of each step, and the mean step."""
    rows: list[tuple[str, ...]] = []
    values: Json = {}
    for kind, item, steps in scaled(material):
        entry: Json = {"steps": {}}
        for number, label in enumerate(item.steps, 1):
            hits = np.where(np.isnan(steps), np.nan, steps == number)
            found = share(label, [hits])
            given, count = int(np.sum(~np.isnan(hits))), int(np.nansum(hits))
            entry["steps"][label] = {"count": count, "of": given, **(asdict(found) if found else {})}
            rows.append((item.name, kind, f"{number} {label}", str(found or "–"), f"{count} of {given}"))
        average = mean(item.name, steps)
        entry["mean"] = asdict(average) if average else None
        if average:
            low = average.ci_low if average.ci_low < average.ci_high else None  # no spread is no interval
            rows.append((item.name, kind, "mean step", spanned(average.value, low, average.ci_high, 2), ""))
        values.setdefault(item.name, {})[kind] = entry
    return Section(
        "quality",
        "Quality",
        ("item", "images", "step", "share or mean (95 % interval)", "counts"),
        rows,
        values,
        ["Intervals of one reader are Wilson's, over images; of several, over readers and images."],
    )


def agreement_section(material: Material) -> Section:
    """Each item: how far readers agree on it; empty for one reader or a few images."""
    rows: list[tuple[str, ...]] = []
    values: Json = {}
    for kind, item, steps in scaled(material):
        found = agreements(steps)
        if found:
            values.setdefault(item.name, {})[kind] = {name: asdict(agreed) for name, agreed in found.items()}
            images = next(iter(found.values())).n
            rows.append((item.name, kind, *map(agreed_text, found.values()), str(images)))
    columns = ("item", "images", "ICC(2,1)", "ICC(3,1)", "Fleiss’s kappa", "N")
    note = "ICC(2,1): would another reader give the same step? ICC(3,1): do these readers rank images alike?"
    return Section("rating_agreement", "Agreement on quality", columns, rows, values, [note])


FEWEST = 5
"""Images below which no agreement is given."""


def agreements(steps: Floats) -> dict[str, Agreement]:
    """Agreement among readers (R, C) over the images that all rated; empty below two readers or five images."""
    whole = steps[:, ~np.isnan(steps).any(axis=0)]
    if whole.shape[0] < 2 or whole.shape[1] < FEWEST:
        return {}
    second, third = intraclass(whole.T)
    return {"icc_2_1": second, "icc_3_1": third, "fleiss_kappa": fleiss(whole.T.astype(np.int64))}


def agreed_text(agreed: Agreement) -> str:
    """An agreement and its interval."""
    if agreed.value is None:
        return "– (too few images)" if agreed.n < FEWEST else "– (all answers are alike)"
    return spanned(agreed.value, agreed.low, agreed.high, 2)


def best_steps(material: Material) -> dict[str, Estimate]:
    """The share of the highest step of each item in synthetic images (or those of unknown origin), `overall` first."""
    found: dict[str, Estimate] = {}
    for kind, item, steps in scaled(material):
        if kind != "real":
            hits = np.where(np.isnan(steps), np.nan, steps == len(item.steps))
            estimate = share(item.name, [hits])
            if estimate:
                found[
                    f"Share of {kind if kind == POSITIVE else 'rated'} images whose {item.name} is {item.steps[-1]}"
                ] = estimate
    return dict(sorted(found.items(), key=lambda pair: pair[1].name != "overall"))


# --- pairs -------------------------------------------------------------------------------------------------


def pair_is_right(material: Material, answer: Answer) -> bool:
    """Whether the image that was called synthetic is."""
    return material.truth[material.question(answer).images[SIDES.index(answer.answer or "")]] == POSITIVE


def pair_share(material: Material, alpha: float = 0.05) -> Estimate | None:
    """The share of pairs called right, over readers and pairs."""
    asked = sorted({answer.question or "" for answer in material.pairs})
    scores = matrix(material.pairs, readers_of(material.pairs), asked, lambda a: float(pair_is_right(material, a)))
    return share("pairs", [scores], alpha)


def pair_section(material: Material) -> Section:
    """Pairs called right: each reader, and all."""
    rows, readers = [], {}
    for reader in readers_of(material.pairs):
        right = [pair_is_right(material, answer) for answer in material.pairs if answer.reader == reader]
        found = wilson(sum(right), len(right))
        readers[reader] = asdict(found)
        rows.append(
            (reader, "1", str(len(right)), f"{found.value:.3f} ({found.ci_low:.3f}–{found.ci_high:.3f})", *["–"] * 4)
        )
    total = pair_share(material)
    if total and total.readers > 1:
        rows.append(("all", *estimate_row(total)[1:]))
    return Section(
        "pairwise",
        "Pairs: which is synthetic?",
        tuple({"figure": "reader", "images": "pairs"}.get(name, name) for name in ESTIMATE_COLUMNS),
        rows,
        {"readers": readers, "all": asdict(total) if total else None},
    )
