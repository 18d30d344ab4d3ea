"""Which sampler, how many steps, how much guidance: the Fréchet distance to unseen real X-rays over a grid.

    python benchmarks/sampling.py --real DATASET [--model M] [--count 200] [--grid short|long] [--out FILE]

What the presets were chosen by. Every cell draws the same prompts, of training patients of the dataset spread over
them, from the same seeds, and is compared with the images of the validation split; test patients are not read.
Distances are on the bundled encoder's features, with the jackknife interval of evaluation/frechet.py. At one N they can
be compared with each other, and not with those of another N. Seconds are processor time of drawing alone.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.config import GenerateConfig
from synthcxr.devices import describe, pick
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import FeatureSet, read_folder
from synthcxr.evaluation.frechet import frechet_interval
from synthcxr.evaluation.intervals import assign_groups
from synthcxr.generation.generate import generate
from synthcxr.imagefolder import read_rows
from synthcxr.images import contact_sheet, write_png
from synthcxr.store import write_json, write_jsonl

RESULTS = Path(__file__).parent / "results" / "sampling.json"
GROUPS = 20
PRESETS: list[dict[str, Any]] = [{"preset": name} for name in ("original", "fast", "preview")]
SHORT: list[dict[str, Any]] = [
    {"scheduler": "dpm++", "steps": 12, "guidance": 2.0, "guidance_end": 0.75},
    {"scheduler": "unipc", "steps": 12, "guidance": 2.0, "guidance_end": 0.75},
    {"scheduler": "ddim", "steps": 12, "guidance": 2.0, "guidance_end": 0.75},
    {"scheduler": "unipc", "steps": 12, "guidance": 1.5},
    {"scheduler": "unipc", "steps": 12, "guidance": 3.0, "guidance_end": 0.75},
    {"scheduler": "unipc", "steps": 6, "guidance": 1.5},
    {"scheduler": "dpm++", "steps": 6, "guidance": 1.5},
    {"scheduler": "ddim", "steps": 6, "guidance": 1.5},
    {"scheduler": "euler", "steps": 6, "guidance": 1.5},
    {"scheduler": "lcm", "steps": 6, "guidance": 1.5},
]
LONG: list[dict[str, Any]] = [
    {"scheduler": scheduler, "steps": steps, "guidance": guidance, "guidance_start": start, "guidance_end": end}
    for scheduler in ("ddim", "dpm++", "unipc", "euler")
    for steps in (4, 6, 8, 12, 16, 20)
    for guidance in (1.0, 1.5, 2.0, 3.0)
    for start, end in ((0.0, 1.0), (0.0, 0.75), (0.2, 0.8))
    if guidance != 1.0 or (start, end) == (0.0, 1.0)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="A prepared dataset with a validation split.")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--grid", choices=("presets", "short", "long"), default="short")
    parser.add_argument("--dtype", default="bfloat16", help="Number format of the grid's cells.")
    parser.add_argument("--sheets", type=Path, help="Folder for a sheet of each cell's first images.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    encoder = load_encoder()
    real = read_folder(options.real, "validation", encoder, 32, "auto")
    grid = [cell | {"dtype": options.dtype} for cell in {"presets": [], "short": SHORT, "long": LONG}[options.grid]]
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as work:
        prompts = Path(work) / "prompts.jsonl"
        write_prompts(options.real, options.count, prompts)
        presets = [cell for cell in PRESETS if options.model == "bundled" or cell["preset"] != "preview"]  # a student's
        for number, cell in enumerate([*presets, *grid]):
            config = GenerateConfig(
                model=options.model, prompts=prompts, count=options.count, out=Path(work) / str(number), **cell
            )
            begun = time.process_time()
            generate(config)
            seconds = time.process_time() - begun
            distance = compare(real, read_folder(config.out, "all", encoder, 32, "auto"))
            cells.append({**cell, **distance, "seconds_per_image": round(seconds / options.count, 4)})
            print(cells[-1], flush=True)
            if options.sheets:
                write_sheet(config.out, options.sheets / f"{number:02d}-{name_of(cell)}.png")
            write_json(options.out, about(options, real) | {"cells": cells})


def about(options: argparse.Namespace, real: FeatureSet) -> dict[str, Any]:
    return {
        "model": options.model,
        "real": f"{options.real.name}, validation",
        "n_real": len(real),
        "n_synthetic": options.count,
        "encoder": real.encoder,
        "encoder_sha256": real.encoder_sha256,
        "machine": describe(pick("cpu")),
    }


def write_prompts(dataset: Path, count: int, file: Path) -> None:
    rows = read_rows(dataset, "train")
    write_jsonl(file, [{"text": rows[number * len(rows) // count].text} for number in range(count)])


def compare(real: FeatureSet, drawn: FeatureSet) -> dict[str, float | None]:
    rng = np.random.default_rng(0)
    groups = [assign_groups(side.patients, GROUPS, rng) for side in (real, drawn)]
    found = frechet_interval(real.features, drawn.features, *groups)
    return {"frechet_distance": found.value, "ci_low": found.low, "ci_high": found.high}


def write_sheet(folder: Path, path: Path) -> None:
    write_png(path, contact_sheet([row.read() for row in read_rows(folder)[:16]], 8))


def name_of(cell: dict[str, Any]) -> str:
    return "-".join(str(value) for value in cell.values() if value)


if __name__ == "__main__":
    main()
