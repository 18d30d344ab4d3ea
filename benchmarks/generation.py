"""Our generation beside the plain diffusers loop: same model, prompts, seeds, steps, guidance, in one process.

    python benchmarks/generation.py [--count 16] [--steps 30] [--rounds 3]

The plain loop is what a script does: `StableDiffusionPipeline`, one image a call, as loaded. Both sides draw the
same images (checked, in grey levels); the order of the sides changes from round to round, and the ratio is taken
round by round. Loading is left out of both. The result is printed and kept in ``benchmarks/results/``.
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
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    quiet()
    requests = [Request(PROMPT, "", row_seed(0, index)) for index in range(options.count)]
    sides: dict[str, Any] = {"plain": Plain(options), "synthcxr": Ours(options)}
    drawn = {name: side(requests[: options.batch_size]) for name, side in sides.items()}  # warms both up
    worst = int(np.abs(drawn["plain"].astype(int) - drawn["synthcxr"].astype(int)).max())
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        rounds.append({name: seconds_of(sides[name], requests) for name in order})
    ratios = [seconds["plain"] / seconds["synthcxr"] for seconds in rounds]
    result: dict[str, Any] = {
        "images": options.count,
        "steps": options.steps,
        "guidance": options.guidance,
        "batch_size": options.batch_size,
        "seconds": rounds,
        "images_per_second": {
            name: options.count / statistics.median(seconds[name] for seconds in rounds) for name in sides
        },
        "times_faster": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "largest_difference_in_grey_levels": worst,
        "machine": describe(pick("cpu")),
    }
    write_json(RESULTS, result)
    print(f"plain diffusers  {result['images_per_second']['plain']:.3f} images/s")
    print(f"synthcxr         {result['images_per_second']['synthcxr']:.3f} images/s")
    print(
        f"{statistics.median(ratios):.2f} times faster ({min(ratios):.2f} to {max(ratios):.2f} over "
        f"{options.rounds} rounds), images at most {worst} grey levels apart"
    )


def seconds_of(side: Any, requests: list[Request]) -> float:
    start = time.perf_counter()
    side(requests)
    return time.perf_counter() - start


class Plain:
    def __init__(self, options: argparse.Namespace) -> None:
        from diffusers import DiffusionPipeline

        self.options = options
        self.pipeline = DiffusionPipeline.from_pretrained(BUNDLED, torch_dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, requests: list[Request]) -> Grey:
        images = [
            self.pipeline(
                request.prompt,
                num_inference_steps=self.options.steps,
                guidance_scale=self.options.guidance,
                generator=torch.Generator().manual_seed(request.seed),
                output_type="np",
            ).images[0]
            for request in requests
        ]
        return np.stack([np.rint(image.mean(-1) * 255) for image in images]).astype(np.uint8)


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
