"""Do the evaluation's figures notice what can be wrong with a set? Real X-rays, made worse in known ways and amounts.

Run ``python benchmarks/metric_sensitivity.py DATASET [--split test] --out FILE.json``: it prints a table. The patients
of the split are halved ten times; one half stands for the real side, the images of the other, changed, for a set. The
dataset's training split is what is copied. A figure is *monotone* where its mean over the halvings moves one way from
no change to the strongest.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from synthcxr.evaluation.degradation import add_noise, blur, change_contrast
from synthcxr.evaluation.diversity import authentic, draw_pairs, likeness, surround, vendi
from synthcxr.evaluation.encoder import Encoder, load_encoder
from synthcxr.evaluation.fairness import seen_as_stated
from synthcxr.evaluation.features import FeatureSet, read_folder
from synthcxr.evaluation.intervals import Ints, assign_groups
from synthcxr.evaluation.labelling import bundled_labeller
from synthcxr.evaluation.measure import point_values
from synthcxr.evaluation.neighbours import calibrate, near_copy_rate, nearest
from synthcxr.images import Grey, to_square
from synthcxr.store import write_json

HALVINGS = 10
NEIGHBOURS = 5
PAIRS = 40
SIDE = 256


@dataclass(frozen=True)
class Side:
    """Images of known patients with what is stated of them; `look` (N, 256, 256) are the pixels."""

    about: FeatureSet
    look: Grey

    def take(self, index: Ints) -> "Side":
        """The images at these places, one place several times if need be."""
        return Side(taken(self.about, index), self.look[index])


@dataclass(frozen=True)
class Level:
    """One change at one strength, and every figure of it: the mean over the halvings and their range."""

    change: str
    level: str
    means: dict[str, float]
    ranges: dict[str, tuple[float, float]]


def taken(side: FeatureSet, index: Ints) -> FeatureSet:
    return replace(
        side,
        features=side.features[index],
        identity=side.identity[index],
        patients=side.patients[index],
        labels=tuple(side.labels[i] for i in index),
        keys=tuple(side.keys[i] for i in index),
        rows=tuple(side.rows[i] for i in index),
    )


# --- changes -----------------------------------------------------------------------------------------------------


def burn_in(image: Grey, rng: np.random.Generator) -> Grey:
    """A line of white text in a corner, letters of a twentieth of the height."""
    import cv2

    text = "".join(rng.choice(list("ABCDEFGHKLMNPRSTUVX0123456789"), 12))
    at = (int(rng.integers(4, 90)), int(rng.choice([18, SIDE - 10])))
    return np.asarray(cv2.putText(image.copy(), text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA), np.uint8)


def some(share: float, change: Callable[[Grey], Grey]) -> Callable[[Grey, np.random.Generator], Grey]:
    return lambda image, rng: change(image) if rng.random() < share else image


PIXELS: dict[str, dict[str, Callable[[Grey, np.random.Generator], Grey]]] = {
    "blur, sigma in px": {f"{x:g}": lambda image, _, x=x: blur(image, x) for x in (0.5, 1.0, 2.0)},
    "noise, grey levels": {f"{x:g}": lambda image, rng, x=x: add_noise(image, x, rng) for x in (2, 5, 15)},
    "contrast, gain": {f"{x:g}": lambda image, _, x=x: change_contrast(image, x) for x in (0.8, 0.6, 0.4)},
    "text burned in, share": {
        f"{x:g}": lambda image, rng, x=x: burn_in(image, rng) if rng.random() < x else image for x in (0.25, 0.5, 1.0)
    },
    "flipped left to right, share": {
        f"{x:g}": some(x, lambda image: np.ascontiguousarray(image[:, ::-1])) for x in (0.25, 0.5, 1.0)
    },
}


def repeated(side: Side, share: float, rng: np.random.Generator) -> Side:
    """Only a share of the images, each again and again."""
    few = rng.permutation(len(side.look))[: max(2, round(share * len(side.look)))]
    return side.take(np.resize(few, len(side.look)))


def without_view(side: Side, share: float, rng: np.random.Generator) -> Side:
    """A share of the PA images replaced by AP images of the same set."""
    views = np.array([row.fields.get("view") if row else None for row in side.about.rows])
    index, gone = np.arange(len(views)), np.flatnonzero(views == "PA")
    gone = rng.permutation(gone)[: round(share * len(gone))]
    index[gone] = rng.choice(np.flatnonzero(views == "AP"), len(gone))
    return side.take(index)


def copied(side: Side, share: float, rng: np.random.Generator, training: Side) -> Side:
    """A share of the images replaced by training images."""
    count = round(share * len(side.look))
    chosen = training.take(rng.choice(len(training.look), count, replace=False))
    kept = side.take(rng.permutation(len(side.look))[count:])
    about = replace(
        side.about,
        features=np.concatenate([kept.about.features, chosen.about.features]),
        identity=np.concatenate([kept.about.identity, chosen.about.identity]),
        patients=np.arange(len(side.look)),
        keys=kept.about.keys + chosen.about.keys,
        labels=kept.about.labels + chosen.about.labels,
        rows=kept.about.rows + chosen.about.rows,
    )
    return Side(about, np.concatenate([kept.look, chosen.look]))


def swapped(side: Side, share: float, rng: np.random.Generator) -> Side:
    """What is stated of a share of the images is another image's."""
    rows = list(side.about.rows)
    places = rng.permutation(len(rows))[: round(share * len(rows))]
    for place, source in zip(places, np.roll(places, 1), strict=True):
        rows[place] = side.about.rows[source]
    return replace(side, about=replace(side.about, rows=tuple(rows)))


