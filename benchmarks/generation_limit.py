"""Images a second at the original settings (75 steps, guidance 4), and the share of the device's arithmetic limit.

    python benchmarks/generation_limit.py [--device cuda] [--dtypes bfloat16 float16] [--rounds 3] [--plain-count 1]

Two models: the bundled one at 256 px, and `layout:sd21` (Stable Diffusion 2.1's layout, random weights) at 512 px. Of
each, the plain diffusers pipeline as a script loads it, one image a call, against ours at two batch sizes, one batch a
round, same number format, turn by turn in one process. Operations are those of an image's 150 passes of the denoiser
and one of the decoder, counted on the same networks without memory. The limit is the fastest of several large matrix
products on the same device, in the same format, before and after. Memory, of GPUs only, is the most that torch held
there in a side's last round, without the other side's weights. Results are kept in ``benchmarks/results/``, a file a
kind of device, after each model and format.
"""

import argparse
import os
import statistics
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arithmetic import count_operations, matmul_limit, peak_memory, seconds_of

from generation import RESULTS, Side, batched, plain, ratios, requests
from synthcxr.config import GenerateConfig
from synthcxr.devices import Compute, describe, pick, release_memory
from synthcxr.generation.drawing import Sampling
from synthcxr.models import layout
from synthcxr.models.families.base import NotFiniteError
from synthcxr.models.quiet import quiet
from synthcxr.models.registry import BUNDLED, Model, Reference, place
from synthcxr.store import write_json

BATCHES = {"bundled": (8, 64), "layout:sd21": (8, 16)}
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    parser.add_argument("--models", nargs="+", default=list(BATCHES), help="bundled, or layout:NAME.")
    parser.add_argument("--batch-sizes", nargs="+", type=int, help="Instead of the two of each model.")
    parser.add_argument("--steps", type=int, default=75)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-count", type=int, default=1, help="Images a round of the plain loop.")
    parser.add_argument("--out", type=Path, help="File of the result.")
    options = parser.parse_args()
    quiet()
    device = pick(options.device).device.type
    out = options.out or RESULTS.with_name(f"generation-{device}.json")
    load_before, runs = round(os.getloadavg()[0], 2), []
    for name in options.models:
        for dtype in options.dtypes:
            runs.append(measure(name, pick(device, dtype), options))
            tell(runs[-1])
            write_json(out, {"machine": describe(pick(device)), "load_before": load_before, "runs": runs})


def measure(name: str, compute: Compute, options: argparse.Namespace) -> Result:
    pipeline = pipeline_of(name, compute)
    model = place(Model(Reference(name, ()), deepcopy(pipeline), compute, ""))
    sizes = options.batch_sizes or BATCHES.get(name, (8, 16))
    counts = {"plain": options.plain_count} | {f"batches of {size}": size for size in sizes}
    warm, sides = (sides_of(pipeline, model, sizes, steps) for steps in (2, options.steps))
    for side, work in warm.items():
        work(requests(counts[side]))
    limit = matmul_limit(compute)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    memory: dict[str, float] = {}
    for number in range(options.rounds):
        turn = number % len(sides)
        for side in [*list(sides)[turn:], *list(sides)[:turn]]:
            forget_memory(compute)
            taken = seconds_of(partial(sides[side], requests(counts[side])), compute)
            seconds[side].append(taken / counts[side])
            memory[side] = round((peak_memory(compute) - bytes_of(pipeline)) / 1e9, 2)
    limit = max(limit, matmul_limit(compute))
    operations = operations_of_image(pipeline, options.steps)
    return {
        "model": name,
        "pixels": model.image_size,
        "dtype": str(compute.dtype).removeprefix("torch."),
        "steps": options.steps,
        "guidance": 4.0,
        "operations_an_image": operations,
        "matmul_limit_per_second": round(limit),
        "sides": {
            side: {
                "images_a_round": counts[side],
                "seconds_an_image": [round(value, 4) for value in each],
                "images_per_second": round(1 / statistics.median(each), 3),
                "share_of_limit": round(operations / statistics.median(each) / limit, 3),
                "times_as_fast_as_plain": ratios(seconds["plain"], each),
            }
            | ({"peak_memory_gb": memory[side]} if compute.device.type == "cuda" else {})
            for side, each in seconds.items()
        },
    }


def pipeline_of(name: str, compute: Compute) -> Any:
    """The pipeline as a script has it: on the device, in the number format, in torch's own memory layout."""
    from diffusers import DiffusionPipeline

    if name == "bundled":
        return DiffusionPipeline.from_pretrained(BUNDLED, torch_dtype=compute.dtype).to(compute.device)
    with torch.device(compute.device):  # random weights are made there, in seconds instead of minutes
        pipeline = layout.build(name.removeprefix("layout:"))
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)  # its tables belong on the CPU
    return pipeline.to(compute.device, compute.dtype)


def sides_of(pipeline: Any, model: Model, sizes: Sequence[int], steps: int) -> dict[str, Side]:
    asked = {"preset": "original", "steps": steps, "prompt": "any", "out": "any"}
    how = Sampling.of(GenerateConfig.model_validate(asked))
    ours = {f"batches of {size}": whatever_comes(batched(model, how, size)) for size in sizes}
    return {"plain": plain(pipeline, 1, steps), **ours}


def bytes_of(pipeline: Any) -> int:
    """Of the weights, of which each side has a copy of its own."""
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    return sum(weight.nbytes for part in parts for weight in part.parameters())


def whatever_comes(side: Side) -> Side:
    """Random weights may give values that are not finite; the work is the same."""

    def finite_or_not(asked: Any) -> Any:
        try:
            return side(asked)
        except NotFiniteError as error:
            return error.images

    return finite_or_not


def operations_of_image(pipeline: Any, steps: int) -> int:
    """Both halves of the guidance at each step, and one decoding."""
    unet, vae = pipeline.unet, pipeline.vae
    with torch.device("meta"):
        empty = type(unet).from_config(unet.config), type(vae).from_config(vae.config)
    side = unet.config.sample_size
    latents = torch.empty((2, unet.config.in_channels, side, side), device="meta")
    text = torch.empty((2, 77, unet.config.cross_attention_dim), device="meta")
    step = count_operations(lambda: empty[0](latents, torch.empty((2,), device="meta"), text))
    return steps * step + count_operations(lambda: empty[1].decode(latents[:1]))


def forget_memory(compute: Compute) -> None:
    release_memory(compute)
    if compute.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def tell(run: Result) -> None:
    limit = run["matmul_limit_per_second"] / 1e12
    print(
        f"{run['model']} {run['pixels']} px {run['dtype']}: {run['operations_an_image'] / 1e12:.2f} T operations "
        f"an image, matrix products {limit:.1f} T/s"
    )
    for name, side in run["sides"].items():
        print(
            f"  {name:14} {side['images_per_second']:8.3f} images/s, {side['times_as_fast_as_plain']['median']:6.2f} "
            f"times plain, {100 * side['share_of_limit']:5.1f} % of the limit, {side.get('peak_memory_gb', '-')} GB",
            flush=True,
        )


if __name__ == "__main__":
    main()
