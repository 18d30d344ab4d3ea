"""What a figure without its number of images says: the same set and the same real patients at several numbers.

python benchmarks/figure_without_n.py --real DATASET --synthetic SET [--out FILE.json]

Prints Fréchet and kernel distances of N synthetic to N real images, and of N real images to N of other real patients;
then the intervals of a reading of 50 real and 50 synthetic images.
"""

import argparse
from pathlib import Path

import numpy as np

from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import read_folder
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import Floats, assign_groups, wilson
from synthcxr.evaluation.kid import kid
from synthcxr.store import Json, write_json

SIZES = (10, 25, 50, 100)
DRAWS = 50
READING = {"accuracy": (81, 100), "sensitivity": (43, 50), "specificity": (38, 50)}
"""Right answers of one radiologist, of how many: 0.81, 0.86 and 0.76 as published."""


def main() -> None:
    """Read both sides, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--synthetic", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    encoder = load_encoder()
    real = read_folder(options.real, options.split, encoder, 32, "auto")
    drawn = read_folder(options.synthetic, "all", encoder, 32, "auto").features
    rows = [row for n in SIZES if (row := at(n, real.features, real.patients, drawn))]
    print("| N a side | Fréchet, set | Fréchet, real patients | KID, set | KID, real patients |\n|" + " - |" * 5)
    for row in rows:
        cells = [words(row[key]) for key in ("frechet_set", "frechet_real", "kid_set", "kid_real")]
        print(f"| {row['n']} | " + " | ".join(cells) + " |")
    print("\n| reading | value | right | 95 % interval |\n|" + " - |" * 4)
    reading = {name: (right / count, *wilson(right, count)) for name, (right, count) in READING.items()}
    for name, (value, low, high) in reading.items():
        right, count = READING[name]
        print(f"| {name} | {value:.2f} | {right} of {count} | {low:.3f} to {high:.3f} |")
    if options.out:
        write_json(options.out, {"distances": rows, "reading": reading, "draws": DRAWS})


def at(n: int, real: Floats, patients: "np.typing.NDArray[np.int64]", drawn: Floats) -> Json | None:
    """Mean and range over random draws of n images a side; None where a side has too few."""
    found: dict[str, list[float]] = {"frechet_set": [], "frechet_real": [], "kid_set": [], "kid_real": []}
    for number in range(DRAWS):
        rng = np.random.default_rng([n, number])
        half = assign_groups(patients, 2, rng) == 0
        sides = real[half], real[~half], drawn
        if min(map(len, sides)) < n:
            return None
        one, other, synthetic = (side[rng.permutation(len(side))[:n]] for side in sides)
        for name, side in (("set", synthetic), ("real", other)):
            found[f"frechet_{name}"].append(frechet_distance(moments(one), moments(side)))
            found[f"kid_{name}"].append(kid(one, side))
    return {"n": n, **{name: [float(np.mean(v)), min(v), max(v)] for name, v in found.items()}}


def words(values: list[float]) -> str:
    """A mean and its range."""
    mean, low, high = values
    return f"{mean:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
