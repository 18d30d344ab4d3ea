"""LoRA training beside diffusers' own script: images a second, peak memory and loss at the same settings.

    python benchmarks/training_speed.py --script train_text_to_image_lora.py --dataset DATASET \\
        [--python VENV/bin/python] [--base MODEL] [--device cuda --dtype bfloat16] [--steps 30] [--rounds 3]

`--python` is an environment that has what the script needs (datasets, torchvision, tensorboard) and synthcxr as well,
so that both sides share one torch; default: the one that runs this. The sides take turns, `--rounds` times. Speed is
that of the steps after the tenth, free of start, encoding and the last saving, by what each side tells of its steps;
those are told beside it, as the seconds of the whole process. On a machine that computes for others too, images a
second of computing say more than images a second. Memory is the process's on a CPU, the card's on a GPU.
The loss is the mean of all steps with its standard error, over tens of steps of all rounds, each with a seed of its
own: both sides draw their own noise and times.
Results: results/training_speed.json.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from synthcxr.devices import describe, pick
from synthcxr.models.registry import BUNDLED, resolve

RESULT = Path(__file__).parent / "results" / "training_speed.json"
LIMIT = 64
"""Images that both sides train on."""
EVERY = 10
"""Steps between our checkpoints, at which it tells the mean loss since; so many steps warm up and do not count."""
PROGRESS = re.compile(rb"(?:(\d+)/\d+ \[[^\]]*step_loss=|step (\d+): loss )([0-9.eE+-]+)")
PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Told:
    """A step that a process told of: when, the seconds that it had computed until then, the loss."""

    step: int
    at: float
    computed: float
    loss: float


@dataclass(frozen=True)
class Run:
    """One process: its seconds, most memory, and the steps that it told of."""

    seconds: float
    peak_gb: float
    told: list[Told]

    def speeds(self) -> tuple[float, float]:
        """Steps a second, and a second of computing, after the warm-up."""
        counted = [told for told in self.told if told.step >= EVERY]
        first, last = counted[0], counted[-1]
        steps = last.step - first.step
        return steps / (last.at - first.at), steps / (last.computed - first.computed)

    def losses(self) -> list[float]:
        """Means of as many steps each."""
        losses = [told.loss for told in self.told]
        if self.told[0].step == EVERY:  # they are already
            return losses
        return [statistics.mean(losses[start : start + EVERY]) for start in range(0, len(losses), EVERY)]


def main() -> None:
    """Run both sides in turns, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--python", type=Path, default=Path(sys.executable))
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--base", default=str(BUNDLED))
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=PRECISION, default="float32")
    parser.add_argument("--loaders", type=int, default=0, help="Processes that read images for the script.")
    parser.add_argument("--ours", nargs="*", default=[], help="More options for ours, without their dashes.")
    parser.add_argument("--name", default="bundled")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    runs: dict[str, list[Run]] = {"diffusers": [], "synthcxr": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, command in (("diffusers", theirs), ("synthcxr", ours)):
                out = Path(folder) / f"{name}-{number}"
                runs[name].append(run(command(options, out, number), out, options))
                found = side(runs[name][-1:], options.batch_size)
                print(name, json.dumps(found), flush=True)
    sides = {name: side(each, options.batch_size) for name, each in runs.items()}
    line: dict[str, Any] = {
        "base": options.name,
        "device": options.device,
        "dtype": options.dtype,
        "resolution": options.resolution,
        "batch_size": options.batch_size,
        "steps": options.steps,
        "rounds": options.rounds,
        "script_loaders": options.loaders,
        "options_of_ours": options.ours,
        "sides": sides,
        **{
            name: round(sides["synthcxr"][key] / sides["diffusers"][key], 3)
            for name, key in (
                ("ratio", "images_per_second"),
                ("ratio_of_computing", "images_per_second_of_computing"),
                ("memory_ratio", "peak_gb"),
            )
        },
        "load_before": round(load_before, 2),
        "machine": describe(pick(options.device, options.dtype)),
    }
    keep(line)
    print(json.dumps(line, indent=2))


def keep(line: dict[str, Any]) -> None:
    """Put a line with the others, in the place of one that measured the same."""
    same = ("base", "device", "dtype", "batch_size", "script_loaders", "options_of_ours")
    held = json.loads(RESULT.read_text())["lines"] if RESULT.exists() else []
    lines = [other for other in held if any(other[key] != line[key] for key in same)] + [line]
    RESULT.write_text(json.dumps({"benchmark": "training_speed", "lines": lines}, indent=2) + "\n")


def theirs(options: argparse.Namespace, out: Path, seed: int) -> list[str]:
    """The script of diffusers with the options that both share."""
    base = resolve(options.base).folder
    words = [options.script, "--pretrained_model_name_or_path", base, "--train_data_dir", options.dataset / "train",
             "--caption_column", "text", "--resolution", options.resolution, "--train_batch_size", options.batch_size,
             "--max_train_samples", LIMIT, "--mixed_precision", PRECISION[options.dtype],
             "--dataloader_num_workers", options.loaders,
             "--max_train_steps", options.steps, "--rank", 4, "--learning_rate", 1e-4, "--lr_scheduler", "constant",
             "--checkpointing_steps", 10**6, "--seed", seed, "--output_dir", out]  # fmt: skip
    return [str(options.python), *map(str, words)]


def ours(options: argparse.Namespace, out: Path, seed: int) -> list[str]:
    """The same training here; prompts are never dropped, as there."""
    words = [options.dataset, "--limit", LIMIT, "--base", options.base, "--device", options.device,
             "--dtype", options.dtype, "--batch-size", options.batch_size, "--steps", options.steps, "--rank", 4,
             "--learning-rate", 1e-4, "--prompt-dropout", 0, "--sample-every", 0, "--sample-steps", 1,
             "--checkpoint-every", EVERY, "--seed", seed, "--out", out,
             *(f"--{option}" for option in options.ours)]  # fmt: skip
    return [str(options.python), "-m", "synthcxr.cli", "train", *map(str, words)]


def run(command: list[str], out: Path, options: argparse.Namespace) -> Run:
    """Run a command to its end. Raises RuntimeError with what it said where it fails."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "hub")}
    began = time.monotonic()
    with watching_the_card(options.device) as most:
        process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=environment)  # fmt: skip
        text, told = listen(process)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise RuntimeError(f"{' '.join(command)}\n{text[-3000:].decode(errors='replace')}")
    peak = most[0] if options.device == "cuda" else usage.ru_maxrss * 1024
    return Run(seconds, peak / 1e9, told)


def listen(process: "subprocess.Popen[bytes]") -> tuple[bytes, list[Told]]:
    """All that a process says, and each step when it was first told of."""
    assert process.stdout
    text, seen, watched = b"", {}, psutil.Process(process.pid)
    while piece := os.read(process.stdout.fileno(), 65536):
        text += piece
        for bar, line, loss in PROGRESS.findall(text[-len(piece) - 200 :]):
            step = int(bar or line)
            if step not in seen:
                computed = sum(watched.cpu_times()[:2])
                seen[step] = Told(step, time.monotonic(), computed, float(loss))
    return text, [seen[step] for step in sorted(seen)]


@contextmanager
def watching_the_card(device: str) -> Iterator[list[int]]:
    """The most memory that was taken on a GPU meanwhile, in bytes, beyond what was taken before."""
    most, over = [0], threading.Event()
    if device != "cuda":
        yield most
        return
    before = memory_of_card()

    def watch() -> None:
        while not over.wait(WATCH_SECONDS):
            most[0] = max(most[0], memory_of_card() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def memory_of_card() -> int:
    """Bytes that are taken on the first GPU, by whomever."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(asked, capture_output=True, check=True, text=True).stdout) * 2**20


def side(runs: list[Run], batch_size: int) -> dict[str, Any]:
    """The median round of a side, and its loss over all rounds."""
    losses = [loss for each in runs for loss in each.losses()]
    speeds, computed = (
        [speed * batch_size for speed in kind] for kind in zip(*(r.speeds() for r in runs), strict=True)
    )
    return {
        "images_per_second": round(statistics.median(speeds), 3),
        "rounds": [round(speed, 3) for speed in speeds],
        "images_per_second_of_computing": round(statistics.median(computed), 3),
        "whole_seconds": round(statistics.median(each.seconds for each in runs), 1),
        "peak_gb": round(max(each.peak_gb for each in runs), 3),
        "mean_loss": round(statistics.mean(losses), 4),
        "standard_error": round(statistics.stdev(losses) / len(losses) ** 0.5, 4) if len(losses) > 1 else None,
    }


if __name__ == "__main__":
    main()
