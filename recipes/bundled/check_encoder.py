"""What the evaluation's encoder sees and what it does not, measured on patients that it was not trained on.

python recipes/bundled/check_encoder.py RUN-or-package DATASET... --out FILE.json

Writes every figure to FILE.json and prints it as Markdown tables. `--split validation` (the default) is for
choosing; the test split is for the card, once.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from synthcxr.evaluation.degradation import add_noise, blur, change_contrast, move, scramble, zoom
from synthcxr.evaluation.encoder import FOLDER, LABELS, Encoder, Extracted, load_encoder
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import Bools, Floats, Ints, assign_groups, wilson
from synthcxr.evaluation.neighbours import calibrate, nearest
from synthcxr.evaluation.prdc import NAMES, prdc
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey
from synthcxr.store import write_json
from synthcxr.training.encoder import targets

HALVINGS, NEIGHBOURS, BOOTSTRAPS = 20, 5, 1000
Change = Callable[[Grey], Grey]
Features = npt.NDArray[np.floating[Any]]
Json = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """Rows of a split, their images and patients, and what the encoder says of them."""

    rows: list[Row]
    images: list[Grey]
    patients: Ints
    clean: Extracted
    encoder: Encoder

    def under(self, change: Change) -> Extracted:
        """What the encoder says of the changed images."""
        return self.encoder.extract(map(change, self.images), 32, "cpu")


def read_side(datasets: Iterable[Path], split: str, encoder: Encoder) -> Side:
    """A split of all datasets."""
    rows = [row for folder in datasets for row in read_rows(folder, split)]
    images = [row.read() for row in rows]
    patients = np.unique([f"{row.fields['source']}/{row.patient}" for row in rows], return_inverse=True)[1]
    return Side(rows, images, patients.astype(np.int64), encoder.extract(images, 32, "cpu"), encoder)


def halvings(patients: Ints) -> list[Bools]:
    """Twenty random halves of the patients, as masks of images."""
    return [assign_groups(patients, 2, np.random.default_rng([0, i])) == 0 for i in range(HALVINGS)]


def distance(one: Features, two: Features) -> float:
    """Fréchet distance of two sets of features."""
    return frechet_distance(moments(one.astype(np.float64)), moments(two.astype(np.float64)))


def summary(values: Sequence[float]) -> Json:
    """Mean and range over the halvings."""
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}


# --- the Fréchet distance ---------------------------------------------------------------------------------


def measure_growth(side: Side, reconstruct: Change) -> Json:
    """The distance from one half of the patients to the other half, the latter changed more and more."""
    noisy = np.random.default_rng(1)
    series: dict[str, list[tuple[str, Change]]] = {
        "blur, sigma in px": [(f"{s:g}", partial(blur, sigma=s)) for s in (0.5, 1, 1.5, 2, 3)],
        "noise, sigma in grey levels": [(f"{s}", partial(add_noise, sigma=s, rng=noisy)) for s in (2, 5, 10, 20)],
        "contrast lowered, gain": [(f"{g:g}", partial(change_contrast, gain=g)) for g in (0.9, 0.8, 0.6)],
        "contrast raised, gain": [(f"{g:g}", partial(change_contrast, gain=g)) for g in (1.1, 1.25)],
        "autoencoder": [("reconstructed", reconstruct)],
    }
    halves = halvings(side.patients)
    clean = side.clean.features
    found: Json = {"halves": {"n_half": int(halves[0].sum()), "halvings": HALVINGS}}
    unchanged = summary([distance(clean[half], clean[~half]) for half in halves])
    for name, changes in series.items():
        levels = {"none": unchanged}
        for level, change in changes:
            changed = side.under(change).features
            levels[level] = summary([distance(clean[half], changed[~half]) for half in halves])
        found[name] = levels
    found["distinct images, share"] = {"1": unchanged} | {
        f"1/{part}": summary([distance(clean[h], repeated(clean[~h], part, i)) for i, h in enumerate(halves)])
        for part in (2, 4, 8)
    }
    found["adults replaced by children, share"] = measure_mixing(side)
    for name, levels in found.items():
        if name != "halves":
            means = [value["mean"] for value in levels.values()]
            levels["grows"] = bool(np.all(np.diff(means) > 0))
    return found


def repeated(features: Features, part: int, seed: int) -> Features:
    """As many features, of which only one in `part` is distinct."""
    kept = np.random.default_rng([2, seed]).permutation(len(features))[: -(-len(features) // part)]
    return features[np.resize(kept, len(features))]


def measure_mixing(side: Side) -> Json:
    """Half of the adults against the other half, of which a share is replaced by children."""
    adult = np.array([(row.fields["age"] or 0) >= 18 for row in side.rows])
    child = np.array([row.fields["source"] == "kermany" for row in side.rows])
    clean, children = side.clean.features[adult], side.clean.features[child]
    found: dict[str, list[float]] = {}
    for i, half in enumerate(halvings(side.patients[adult])):
        rng = np.random.default_rng([3, i])
        others = rng.permutation(clean[~half])
        for share in (0, 0.1, 0.25, 0.5, 1):
            count = round(share * len(others))
            mixed = np.concatenate([others[count:], children[rng.permutation(len(children))[:count]]])
            found.setdefault(f"{share:g}", []).append(distance(clean[half], mixed))
    return {share: summary(values) for share, values in found.items()}


# --- classifiers ------------------------------------------------------------------------------------------


def measure_classifiers(side: Side, training: list[Row]) -> Json:
    """AUC of each classifier, beside that of a logistic regression on the source's width and height alone."""
    wanted = np.stack([targets(row) for row in side.rows])
    scores = side.encoder.label(side.clean.features)
    sources = np.array([row.fields["source"] for row in side.rows])
    found: Json = {}
    for column, label in enumerate(LABELS):
        by_size = size_scores(training, side.rows, column)
        for source in ("all", *np.unique(sources)):
            kept = ~np.isnan(wanted[:, column]) & ((sources == source) | (source == "all"))
            truth = wanted[kept, column]
            if len(set(truth)) == 2:
                entry: Json = {"n": int(kept.sum()), "positive": int(truth.sum())}
                entry["encoder"] = auc(truth, scores[kept, column], side.patients[kept])
                entry["width and height"] = auc(truth, by_size[kept], side.patients[kept])
                found[f"{label}, {source}"] = entry
    return found


