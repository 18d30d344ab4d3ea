"""Our presets beside the plain diffusers loop: same model, prompt and seeds, in one process, turn by turn.

    python benchmarks/generation.py [--rounds 3] [--count 16] [--plain-count 2] [--skip-commands] [--workers 2]

*plain* is what a script does: `StableDiffusionPipeline` as loaded, one image a call, 75 steps, guidance 4.
*plain-batched* is the same with our batch size, so that one sees what is batching and what is the rest. The presets
draw `--count` images, *preview* by the few-step student; *original-bfloat16* is the first of them in the second one's
number format. The order turns from round to round, and ratios are taken round by round; loading is left out. `original`
and *original-bfloat16* are compared with *plain* pixel by pixel, over all images that *plain* draws.

Before that whole commands, each a process of its own: the first image from a cold start, turn by turn, and the largest
memory at two counts, which differ by a factor of eight; and one image by a model that is loaded and has drawn before.
With `--workers` the preset `original` is also drawn by that many processes, against one process, start included. The
result is printed and kept in ``benchmarks/results/``.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthcxr.config import GenerateConfig
from synthcxr.devices import describe, pick
from synthcxr.generation.drawing import Sampling
from synthcxr.generation.sampler import Request, draw
from synthcxr.images import Grey
from synthcxr.models.quiet import quiet
from synthcxr.models.registry import BUNDLED, Model, load
from synthcxr.seeds import row_seed
from synthcxr.store import write_json

PROMPT = "PA chest X-ray of a 60-year-old woman, no finding."
RESULTS = Path(__file__).parent / "results" / "generation.json"
PRESETS = ("original", "fast", "preview")
QUICK = ("fast", "preview")
HALF = "original-bfloat16"
COLD_ROUNDS = 3
Side = Callable[[list[Request]], Grey]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=16, help="Images a round of each preset.")
    parser.add_argument("--plain-count", type=int, default=2, help="Images a round of the plain loop.")
    parser.add_argument("--skip-batched", action="store_true", help="Leave plain-batched out.")
    parser.add_argument("--skip-commands", action="store_true", help="Leave the whole commands out.")
    parser.add_argument("--workers", type=int, default=1, help="Also draw `original` with so many processes.")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    quiet()
    from diffusers import DiffusionPipeline

    # Before anything is loaded here: a new process counts the memory of the one that started it as its own.
    found = {} if options.skip_commands else {"commands": commands(options.workers)}
    pipeline = DiffusionPipeline.from_pretrained(BUNDLED, torch_dtype=torch.float32)
    sides: dict[str, tuple[Side, int]] = {"plain": (plain(pipeline, 1), options.plain_count)}
    if not options.skip_batched:
        sides["plain-batched"] = (plain(pipeline, 8), 8)
    sides |= {name: (ours(name), options.count) for name in PRESETS}
    sides[HALF] = (ours("original", "bfloat16"), options.count)
    for side, _ in sides.values():
        side(requests(1))  # warm
    result = {"machine": describe(pick("cpu")), **compare(sides, options.rounds), **found}
    write_json(options.out, result)
    tell(result)


# --- sides in one process ---------------------------------------------------------------------------------


def requests(count: int) -> list[Request]:
    return [Request(PROMPT, "", row_seed(0, index)) for index in range(count)]


def plain(pipeline: Any, batch_size: int, steps: int = 75) -> Side:
    pipeline.set_progress_bar_config(disable=True)

    def side(asked: list[Request]) -> Grey:
        drawn: list[Any] = []
        for start in range(0, len(asked), batch_size):
            block = asked[start : start + batch_size]
            generator = [torch.Generator().manual_seed(request.seed) for request in block]
            drawn += list(
                pipeline(
                    [request.prompt for request in block],
                    num_inference_steps=steps,
                    guidance_scale=4.0,
                    generator=generator,
                    output_type="np",
                ).images
            )
        return np.stack([np.rint(image.mean(-1) * 255) for image in drawn]).astype(np.uint8)

    return side


def ours(preset: str, dtype: str | None = None) -> Side:
    asked = {"preset": preset, "prompt": PROMPT, "out": "out"} | ({"dtype": dtype} if dtype else {})
    config = GenerateConfig.model_validate(asked)
    return batched(load(config.model, pick("cpu", config.dtype)), Sampling.of(config), config.batch_size)


def batched(model: Model, how: Sampling, size: int) -> Side:
    def side(asked: list[Request]) -> Grey:
        blocks = [asked[start : start + size] for start in range(0, len(asked), size)]
        return np.concatenate([draw(model, block, **asdict(how)) for block in blocks])

    return side


def compare(sides: dict[str, tuple[Side, int]], rounds: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in sides}  # an image
    drawn: dict[str, Grey] = {}
    for number in range(rounds):
        turn = number % len(sides)
        for name in [*list(sides)[turn:], *list(sides)[:turn]]:
            side, count = sides[name]
            start = time.perf_counter()
            drawn[name] = side(requests(count))
            seconds[name].append(round((time.perf_counter() - start) / count, 4))
    return {
        "seconds_an_image": seconds,
        "times_as_fast_as_plain": {name: ratios(seconds["plain"], seconds[name]) for name in sides},
        "apart_from_plain": {name: apart(drawn["plain"], drawn[name]) for name in ("original", HALF)},
    }


def apart(plain: Grey, ours: Grey) -> dict[str, float]:
    """Grey levels between the images that both sides drew."""
    images = min(len(plain), len(ours))
    levels = np.abs(plain[:images].astype(int) - ours[:images])
    return {"images": images, "most": int(levels.max()), "share_of_pixels": round(float((levels > 0).mean()), 4)}


def ratios(plain_seconds: list[float], our_seconds: list[float]) -> dict[str, float]:
    found = [one / other for one, other in zip(plain_seconds, our_seconds, strict=True)]
    return {"median": round(statistics.median(found), 2), "low": round(min(found), 2), "high": round(max(found), 2)}


# --- whole commands ---------------------------------------------------------------------------------------


def commands(workers: int) -> dict[str, Any]:
    cold: dict[str, list[dict[str, float]]] = {name: [] for name in QUICK}
    for _ in range(COLD_ROUNDS):
        for name in QUICK:
            cold[name].append(generate("--preset", name, "--count", 1))
    result: dict[str, Any] = {
        "imports": run("-c", "import synthcxr.generation.generate, torch, diffusers.pipelines.stable_diffusion"),
        "first_image": cold,
        "memory": {str(count): generate("--preset", "preview", "--count", count) for count in (32, 256)},
    }
    if workers > 1:
        result["workers"] = {
            str(count): generate("--preset", "original", "--count", 32, "--workers", count) for count in (1, workers)
        }
    result["first_image_warm_seconds"] = {name: warm(name) for name in QUICK}
    return result


def warm(preset: str, times: int = 5) -> list[float]:
    """Seconds of one image by a loaded model, its first one left out."""
    side, seconds = ours(preset), []
    for _ in range(times + 1):
        start = time.perf_counter()
        side(requests(1))
        seconds.append(round(time.perf_counter() - start, 3))
    return seconds[1:]


def generate(*arguments: object) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        call = ["generate", "--prompt", PROMPT, "--out", f"{folder}/set", *map(str, arguments)]
        return run("-m", "synthcxr.cli", *call)


def run(*arguments: str) -> dict[str, float]:
    """Wall seconds, processor seconds and largest memory of a Python process and those that it started."""
    start = time.perf_counter()
    pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], os.environ)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{arguments} ended with status {status}")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 2),
        "largest_memory_mib": round(used.ru_maxrss / 1024, 1),
    }


def tell(result: dict[str, Any]) -> None:
    for name, ratio in result["times_as_fast_as_plain"].items():
        seconds = statistics.median(result["seconds_an_image"][name])
        print(
            f"{name:17} {seconds:8.3f} s an image, {ratio['median']:6.2f} times as fast as plain "
            f"({ratio['low']:.2f} to {ratio['high']:.2f})"
        )
    for name, found in result["apart_from_plain"].items():
        print(f"{name} and plain are at most {found['most']} grey levels apart, in {found['images']} images")
    for name, value in result.get("commands", {}).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
