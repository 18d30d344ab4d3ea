"""One LoRA step of Stable Diffusion 2.1 at its own size: seconds, memory, and its share of the arithmetic limit.

    python benchmarks/full_size.py [--device cpu] [--dtype float32] [--batch-size 1] [--rounds 3]

The UNet of `layout:sd21` (865.9 M parameters, random weights) with LoRA of rank 4 on latents of 512 px, forward and
backward; text and latents are encoded beforehand, as in training. The limit is the fastest of several large matrix
products, before and after, on the same device and threads, in the same number format. Operations are counted by torch
on the same network without memory (device ``meta``): matrix products, convolutions and attention. The result is
printed and kept in ``benchmarks/results/``, a file a kind of device.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from arithmetic import count_operations, matmul_limit, peak_memory, seconds_of

from synthcxr.config import TrainConfig
from synthcxr.devices import Compute, describe, pick
from synthcxr.models import layout
from synthcxr.models.families.stable_diffusion import StableDiffusion
from synthcxr.store import write_json
from synthcxr.training.denoiser import add_adapters

RESULTS = Path(__file__).parent / "results"
FAMILY = StableDiffusion()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    compute, load_before = pick(options.device, options.dtype), os.getloadavg()[0]
    flops = operations(options.batch_size)
    step = Step(compute, options.batch_size)
    step()  # warms up
    before = matmul_limit(compute)
    rounds = [seconds_of(step, compute) for _ in range(options.rounds)]
    limit = max(before, matmul_limit(compute))
    seconds = statistics.median(rounds)
    result: dict[str, Any] = {
        "layout": "sd21",
        "pixels": 512,
        "batch_size": options.batch_size,
        "rank": 4,
        "seconds": [round(value, 3) for value in rounds],
        "median_seconds": round(seconds, 3),
        "steps_per_second": round(1 / seconds, 4),
        "peak_memory_gb": round(peak_memory(compute) / 1e9, 2),
        "operations": flops,
        "matmul_limit_per_second": round(limit),
        "share_of_limit": round(flops / seconds / limit, 3),
        "load_before": round(load_before, 2),
        "note": "load_before is the machine's load average at the start; above 0.5 others were computing too, and "
        "seconds and limit are those of a shared machine: the limit that of its best moment, the seconds those of all.",
        "machine": describe(compute),
    }
    write_json(RESULTS / f"full_size-{compute.device.type}.json", result)
    print(
        f"{seconds:.2f} s a step, {result['peak_memory_gb']} GB, {flops / 1e12:.2f} T operations, "
        f"{100 * result['share_of_limit']:.0f} % of {limit / 1e9:.0f} G operations a second"
    )


class Step:
    def __init__(self, compute: Compute, batch_size: int) -> None:
        self.pipeline, self.compute = layout.build("sd21"), compute
        self.pipeline.vae = self.pipeline.text_encoder = None
        compute.place(self.pipeline.unet)
        put_adapter(self.pipeline)
        self.scheduler = FAMILY.training_scheduler(self.pipeline)
        self.inputs = inputs(batch_size, compute.device)

    def __call__(self) -> None:
        latents, noise, levels, embeddings = self.inputs
        batch = FAMILY.noised(self.scheduler, latents, noise, levels)
        noisy = batch.latents.contiguous(memory_format=torch.channels_last)
        autocast = self.compute.dtype != torch.float32
        with torch.autocast(self.compute.device.type, self.compute.dtype, enabled=autocast):
            predicted = FAMILY.predict(self.pipeline, noisy, batch.times, {"encoder_hidden_states": embeddings})
        loss = (predicted.float() - batch.target).square().mean()
        self.pipeline.unet.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]


def put_adapter(pipeline: Any) -> None:
    pipeline.unet.requires_grad_(False)
    add_adapters(pipeline, TrainConfig(datasets=[Path("none")], out=Path("none"), rank=4))


def inputs(batch_size: int, device: Any) -> tuple[torch.Tensor, ...]:
    shape, generator = (batch_size, 4, 64, 64), torch.Generator().manual_seed(0)
    levels = torch.full((batch_size,), 500)
    text = torch.randn((batch_size, 77, 1024), generator=generator)
    latents, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    return tuple(tensor.to(device) for tensor in (latents, noise, levels, text))


def operations(batch_size: int) -> int:
    """Of a step, forward and backward."""
    with torch.device("meta"):
        pipeline = layout.build("sd21")
        put_adapter(pipeline)
    latents, _, levels, text = inputs(batch_size, "meta")
    conditions = {"encoder_hidden_states": text}

    def step() -> None:
        FAMILY.predict(pipeline, latents, levels, conditions).sum().backward()  # type: ignore[no-untyped-call]

    return count_operations(step)


if __name__ == "__main__":
    main()