def size_scores(training: list[Row], rows: list[Row], column: int) -> Floats:
    """What width and height say of a label, fitted on the training rows that state it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def sizes(of: list[Row]) -> Floats:
        width, height = np.array([(row.fields["source_width"], row.fields["source_height"]) for row in of], float).T
        return np.stack([np.log(width), np.log(height)], axis=1)

    wanted = np.array([targets(row)[column] for row in training])
    stated = ~np.isnan(wanted)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(sizes(training)[stated], wanted[stated])
    scores: Floats = model.decision_function(sizes(rows))
    return scores


def auc(truth: Features, scores: Features, patients: Ints) -> Json:
    """AUC with its interval by drawing patients anew."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    members = [np.flatnonzero(patients == code) for code in np.unique(patients)]
    drawn = []
    for _ in range(BOOTSTRAPS):
        images = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        if len(set(truth[images])) == 2:
            drawn.append(roc_auc_score(truth[images], scores[images]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"auc": float(roc_auc_score(truth, scores)), "ci_low": float(low), "ci_high": float(high)}


# --- precision, recall, density, coverage -------------------------------------------------------------------


def measure_prdc(side: Side, reconstruct: Change) -> Json:
    """Real halves against each other, and against images that no one would take for an X-ray."""
    rng = np.random.default_rng(5)
    changes: dict[str, Change] = {
        "real": lambda image: image,
        "blurred, sigma 3 px": partial(blur, sigma=3),
        "blurred, sigma 8 px": partial(blur, sigma=8),
        "reconstructed by the autoencoder": reconstruct,
        "uniform noise": lambda image: rng.integers(0, 256, image.shape).astype(np.uint8),
        "noise of the image's mean and deviation": lambda image: add_noise(
            np.full_like(image, round(image.mean())), float(image.std()), rng
        ),
        "noise of the image's spectrum": partial(scramble, share=1, rng=rng),
        "the image's squares of 64 px in random order": lambda image: shuffle(image, rng),
    }
    halves = halvings(side.patients)
    found: Json = {}
    for name, change in changes.items():
        changed = side.under(change).features.astype(np.float64)
        clean = side.clean.features.astype(np.float64)
        values = [prdc(clean[half], changed[~half], NEIGHBOURS) for half in halves]
        found[name] = {metric: float(np.mean([value[metric] for value in values])) for metric in NAMES}
    return found


def shuffle(image: Grey, rng: np.random.Generator, side: int = 64) -> Grey:
    """The image cut into squares, laid out anew."""
    across = image.shape[0] // side
    squares = image.reshape(across, side, across, side).swapaxes(1, 2).reshape(-1, side, side)
    laid = rng.permutation(squares).reshape(across, across, side, side).swapaxes(1, 2)
    return np.ascontiguousarray(laid.reshape(image.shape))


# --- near-copies ------------------------------------------------------------------------------------------


def measure_copies(side: Side, training: Side, reconstruct: Change, count: int) -> Json:
    """Share of planted copies that lie nearer to the training images than the threshold for unseen patients.

    Once of training images; once of images that the encoder was not trained on either: half of the held-out
    patients stand for training images there, the other half are the unseen ones.
    """
    changes: dict[str, Change] = {
        "reconstructed by the autoencoder": reconstruct,
        "shifted by 4 px to the right": partial(move, right=4, down=0),
        "shifted by 4 px up and to the left": partial(move, right=-4, down=-4),
        "contrast, gain 0.9": partial(change_contrast, gain=0.9),
        "contrast, gain 1.1": partial(change_contrast, gain=1.1),
        "zoomed by 1.03": partial(zoom, factor=1.03),
        "blurred, sigma 1 px": partial(blur, sigma=1),
    }
    count = min(count, len(training.images))
    planted = [i * len(training.images) // count for i in range(count)]
    half = halvings(side.patients)[0]
    found: Json = {}
    for name, change in changes.items():
        copies = side.encoder.extract((change(training.images[i]) for i in planted), 32, "cpu")
        others = side.under(change)
        entry: Json = {}
        for kind in ("identity", "features"):
            gallery, unseen = getattr(training.clean, kind), getattr(side.clean, kind)
            entry[f"training images, by {kind}"] = fires(getattr(copies, kind), unseen, gallery)
            entry[f"images of unseen patients, by {kind}"] = fires(
                getattr(others, kind)[half], unseen[~half], unseen[half]
            )
        found[name] = entry
    return found


def fires(copies: Features, unseen: Features, gallery: Features) -> Json:
    """Share of copies below the 1 % quantile of the unseen patients' distance to the gallery, with its interval."""
    one, two, three = (array.astype(np.float64) for array in (copies, unseen, gallery))
    threshold = calibrate(nearest(two, three).distance).threshold
    count = int((nearest(one, three).distance < threshold).sum())
    low, high = wilson(count, len(copies))
    return {"share": count / len(copies), "ci_low": low, "ci_high": high, "n": len(copies), "n_unseen": len(unseen)}


def reconstruction(folder: Path) -> Change:
    """An image through an autoencoder and back."""
    import torch
    from diffusers import AutoencoderKL

    from synthcxr.images import to_grey_levels, to_model_range

    vae = AutoencoderKL.from_pretrained(folder).eval().to(memory_format=torch.channels_last)

    def change(image: Grey) -> Grey:
        with torch.no_grad():
            grey = torch.from_numpy(to_model_range(image))[None, None].expand(-1, vae.config.in_channels, -1, -1)
            return to_grey_levels(vae.decode(vae.encode(grey).latent_dist.mean).sample.mean(1)[0].numpy())

    return cached(change)


def cached(change: Change) -> Change:
    """A change that is worked out once an image: images are told apart by where they lie in memory."""
    known: dict[int, tuple[Grey, Grey]] = {}

    def look_up(image: Grey) -> Grey:
        if id(image) not in known:
            known[id(image)] = (image, change(image))
        return known[id(image)][1]

    return look_up


# --- tables -----------------------------------------------------------------------------------------------


def print_tables(found: Json) -> None:
    """Everything as Markdown."""
    half = found["growth"]["halves"]
    print(
        f"\nFréchet distance from one half of the patients to the other half, changed; {half['halvings']} halvings, "
        f"about {half['n_half']} images a half: mean (range).\n"
    )
    print("| change | none | more and more → | grows |\n| - | - | - | - |")
    for name, levels in found["growth"].items():
        if name != "halves":
            cells = [
                f"{k}: {v['mean']:.2f} ({v['low']:.2f}–{v['high']:.2f})" for k, v in levels.items() if k != "grows"
            ]
            print(f"| {name} | {cells[0]} | {'; '.join(cells[1:])} | {'yes' if levels['grows'] else 'NO'} |")
    print("\n| label, source | N (positive) | AUC of the encoder | of width and height |\n| - | - | - | - |")
    for name, entry in found["classifiers"].items():
        cells = [
            f"{e['auc']:.3f} ({e['ci_low']:.3f}–{e['ci_high']:.3f})"
            for e in (entry["encoder"], entry["width and height"])
        ]
        print(f"| {name} | {entry['n']} ({entry['positive']}) | {cells[0]} | {cells[1]} |")
    print("\n| half of real patients against | precision | recall | density | coverage |\n| - | - | - | - | - |")
    for name, entry in found["prdc"].items():
        print(f"| {name} | " + " | ".join(f"{entry[metric]:.3f}" for metric in NAMES) + " |")
    first = next(iter(found["copies"].values()))
    print("\n| planted copies found | " + " | ".join(first) + " |\n| - |" + " - |" * len(first))
    for name, entry in found["copies"].items():
        cells = [f"{e['share']:.3f} ({e['ci_low']:.3f}–{e['ci_high']:.3f})" for e in entry.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="A run of the method encoder, or the word package.")
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--autoencoder", type=Path, default=FOLDER.parent / "vae")
    parser.add_argument("--copies", type=int, default=200, help="Training images of which copies are planted.")
    options = parser.parse_args()
    encoder = load_encoder(FOLDER if options.encoder == "package" else Path(options.encoder) / "encoder")
    reconstruct = reconstruction(options.autoencoder)
    side, training = (read_side(options.datasets, split, encoder) for split in (options.split, "train"))
    found: Json = {
        "encoder_sha256": encoder.sha256,
        "split": options.split,
        "n": len(side.rows),
        "patients": len(np.unique(side.patients)),
        "growth": measure_growth(side, reconstruct),
        "classifiers": measure_classifiers(side, training.rows),
        "prdc": measure_prdc(side, reconstruct),
        "copies": measure_copies(side, training, reconstruct, options.copies),
    }
    write_json(options.out, found)
    print(json.dumps({key: found[key] for key in ("encoder_sha256", "split", "n", "patients")}))
    print_tables(found)


if __name__ == "__main__":
    main()
