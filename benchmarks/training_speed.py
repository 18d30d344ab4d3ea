"""LoRA training beside diffusers' own script: images a second, peak memory and loss at the same settings.

    python benchmarks/training_speed.py --script train_text_to_image_lora.py --python VENV/bin/python \\
        --dataset DATASET [--base MODEL] [--steps 4 24]

`--python` is an environment that has what the script needs (torchvision, tensorboard) and synthcxr as well, so that
both sides share one torch. Each side is run with few and with many steps, in turns; the difference of the two times is
what its steps took, free of start, encoding and saving. Those are told beside it, as the whole time of the longer run.
Results: results/training_speed.json.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthcxr.devices import describe, pick
from synthcxr.models.registry import BUNDLED, resolve
from synthcxr.store import read_jsonl

RESULT = Path(__file__).parent / "results" / "training_speed.json"
LIMIT = 64
"""Images that both sides train on: enough for the steps that are timed."""
LOSS = re.compile(r"step_loss=([0-9.eE+-]+)")


@dataclass(frozen=True)
class Run:
    """One process: seconds, most memory, the losses it told."""

    seconds: float
    peak_gb: float
    losses: list[float]


@dataclass(frozen=True)
class Side:
    """What a side's two runs say."""

    images_per_second: float
    whole_seconds: float
    peak_gb: float
    mean_loss: float


def main() -> None:
    """Run both sides in turns, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--base", default=str(BUNDLED))
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs=2, default=(4, 24))
    parser.add_argument("--name", default="bundled")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[Run]] = {"diffusers": [], "synthcxr": []}
        for steps in options.steps:
            for name, command in (("diffusers", theirs), ("synthcxr", ours)):
                out = Path(folder) / f"{name}-{steps}"
                runs[name].append(run(command(options, steps, out), out))
                print(name, steps, json.dumps({**asdict(runs[name][-1]), "losses": "…"}), flush=True)
    more = options.steps[1] - options.steps[0]
    sides = {name: side(few, many, more * options.batch_size) for name, (few, many) in runs.items()}
    found: dict[str, Any] = {
        "base": options.name,
        "resolution": options.resolution,
        "batch_size": options.batch_size,
        "steps": list(options.steps),
        "sides": {name: asdict(each) for name, each in sides.items()},
        "ratio": sides["synthcxr"].images_per_second / sides["diffusers"].images_per_second,
        "memory_ratio": sides["synthcxr"].peak_gb / sides["diffusers"].peak_gb,
        "load_average": os.getloadavg()[1],
        "machine": describe(pick("cpu")),
    }
    held = json.loads(RESULT.read_text())["lines"] if RESULT.exists() else []
    lines = [line for line in held if line["base"] != options.name] + [found]
    RESULT.write_text(json.dumps({"benchmark": "training_speed", "lines": lines}, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def theirs(options: argparse.Namespace, steps: int, out: Path) -> list[str]:
    """The script of diffusers with the options that both share."""
    base = resolve(options.base).folder
    words = [options.script, "--pretrained_model_name_or_path", base, "--train_data_dir", options.dataset / "train",
             "--caption_column", "text", "--resolution", options.resolution, "--train_batch_size", options.batch_size,
             "--max_train_samples", LIMIT,
             "--max_train_steps", steps, "--rank", 4, "--learning_rate", 1e-4, "--lr_scheduler", "constant",
             "--checkpointing_steps", 10**6, "--seed", 0, "--output_dir", out]  # fmt: skip
    return [str(options.python), *map(str, words)]


def ours(options: argparse.Namespace, steps: int, out: Path) -> list[str]:
    """The same training here; prompts are never dropped, as there."""
    words = [options.dataset, "--limit", LIMIT, "--base", options.base,
             "--batch-size", options.batch_size, "--steps", steps, "--rank", 4,
             "--learning-rate", 1e-4, "--prompt-dropout", 0, "--sample-every", 0, "--sample-steps", 1,
             "--checkpoint-every", 10**6, "--out", out]  # fmt: skip
    return [str(options.python), "-m", "synthcxr.cli", "train", *map(str, words)]


def run(command: list[str], out: Path) -> Run:
    """Run a command to its end. Raises RuntimeError with what it said where it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "hub")}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        said.seek(0)
        text = said.read()
    if status:
        raise RuntimeError(f"{' '.join(command)}\n{text[-3000:]}")
    log = out / "log.jsonl"
    losses = (
        [row["loss"] for row in read_jsonl(log)] if log.exists() else [float(found) for found in LOSS.findall(text)]
    )
    return Run(seconds, usage.ru_maxrss * 1024 / 1e9, losses)


def side(few: Run, many: Run, images: int) -> Side:
    """The steps that the longer run has more, and its whole."""
    return Side(
        images_per_second=images / (many.seconds - few.seconds),
        whole_seconds=many.seconds,
        peak_gb=many.peak_gb,
        mean_loss=sum(many.losses) / len(many.losses),
    )


if __name__ == "__main__":
    main()