# --- figures -----------------------------------------------------------------------------------------------------


def read(folder: Path, split: str, encoder: Encoder) -> Side:
    about = read_folder(folder, split, encoder, 32, "cpu")
    return Side(about, np.stack([to_square(row.read(), SIDE) for row in about.rows if row]))


def changed(side: Side, change: Callable[[Grey, np.random.Generator], Grey], encoder: Encoder, seed: int) -> Side:
    look = np.stack([change(image, np.random.default_rng([seed, i])) for i, image in enumerate(side.look)])
    features, identity = encoder.extract(iter(look), 32, "cpu")
    about = replace(side.about, features=features.astype(np.float64), identity=identity.astype(np.float64))
    return Side(about, look)


def figures(real: Side, drawn: Side, training: Side, encoder: Encoder, rng: np.random.Generator) -> dict[str, float]:
    """Every figure of one half, changed, by the other half."""
    right, asked = seen_as_stated(drawn.about, bundled_labeller(encoder))
    around = surround(training.about.identity, training.about.patients)
    calibration = calibrate(nearest(real.about.identity, training.about.identity).distance)
    pairs = draw_pairs(np.arange(len(drawn.look)), PAIRS, rng)
    look = {int(i): drawn.look[i] for i in np.unique(pairs)}
    return {
        **point_values(real.about.features, drawn.about.features, NEIGHBOURS),
        "ms_ssim": float(likeness(look, pairs).mean()),
        "vendi_score": vendi(drawn.about.features - drawn.about.features.mean(axis=0)),
        "authenticity": float(authentic(around, drawn.about.identity).mean()),
        "near_copy_rate": near_copy_rate(
            nearest(drawn.about.identity, training.about.identity).distance, calibration
        ).value,
        "seen_as_asked": float(right.sum() / asked.sum()),
    }


def sweep(side: Side, training: Side, encoder: Encoder) -> list[Level]:
    """Every change at every strength, over the same halvings."""
    halves = [assign_groups(side.about.patients, 2, np.random.default_rng(i)) == 0 for i in range(HALVINGS)]

    def level(change: str, name: str, whole: Side, after: Callable[[Side, np.random.Generator], Side]) -> Level:
        found = []
        for number, half in enumerate(halves):
            rng = np.random.default_rng([number, 7])
            real, drawn = side.take(np.flatnonzero(half)), after(whole.take(np.flatnonzero(~half)), rng)
            found.append(figures(real, drawn, training, encoder, np.random.default_rng([number, 8])))
        lists = {name: [each[name] for each in found] for name in found[0]}
        means = {name: float(np.mean(each)) for name, each in lists.items()}
        return Level(change, name, means, {name: (min(each), max(each)) for name, each in lists.items()})

    def same(whole: Side, _: np.random.Generator) -> Side:
        return whole

    levels = [level("none", "", side, same)]
    for change, strengths in PIXELS.items():
        levels += [level(change, name, changed(side, do, encoder, 1), same) for name, do in strengths.items()]
    sets: dict[str, tuple[Sequence[float], Callable[[Side, float, np.random.Generator], Side]]] = {
        "distinct images, share": ((0.5, 0.25, 0.1), repeated),
        "PA images replaced by AP, share": ((0.25, 0.5, 1.0), without_view),
        "training images copied, share": ((0.1, 0.5, 1.0), lambda x, share, rng: copied(x, share, rng, training)),
        "labels swapped, share": ((0.1, 0.3, 1.0), swapped),
    }
    for change, (shares, do) in sets.items():
        levels += [
            level(change, f"{share:g}", side, lambda x, rng, do=do, share=share: do(x, share, rng)) for share in shares
        ]
    return levels


def monotone(values: Sequence[float]) -> str:
    """Up, down, or what else."""
    steps = np.diff(values)
    if not steps.any():
        return "still"
    return "up" if (steps > 0).all() else "down" if (steps < 0).all() else "not monotone"


def report(levels: Sequence[Level]) -> list[dict[str, object]]:
    """A line for every change and figure: its values by strength, which way, from which strength on it is told.

    It is told where the mean lies beyond what the halvings give without a change.
    """
    none, lines = levels[0], []
    for change in dict.fromkeys(each.change for each in levels[1:]):
        strengths = [each for each in levels if each.change == change]
        for name, start in none.means.items():
            low, high = none.ranges[name]
            told = next((each.level for each in strengths if not low <= each.means[name] <= high), None)
            values = [start, *(each.means[name] for each in strengths)]
            lines.append(
                {"change": change, "figure": name, "values": values, "way": monotone(values), "told_from": told}
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a dataset with a training split, whose patients the split lacks")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    begun, encoder = time.process_time(), load_encoder()
    side, training = (read(arguments.dataset, split, encoder) for split in (arguments.split, "train"))
    levels = sweep(side, training, encoder)
    lines = report(levels)
    for each in lines:
        values = " ".join(f"{value:9.3g}" for value in each["values"])  # type: ignore[attr-defined]
        print(f"{each['change']:34}{each['figure']:24}{values}  {each['way']:14}told from {each['told_from']}")
    if arguments.out:
        about = {"images": len(side.look), "patients": len(np.unique(side.about.patients)), "split": arguments.split}
        seconds = round(time.process_time() - begun)
        write_json(
            arguments.out,
            {
                **about,
                "halvings": HALVINGS,
                "processor_seconds": seconds,
                "lines": lines,
                "levels": [asdict(each) for each in levels],
            },
        )


if __name__ == "__main__":
    main()
