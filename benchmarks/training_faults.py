"""Does a training that is killed over and over end as one that was not? 200 kills at random moments of small runs.

Run ``python benchmarks/training_faults.py [--kills 200]``: it prints how many runs it took and what differed (nothing
should), and writes results/training_faults.json. Each process is forked from one that has the libraries loaded, so
that kills fall on training, checkpoints and the writing of results, not on imports. A run is killed at random moments
until it is done; then the next one begins, until all kills are spent.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from synthcxr import TrainConfig, train
from synthcxr.models import layout
from synthcxr.store import Json, read_jsonl, read_manifest, verify

STEPS = 24
CLOCKED = ("log.jsonl", "report.html")
"""Files that say how long it took."""
LOOK_EVERY = 0.003
"""Seconds between looks at how far a process is."""
RESULT = Path(__file__).parent / "results" / "training_faults.json"


def main() -> None:
    """Kill, go on, compare, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--dataset", type=Path, help="A prepared dataset; default: made-up images.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layout.save(layout.build("tiny"), folder / "tiny")
        dataset = options.dataset or made_up(folder)
        begin(dataset, folder, "first")  # here, so that those below find every library loaded
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        in_a_process(partial(begin, dataset, folder, "whole"), None)
        seconds = computed(resource.getrusage(resource.RUSAGE_CHILDREN)) - computed(before)
        for found in rounds(options.kills, dataset, folder, seconds):
            print(json.dumps(found), flush=True)
            RESULT.write_text(json.dumps({"benchmark": "training_faults", **found}, indent=2) + "\n")


def made_up(folder: Path) -> Path:
    """A dataset of small images that nobody took."""
    import numpy as np

    from synthcxr import prepare
    from synthcxr.config import PrepareConfig
    from synthcxr.images import write_png

    rng = np.random.default_rng(0)
    for number in range(24):
        write_png(folder / "in" / f"{number:02d}.png", rng.integers(0, 255, (64, 64)).astype(np.uint8))
    out: Path = prepare(
        PrepareConfig(source_path=folder / "in", out=folder / "dataset", resolution=64, ids="keep", skip_checks=["all"])
    )
    return out


def begin(dataset: Path, folder: Path, name: str) -> None:
    """Begin or go on with a small LoRA run that looks at held-out patients on the way."""
    train(
        TrainConfig(
            datasets=[dataset], base=str(folder / "tiny"), out=folder / name, steps=STEPS, batch_size=4,
            checkpoint_every=3, sample_every=8, sample_steps=1, validate_every=8, latent_variants=2,
        )
    )  # fmt: skip


def in_a_process(work: Callable[[], None], kill_after: float | None) -> bool:
    """Fork a process for the work, killed once it computed for so many seconds; whether it came to its end.

    Raises RuntimeError where it failed by itself.
    """
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        process = psutil.Process(child)
        while process.status() != psutil.STATUS_ZOMBIE and sum(process.cpu_times()[:2]) < kill_after:
            time.sleep(LOOK_EVERY)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"A run ended by itself, with {code}.")
    return code == 0


def computed(usage: resource.struct_rusage) -> float:
    """Seconds of computing, which do not depend on what else the machine does."""
    return usage.ru_utime + usage.ru_stime


def rounds(kills: int, dataset: Path, folder: Path, seconds: float) -> Iterator[Json]:
    """Run after run until the kills are spent; after each, what was found so far."""
    rng, spent, runs, differing, at = random.Random(0), 0, 0, [], []
    while spent < kills:
        name = f"run-{runs}"
        work = partial(begin, dataset, folder, name)
        while spent < kills:
            done = in_a_process(work, rng.uniform(0, 0.8) * seconds)
            if done:
                break
            spent += 1
            at.append(newest(folder / name))
        in_a_process(work, None)
        runs += 1
        differing += [f"{name}: {what}" for what in differences(folder / "whole", folder / name)]
        yield {
            "kills": spent,
            "runs": runs,
            "steps_a_run": STEPS,
            "computed_seconds_a_run": round(seconds, 2),
            "killed_at_checkpoint": {step: at.count(step) for step in sorted(set(at))},
            "differences": differing,
        }
        shutil.rmtree(folder / name)


def newest(run: Path) -> int:
    """Step of a run's newest checkpoint; the last step where it is done."""
    if (run / "run.json").exists():
        return STEPS
    steps = [int(path.stem.removeprefix("checkpoint-")) for path in run.glob(".work/checkpoint-*.pt")]
    return max(steps, default=0)


def differences(whole: Path, killed: Path) -> list[str]:
    """What a killed run has otherwise than the whole one: files, losses, counted steps."""
    if not (killed / "run.json").exists():
        return ["it did not come to its end"]
    ours, theirs = read_manifest(whole), read_manifest(killed)
    names = ours["files"].keys() | theirs["files"].keys()
    found = [n for n in sorted(names) if n not in CLOCKED and ours["files"].get(n) != theirs["files"].get(n)]
    logs = [[drop(row) for row in read_jsonl(run / "log.jsonl")] for run in (whole, killed)]
    found += [] if logs[0] == logs[1] else ["log.jsonl"]
    found += [] if ours["counts"] == theirs["counts"] else ["counts"]
    return found + verify(killed)


def drop(row: Json) -> dict[str, Any]:
    """A line of the log without what a clock says."""
    return {key: value for key, value in row.items() if key != "images_per_second"}


if __name__ == "__main__":
    main()
