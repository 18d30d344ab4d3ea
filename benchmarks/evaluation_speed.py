"""A whole FID beside pytorch-fid's, and precision, recall, density and coverage beside prdc's: time and memory.

Run it from the repository where both sides are installed, so that they share one torch (pytorch-fid needs torchvision,
which must not lie beside this package otherwise)::

    pip install torch==2.14.1 torchvision==0.29.1 pytorch-fid==0.3.0 prdc==0.2 && pip install .
    python benchmarks/evaluation_speed.py --out benchmarks/results/evaluation_speed.json

Both sides take the same images of 256 px, the same random weights (time does not depend on them), the same cores, and
pytorch-fid's resizing. Each measurement is a process of its own; they take turns, and the fastest of each is kept.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
NEIGHBOURS = 5


def processor_seconds() -> float:
    """Of this process and those of its processes that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def highest_memory() -> int:
    """Bytes that this process held at most; `ru_maxrss` would count the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def fid_of_pytorch_fid(folder: Path) -> dict[str, float]:
    """As its command line does: batches of 50, a process a core that reads."""
    import pytorch_fid.inception as reference  # type: ignore[import-not-found, import-untyped, unused-ignore]
    import torch
    from pytorch_fid import fid_score  # type: ignore[import-not-found, import-untyped, unused-ignore]

    reference.load_state_dict_from_url = lambda *_, **__: torch.load(folder / "weights.pth", weights_only=True)
    plain, found = fid_score.calculate_frechet_distance, dict[str, float]()

    def timed(*arguments: Any) -> Any:
        found["features_cpu_s"] = processor_seconds()
        begun = time.perf_counter()
        value = plain(*arguments)
        found["distance_s"] = time.perf_counter() - begun
        return value

    fid_score.calculate_frechet_distance = timed
    cores = len(os.sched_getaffinity(0))
    paths = [str(folder / side) for side in ("one", "two")]
    found["fid"] = fid_score.calculate_fid_given_paths(paths, 50, "cpu", 2048, cores)
    return found


def fid_of_synthcxr(folder: Path) -> dict[str, float]:
    """Nothing in the cache at first; then the same once more, with everything in it."""
    from synthcxr.evaluation.cache import extract_rows
    from synthcxr.evaluation.extractors.inception import open_inception
    from synthcxr.evaluation.frechet import frechet_distance, moments
    from synthcxr.imagefolder import read_rows

    def once() -> dict[str, float]:
        extractor = open_inception(folder / "weights.pth", "legacy_pytorch")
        sides = [extract_rows(read_rows(folder / side), extractor, folder=cache).vectors for side in ("one", "two")]
        processor, begun = processor_seconds(), time.perf_counter()
        value = frechet_distance(*map(moments, sides))
        return {"fid": value, "features_cpu_s": processor, "distance_s": time.perf_counter() - begun}

    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        found = once()
        begun = time.perf_counter()
        assert once()["fid"] == found["fid"]
        return found | {"again_s": time.perf_counter() - begun}


def prdc_of_prdc(folder: Path) -> dict[str, float]:
    from prdc import compute_prdc  # type: ignore[import-not-found, import-untyped, unused-ignore]

    real, synthetic = (np.load(folder / f"{side}.npy") for side in ("real", "synthetic"))
    return {key: float(value) for key, value in compute_prdc(real, synthetic, NEIGHBOURS).items()}


def prdc_of_synthcxr(folder: Path) -> dict[str, float]:
    from synthcxr.evaluation.prdc import prdc

    real, synthetic = (np.load(folder / f"{side}.npy") for side in ("real", "synthetic"))
    return dict(prdc(real, synthetic, NEIGHBOURS))


WORK: dict[str, Callable[[Path], dict[str, float]]] = {
    "fid_pytorch_fid": fid_of_pytorch_fid,
    "fid_synthcxr": fid_of_synthcxr,
    "prdc_prdc": prdc_of_prdc,
    "prdc_synthcxr": prdc_of_synthcxr,
}


def measure(name: str, folder: Path) -> dict[str, float]:
    """One piece of work in a process of its own: wall and processor seconds, and its highest memory."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, __file__, "--work", name, "--folder", str(folder)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    wall -= found.get("again_s", 0.0)
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), **found}


def take_turns(names: tuple[str, ...], folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """The fastest of each, in turns, so that whatever else the machine does falls on both."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            runs[name].append(measure(name, folder))
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    return {name: min(found, key=lambda run: run["wall_s"]) for name, found in runs.items()}


def write_weights(path: Path) -> None:
    """Random weights in the published layout."""
    import torch
    from tests.evaluation.fixtures.parity_inputs import random_state

    from synthcxr.evaluation.extractors.inception import build_network

    empty = build_network().state_dict()
    shapes = {key: tuple(value.shape) for key, value in empty.items() if "num_batches" not in key}
    state = {key: torch.from_numpy(value) for key, value in random_state(shapes).items()}
    last = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(empty | state | last, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=256, help="images a side")
    parser.add_argument("--points", type=int, default=20_000, help="features a side for precision and the rest")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", choices=("fid", "prdc"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        found = WORK[options.work](options.folder)
        print(json.dumps(found | {"memory_gb": round(highest_memory() / 1e9, 2)}))
        return
    threads = os.environ.get("OMP_NUM_THREADS")
    result: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "threads": threads, "images": options.images}
    result |= {"points": options.points, "dimension": options.dimension}
    sys.path.insert(0, str(ROOT / "src"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "prdc":
            from tests.evaluation.fixtures.parity_inputs import write_images

            write_weights(folder / "weights.pth")
            for seed, side in enumerate(("one", "two")):
                write_images(folder / side, seed, options.images, 256, 8)
            fid = take_turns(("fid_pytorch_fid", "fid_synthcxr"), folder, options.repeats)
            ours, theirs = fid["fid_synthcxr"], fid["fid_pytorch_fid"]
            result |= fid | {"fid_times_faster": round(theirs["wall_s"] / ours["wall_s"], 2)}
            result["features_times_less_processor"] = round(theirs["features_cpu_s"] / ours["features_cpu_s"], 2)
            result["fid_relative_difference"] = abs(ours["fid"] / theirs["fid"] - 1)
        if options.only != "fid":
            rng = np.random.default_rng(0)
            for side, shift in (("real", 0.0), ("synthetic", 0.1)):
                values = rng.standard_normal((options.points, options.dimension)) + shift
                np.save(folder / f"{side}.npy", values)
            result |= take_turns(("prdc_prdc", "prdc_synthcxr"), folder, options.repeats)
            ours, theirs = result["prdc_synthcxr"], result["prdc_prdc"]
            result["prdc_share_of_time"] = round(ours["wall_s"] / theirs["wall_s"], 3)
            result["prdc_share_of_memory"] = round(ours["memory_gb"] / theirs["memory_gb"], 3)
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
