"""Judge a model by unseen patients, as the model card reports it.

python recipes/bundled/judge.py MODEL WORK --out FOLDER [--split test] [--steps N] [--guidance G] [--scheduler S] …

Draws, for each source, as many images as it has real ones in the split, of prompts of its training patients; compares
them with the real ones apart and together; and reads from them what was asked for. WORK holds the prepared datasets.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.config import GenerateConfig
from synthcxr.evaluation.encoder import LABELS, Encoder, load_encoder
from synthcxr.evaluation.faithfulness import Agreement, faithfulness
from synthcxr.evaluation.features import FeatureSet, join, read_folder
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import Floats, assign_groups
from synthcxr.evaluation.measure import measure
from synthcxr.evaluation.realism import limit_metric, limit_of
from synthcxr.generation.generate import generate
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import read_grey
from synthcxr.store import write_json, write_jsonl
from synthcxr.training.encoder import targets

SOURCES = ("nih", "kermany")
HALVINGS = 20
SHOWN = ("frechet_distance", "frechet_limit", "kid", "precision", "recall", "density", "coverage", "near_copy_rate")


def main() -> None:
    """Draw, compare, read, write ``judged.json`` and print it as tables."""
    options = parse()
    encoder = load_encoder()
    sets = {source: draw(source, options) for source in SOURCES}
    drawn = {source: read_folder(folder, "all", encoder, 32, "auto") for source, folder in sets.items()}
    real = {source: read_folder(options.work / source, options.split, encoder, 32, "auto") for source in SOURCES}
    seen = {source: read_folder(options.work / source, "train", encoder, 32, "auto") for source in SOURCES}
    trained = join(list(seen.values()))
    sides = {source: (real[source], drawn[source], seen[source]) for source in SOURCES}
    sides["together"] = (join(list(real.values())), join(list(drawn.values())), trained)
    judged = {
        "model": options.model,
        "split": options.split,
        "sampling": {name: getattr(options, name) for name in ("steps", "guidance", "scheduler", "dtype", "seed")},
        "realism": {name: compare(*three, trained) for name, three in sides.items()},
        "faithfulness": {
            source: read(options.work, source, sets[source], options.split, encoder) for source in SOURCES
        },
    }
    write_json(options.out / "judged.json", judged)
    print(as_tables(judged))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--limit", type=int, help="At most so many images a source.")
    parser.add_argument("--steps", type=int, default=GenerateConfig.model_fields["steps"].default)
    parser.add_argument("--guidance", type=float, default=GenerateConfig.model_fields["guidance"].default)
    parser.add_argument("--guidance-start", type=float, default=0.0)
    parser.add_argument("--guidance-end", type=float, default=1.0)
    parser.add_argument("--scheduler", default=GenerateConfig.model_fields["scheduler"].default)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def draw(source: str, options: argparse.Namespace) -> Path:
    """A set of as many images as the split has real ones, its prompts spread over the source's training patients."""
    count = len(read_rows(options.work / source, options.split))
    count = min(count, options.limit or count)
    rows = read_rows(options.work / source, "train")
    chosen = [rows[i * len(rows) // count] for i in range(count)] if count <= len(rows) else rows
    prompts = options.out / f"{source}.jsonl"
    write_jsonl(prompts, [{"text": row.text, **row.fields} for row in chosen])
    return generate(
        GenerateConfig(
            model=options.model,
            prompts=prompts,
            count=count,
            out=options.out / source,
            steps=options.steps,
            guidance=options.guidance,
            guidance_start=options.guidance_start,
            guidance_end=options.guidance_end,
            scheduler=options.scheduler,
            batch_size=options.batch_size,
            dtype=options.dtype,
            seed=options.seed,
        )
    )


# --- realism ----------------------------------------------------------------------------------------------


def compare(real: FeatureSet, drawn: FeatureSet, seen: FeatureSet, trained: FeatureSet) -> dict[str, Any]:
    """Every metric with its interval; the distance at the floor's N; and the training patients in the set's place."""
    found = measure(real, drawn, trained, no_training="", k=5, seed=0)
    values: dict[str, Any] = {metric["name"]: metric for metric in found}
    values["frechet_limit"] = limit_metric(real, drawn, limit_of(real, drawn, seed=0))
    halves = np.array([halved(real, drawn.features, number) for number in range(HALVINGS)])
    rng = np.random.default_rng(0)
    as_many = seen.features[rng.permutation(len(seen))[: len(drawn)]]
    return {
        **{name: values[name] for name in SHOWN},
        "at_half_n": {
            "n": len(real) // 2,
            "real_and_real": spread(halves[:, 0]),
            "real_and_drawn": spread(halves[:, 1]),
            "ratio_of_medians": float(np.median(halves[:, 1]) / np.median(halves[:, 0])),
        },
        "training_in_its_place": {
            "n": len(as_many),
            "frechet_distance": frechet_distance(moments(real.features), moments(as_many)),
        },
    }


def halved(real: FeatureSet, drawn: Floats, number: int) -> tuple[float, float]:
    """Fréchet distances of one half of the real patients: to the other half, and to as many drawn images."""
    rng = np.random.default_rng([number, 1])
    half = assign_groups(real.patients, 2, rng) == 0
    one, other = real.features[half], real.features[~half]
    some = drawn[rng.permutation(len(drawn))[: len(other)]]
    return frechet_distance(moments(one), moments(other)), frechet_distance(moments(one), moments(some))


def spread(values: Floats) -> dict[str, float]:
    """Median and range."""
    return {"median": float(np.median(values)), "low": float(values.min()), "high": float(values.max())}


# --- faithfulness -----------------------------------------------------------------------------------------


def read(work: Path, source: str, drawn: Path, split: str, encoder: Encoder) -> dict[str, Any]:
    """What the encoder's classifiers see in drawn images, beside what they see in real ones of the split."""

    def see(rows: list[Row]) -> dict[str, Agreement]:
        probabilities = encoder.classify(read_grey(row.path) for row in rows).astype(np.float64)
        patients = np.unique([row.patient for row in rows], return_inverse=True)[1].astype(np.int64)
        found = faithfulness([row.fields for row in rows], probabilities, LABELS, targets_of, patients)
        return {each.label: each for each in found}

    on_drawn, on_real = see(read_rows(drawn)), see(read_rows(work / source, split))
    return {
        label: {"drawn": asdict(on_drawn[label]), "real": asdict(on_real[label])}
        for label in on_drawn
        if label in on_real
    }


def targets_of(fields: dict[str, Any]) -> Floats:
    """The encoder's targets of a row's fields."""
    return targets(Row(Path("row"), "train", "", fields)).astype(np.float64)


# --- words ------------------------------------------------------------------------------------------------


def as_tables(judged: dict[str, Any]) -> str:
    """The figures as two tables in Markdown."""
    lines = ["| figure | " + " | ".join(judged["realism"]) + " |", "| --- |" + " --- |" * len(judged["realism"])]
    for name in SHOWN:
        cells = []
        for each in judged["realism"].values():
            entry = each[name]
            low, high = entry.get("ci_low"), entry.get("ci_high")
            value = "none" if entry["value"] is None else f"{entry['value']:.3g}"
            cells.append(value if low is None else f"{value} ({low:.3g} to {high:.3g})")
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    for name, words in (
        ("real_and_real", "floor, two halves of real patients"),
        ("real_and_drawn", "at the floor's N"),
    ):
        cells = [f"{each['at_half_n'][name]['median']:.3g}" for each in judged["realism"].values()]
        lines.append(f"| Fréchet distance, {words} | " + " | ".join(cells) + " |")
    cells = [f"{each['at_half_n']['ratio_of_medians']:.2f}" for each in judged["realism"].values()]
    lines.append("| times the floor | " + " | ".join(cells) + " |")
    cells = [f"{each['training_in_its_place']['frechet_distance']:.3g}" for each in judged["realism"].values()]
    lines.append("| Fréchet distance of training patients in the set's place | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| source, label | N (asked) | AUC drawn | AUC real | right drawn | right real |",
        "| --- |" + " --- |" * 5,
    ]
    for source, labels in judged["faithfulness"].items():
        for label, pair in labels.items():
            one, other = pair["drawn"], pair["real"]
            cells = [words_of(each[key]) for key in ("auc", "accuracy") for each in (one, other)]
            lines.append(f"| {source}, {label} | {one['n']} ({one['positives']}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def words_of(estimate: dict[str, float]) -> str:
    """A value and its interval; "none" where there were too few to say."""
    if None in (estimate["value"], estimate["low"], estimate["high"]):
        return "none"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


if __name__ == "__main__":
    main()
