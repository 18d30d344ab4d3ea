"""Do the evaluation's figures notice what can be wrong with a set? Real X-rays, made worse in known ways and amounts.

Run ``python benchmarks/metric_sensitivity.py DATASET... --out FILE.json``; it prints the table of the docs. Patients
of the split are halved ten times; one half stands for the real side, the images of the other, changed, for a set. The
datasets' training splits are what is copied. A figure is *monotone* where its mean over the halvings moves one way from
no change to the strongest; it *notices* a change from the strength on at which that mean leaves the range of the
halvings without a change.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from synthcxr.evaluation.degradation import add_noise, blur, change_contrast
from synthcxr.evaluation.diversity import Surroundings, authentic, draw_pairs, likeness, surround, vendi
from synthcxr.evaluation.encoder import Encoder, load_encoder
from synthcxr.evaluation.fairness import seen_as_stated
from synthcxr.evaluation.features import FeatureSet, join, read_folder
from synthcxr.evaluation.intervals import Ints, assign_groups
from synthcxr.evaluation.labelling import bundled_labeller
from synthcxr.evaluation.measure import point_values
from synthcxr.evaluation.neighbours import calibrate, near_copy_rate, nearest
from synthcxr.images import Grey, to_square
from synthcxr.store import write_json

HALVINGS = 10
NEIGHBOURS = 5
PAIRS = 20
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


Change = Callable[[Grey, np.random.Generator], Grey]


def in_some(share: float, change: Change) -> Change:
    """The change in a share of the images, chosen at random."""
    return lambda image, rng: change(image, rng) if rng.random() < share else image


def blurred(sigma: float) -> Change:
    return lambda image, _: blur(image, sigma)


def noisy(sigma: float) -> Change:
    return lambda image, rng: add_noise(image, sigma, rng)


def flat(gain: float) -> Change:
    return lambda image, _: change_contrast(image, gain)


def flip(image: Grey, _: np.random.Generator) -> Grey:
    return np.ascontiguousarray(image[:, ::-1])


SHARES = (0.25, 0.5, 1.0)
PIXELS: dict[str, dict[str, Change]] = {
    "blur, sigma in px": {f"{x:g}": blurred(x) for x in (0.5, 1.0, 2.0)},
    "noise, grey levels": {f"{x:g}": noisy(x) for x in (2, 5, 15)},
    "contrast, gain": {f"{x:g}": flat(x) for x in (0.8, 0.6, 0.4)},
    "text burned in, share": {f"{x:g}": in_some(x, burn_in) for x in SHARES},
    "flipped left to right, share": {f"{x:g}": in_some(x, flip) for x in SHARES},
}


SetChange = Callable[..., Side]
"""What alters a set: of a side, a generator of random numbers and a `share`."""


def repeated(side: Side, rng: np.random.Generator, share: float) -> Side:
    """Only a share of the images, each again and again."""
    few = rng.permutation(len(side.look))[: max(2, round(share * len(side.look)))]
    return side.take(np.resize(few, len(side.look)))


def without_view(side: Side, rng: np.random.Generator, share: float) -> Side:
    """A share of the PA images replaced by AP images of the same set."""
    views = np.array([row.fields.get("view") if row else None for row in side.about.rows])
    index, gone = np.arange(len(views)), np.flatnonzero(views == "PA")
    gone = rng.permutation(gone)[: round(share * len(gone))]
    index[gone] = rng.choice(np.flatnonzero(views == "AP"), len(gone))
    return side.take(index)


def copied(side: Side, rng: np.random.Generator, share: float, training: Side) -> Side:
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


def swapped(side: Side, rng: np.random.Generator, share: float) -> Side:
    """What is stated of a share of the images is another image's."""
    rows = list(side.about.rows)
    places = rng.permutation(len(rows))[: round(share * len(rows))]
    for place, source in zip(places, np.roll(places, 1), strict=True):
        rows[place] = side.about.rows[source]
    return replace(side, about=replace(side.about, rows=tuple(rows)))


# --- figures -----------------------------------------------------------------------------------------------------


def read(folders: Sequence[Path], split: str, encoder: Encoder) -> Side:
    about = join([read_folder(folder, split, encoder, 32, "cpu") for folder in folders])
    return Side(about, np.stack([to_square(row.read(), SIDE) for row in about.rows if row]))


def changed(side: Side, change: Change, encoder: Encoder, seed: int) -> Side:
    look = np.stack([change(image, np.random.default_rng([seed, i])) for i, image in enumerate(side.look)])
    features, identity = encoder.extract(iter(look), 32, "cpu")
    about = replace(side.about, features=features.astype(np.float64), identity=identity.astype(np.float64))
    return Side(about, look)


