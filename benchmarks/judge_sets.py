"""What sets of one model's presets give, side by side: realism against unseen patients, and what the gate would reject.

    python benchmarks/judge_sets.py original=SET fast=SET preview=SET --real DATASET [DATASET ...] [--out FILE]

The sets have the same prompts and seeds. Real images are those of the validation split of all datasets together,
training images those of their training split; test patients are not read. Every figure has its interval, as `evaluate`
gives it. The gate's rules are those of `generate --accept`, each image judged as it was drawn first; `text` is left
out, as it takes a second an image.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import FeatureSet, join, read_folder
from synthcxr.evaluation.measure import measure
from synthcxr.evaluation.realism import limit_metric, limit_of
from synthcxr.generation.acceptance import RULES
from synthcxr.generation.gate import load_gate
from synthcxr.imagefolder import read_rows
from synthcxr.models.registry import resolve
from synthcxr.store import write_json

RESULTS = Path(__file__).parent / "results" / "preset_sets.json"
SHOWN = ("frechet_distance", "frechet_limit", "kid", "precision", "recall", "density", "coverage", "near_copy_rate")
KEPT = ("value", "ci_low", "ci_high", "n_real", "n_synthetic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=SET")
    parser.add_argument("--real", type=Path, nargs="+", required=True, help="The model's prepared datasets.")
    parser.add_argument("--model", default="bundled", help="What drew the sets; its training images are looked for.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    encoder = load_encoder()
    real, trained = (
        join([read_folder(folder, split, encoder, 32, "auto") for folder in options.real])
        for split in ("validation", "train")
    )
    result = {}
    for name, folder in (each.split("=", 1) for each in options.sets):
        drawn = read_folder(Path(folder), "all", encoder, 32, "auto")
        result[name] = {"realism": realism(real, drawn, trained), "gate": rejected(Path(folder), options.model)}
        print(name, result[name], flush=True)
    write_json(options.out, result)


def realism(real: FeatureSet, drawn: FeatureSet, trained: FeatureSet) -> dict[str, Any]:
    """Every metric with its interval."""
    found: dict[str, Any] = {each["name"]: each for each in measure(real, drawn, trained, no_training="", k=5, seed=0)}
    found["frechet_limit"] = limit_metric(real, drawn, limit_of(real, drawn, seed=0))
    return {name: {key: found[name].get(key) for key in KEPT} for name in SHOWN}


def rejected(folder: Path, model: str) -> dict[str, Any]:
    """How many images break a rule, and which."""
    rows = read_rows(folder)
    rules = tuple(rule for rule in RULES if rule != "text")
    gate = load_gate(rules, resolve(model), [row.fields for row in rows], "auto")
    broken = gate.judge([row.fields for row in rows], [row.read() for row in rows], [[]] * len(rows))
    by_rule = Counter(rule for each in broken for rule in each)
    return {"images": len(rows), "rejected": sum(map(bool, broken)), "by_rule": dict(by_rule.most_common())}


if __name__ == "__main__":
    main()
