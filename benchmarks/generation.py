"""Our generation beside the plain diffusers loop: same model, prompts, seeds, steps, guidance, in one process.

    python benchmarks/generation.py [--count 8] [--steps 30] [--rounds 3]

*plain* is what a script does: `StableDiffusionPipeline`, one image a call, as loaded. *plain-batched* is the same with
our batch size, so that one sees what is batching and what is the rest. All sides draw the same images (checked, in grey
levels); their order turns from round to round, and ratios are taken round by round. Loading is left out. The result is
printed and kept in ``benchmarks/results/``.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthcxr.devices import describe, pick
from synthcxr.generation.sampler import Request, draw
from synthcxr.images import Grey
from synthcxr.models.quiet import quiet
from synthcxr.models.registry import BUNDLED, load
from synthcxr.seeds import row_seed
from synthcxr.store import write_json

PROMPT = "PA chest X-ray of a 60-year-old woman, no finding."
RESULTS = Path(__file__).parent / "results" / "generation.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    quiet()
    requests = [Request(PROMPT, "", row_seed(0, index)) for index in range(options.count)]
    sides: dict[str, Any] = {
        "plain": Plain(options, 1),
        "plain-batched": Plain(options, options.batch_size),
        "synthcxr": Ours(options),
    }
    drawn = {name: side(requests[: options.batch_size]).astype(int) for name, side in sides.items()}  # warms them up
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        order = [*list(sides)[number % 3 :], *list(sides)[: number % 3]]
        rounds.append({name: seconds_of(sides[name], requests) for name in order})
    result: dict[str, Any] = {
        "images": options.count,
        "steps": options.steps,
        "guidance": options.guidance,
        "batch_size": options.batch_size,
        "seconds": rounds,
        "machine": describe(pick("cpu")),
        "sides": {name: compare(name, rounds, drawn, options.count) for name in sides},
    }
    write_json(RESULTS, result)
    for name, row in result["sides"].items():
        print(
            f"{name:14} {row['images_per_second']:.3f} images/s; synthcxr is {row['ratio']['median']:.2f} times "
            f"as fast ({row['ratio']['low']:.2f} to {row['ratio']['high']:.2f}), "
            f"its images at most {row['grey_levels_apart']} grey levels apart"
        )


def compare(name: str, rounds: list[dict[str, float]], drawn: dict[str, Any], count: int) -> dict[str, Any]:
    ratios = [seconds[name] / seconds["synthcxr"] for seconds in rounds]
    return {
        "images_per_second": round(count / statistics.median(seconds[name] for seconds in rounds), 4),
        "ratio": {"median": round(statistics.median(ratios), 3), "low": min(ratios), "high": max(ratios)},
        "grey_levels_apart": int(np.abs(drawn[name] - drawn["synthcxr"]).max()),
    }


def seconds_of(side: Any, requests: list[Request]) -> float:
    start = time.perf_counter()
    side(requests)
    return time.perf_counter() - start


class Plain:
    def __init__(self, options: argparse.Namespace, batch_size: int) -> None:
        from diffusers import DiffusionPipeline

        self.options, self.batch_size = options, batch_size
        self.pipeline = DiffusionPipeline.from_pretrained(BUNDLED, torch_dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, requests: list[Request]) -> Grey:
        drawn: list[Any] = []
        for start in range(0, len(requests), self.batch_size):
            block = requests[start : start + self.batch_size]
            drawn += list(
                self.pipeline(
                    [request.prompt for request in block],
                    num_inference_steps=self.options.steps,
                    guidance_scale=self.options.guidance,
                    generator=[torch.Generator().manual_seed(request.seed) for request in block],
                    output_type="np",
                ).images
            )
        return np.stack([np.rint(image.mean(-1) * 255) for image in drawn]).astype(np.uint8)


class Ours:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.model = options, load("bundled", pick("cpu"))

    def __call__(self, requests: list[Request]) -> Grey:
        size = self.options.batch_size
        blocks = [requests[start : start + size] for start in range(0, len(requests), size)]
        return np.concatenate(
            [draw(self.model, block, steps=self.options.steps, guidance=self.options.guidance) for block in blocks]
        )


if __name__ == "__main__":
    main()
