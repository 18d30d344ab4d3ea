"""Thresholds of `generate --accept` for the encoder in the package, as JSON beside it, and what they do to patients.

python recipes/bundled/calibrate_acceptance.py WORK

WORK holds the prepared datasets nih and kermany. Validation patients set the thresholds; test patients are measured on.
"""

import argparse
from pathlib import Path

import numpy as np

from synthcxr.evaluation.encoder import FOLDER, LABELS, Encoder, load_encoder
from synthcxr.evaluation.intervals import Floats
from synthcxr.generation.acceptance import calibrate, from_json, measure, to_json
from synthcxr.generation.gate import THRESHOLDS
from synthcxr.imagefolder import read_rows
from synthcxr.store import Json, write_json

SOURCES = ("nih", "kermany")
JUDGED = ("pa_view", "female", "child", "abnormal")


def main() -> None:
    """Write acceptance.json and print it as a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    encoder = load_encoder()
    thresholds = calibrate(*look(work, "validation", encoder))
    measured = measure(from_json(to_json(thresholds)), *look(work, "test", encoder))
    held = {
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "thresholds": to_json(thresholds),
        "measured": {"test": measured},
    }
    write_json(FOLDER / THRESHOLDS, held)
    print("| asked for | passes from | real patients (N) | judges | test: right ones rejected | wrong ones caught |")
    print("| --- | --- | --- | --- | --- | --- |")
    for each, seen in zip(thresholds, measured, strict=True):
        shares = [
            f"{value[0]:.1%} of {value[3]} ({value[1]:.1%} to {value[2]:.1%})" if value else "none of the kind"
            for value in (seen["false_rate"], seen["caught"])
        ]
        judges = "yes" if each.judges else f"no: {each.caught:.0%} of {each.n_other} caught"
        print(f"| {each.words} | {each.least:.3f} | {each.n} | {judges} | {shares[0]} | {shares[1]} |")


def look(work: Path, split: str, encoder: Encoder) -> tuple[Floats, tuple[str, ...], list[Json]]:
    """Probabilities (n, labels) of a split's images, the labels, and the rows' fields."""
    rows = [row for source in SOURCES for row in read_rows(work / source, split)]
    probabilities = encoder.classify(row.read() for row in rows).astype(np.float64)
    columns = [LABELS.index(label) for label in JUDGED]
    return probabilities[:, columns], JUDGED, [row.fields for row in rows]


if __name__ == "__main__":
    main()