def figures(
    real: Side, drawn: Side, training: Surroundings, encoder: Encoder, rng: np.random.Generator
) -> dict[str, float]:
    """Every figure of one half, changed, by the other half."""
    right, asked = seen_as_stated(drawn.about, bundled_labeller(encoder))
    calibration = calibrate(nearest(real.about.identity, training.features).distance)
    pairs = draw_pairs(np.arange(len(drawn.look)), PAIRS, rng)
    look = {int(i): drawn.look[i] for i in np.unique(pairs)}
    return {
        **point_values(real.about.features, drawn.about.features, NEIGHBOURS),
        "ms_ssim": float(likeness(look, pairs).mean()),
        "vendi_score": vendi(drawn.about.features - drawn.about.features.mean(axis=0)),
        "authenticity": float(authentic(training, drawn.about.identity).mean()),
        "near_copy_rate": near_copy_rate(nearest(drawn.about.identity, training.features).distance, calibration).value,
        "seen_as_asked": float(right.sum() / asked.sum()),
    }


def sweep(side: Side, training: Side, encoder: Encoder) -> list[Level]:
    """Every change at every strength, over the same halvings."""
    around = surround(training.about.identity, training.about.patients)
    halves = [assign_groups(side.about.patients, 2, np.random.default_rng(i)) == 0 for i in range(HALVINGS)]

    def level(change: str, name: str, whole: Side, after: Callable[[Side, np.random.Generator], Side]) -> Level:
        found = []
        for number, half in enumerate(halves):
            rng = np.random.default_rng([number, 7])
            real, drawn = side.take(np.flatnonzero(half)), after(whole.take(np.flatnonzero(~half)), rng)
            found.append(figures(real, drawn, around, encoder, np.random.default_rng([number, 8])))
        lists = {name: [each[name] for each in found] for name in found[0]}
        means = {name: float(np.mean(each)) for name, each in lists.items()}
        return Level(change, name, means, {name: (min(each), max(each)) for name, each in lists.items()})

    def same(whole: Side, _: np.random.Generator) -> Side:
        return whole

    levels = [level("none", "", side, same)]
    for change, strengths in PIXELS.items():
        levels += [level(change, name, changed(side, do, encoder, 1), same) for name, do in strengths.items()]
    sets: dict[str, tuple[Sequence[float], SetChange]] = {
        "distinct images, share": ((0.5, 0.25, 0.1), repeated),
        "PA images replaced by AP, share": (SHARES, without_view),
        "training images copied, share": ((0.1, 0.5, 1.0), partial(copied, training=training)),
        "labels swapped, share": ((0.1, 0.3, 1.0), swapped),
    }
    for change, (shares, alter) in sets.items():
        levels += [level(change, f"{share:g}", side, partial(alter, share=share)) for share in shares]
    return levels


@dataclass(frozen=True)
class Response:
    """A figure's means without a change and at each strength, which way they go, and from which on it notices."""

    change: str
    figure: str
    values: list[float]
    way: str
    notices_from: str | None


def direction(values: Sequence[float]) -> str:
    """Up, down, or what else."""
    steps = np.diff(values)
    if not steps.any():
        return "still"
    return "up" if (steps > 0).all() else "down" if (steps < 0).all() else "not monotone"


def responses(levels: Sequence[Level]) -> list[Response]:
    """How every figure answers to every change."""
    none, found = levels[0], []
    for change in dict.fromkeys(each.change for each in levels[1:]):
        strengths = [each for each in levels if each.change == change]
        for name, start in none.means.items():
            low, high = none.ranges[name]
            noticed = next((each.level for each in strengths if not low <= each.means[name] <= high), None)
            values = [start, *(each.means[name] for each in strengths)]
            found.append(Response(change, name, values, direction(values), noticed))
    return found


def table(found: Sequence[Response]) -> str:
    """The docs' table: a line a change, a column a figure."""
    names = list(dict.fromkeys(each.figure for each in found))
    rows = ["| change | " + " | ".join(f"`{name}`" for name in names) + " |", "| - |" + " - |" * len(names)]
    for change in dict.fromkeys(each.change for each in found):
        cells = [
            "–" if each.notices_from is None else f"{each.way}, {each.notices_from}"
            for each in found
            if each.change == change
        ]
        rows.append(f"| {change} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path, nargs="+", help="with a training split, whose patients the split lacks")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    begun, encoder = time.process_time(), load_encoder()
    side, training = (read(arguments.datasets, split, encoder) for split in (arguments.split, "train"))
    levels = sweep(side, training, encoder)
    found = responses(levels)
    print(table(found))
    if arguments.out:
        about = {
            "split": arguments.split,
            "images": len(side.look),
            "patients": len(np.unique(side.about.patients)),
            "training_images": len(training.look),
            "halvings": HALVINGS,
            "processor_seconds": round(time.process_time() - begun),
        }
        both = {"responses": [asdict(each) for each in found], "levels": [asdict(each) for each in levels]}
        write_json(arguments.out, about | both)


if __name__ == "__main__":
    main()
