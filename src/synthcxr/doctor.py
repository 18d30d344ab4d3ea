"""What this machine can do, and how fast."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from synthcxr import __version__
from synthcxr.devices import describe, pick
from synthcxr.models.registry import REGISTRY, load, resolve

PASSES = 5
BATCH = 8


def examine() -> dict[str, Any]:
    """Versions, device, memory, disk, and the measured speed of the bundled model, as words a person can use."""
    compute = pick()
    known = describe(compute)
    findings: dict[str, Any] = {
        "synthcxr": __version__,
        "python": f"{known['python']} on {known['system']}",
        "libraries": ", ".join(f"{name} {version}" for name, version in known["libraries"].items()),
        "device": f"{known['device']} ({known['device_name']}), {known['dtype']}, {known['threads']} threads",
        "memory": _memory(),
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free here",
    }
    if resolve("bundled").folder is None:
        return findings | {"bundled model": "missing from this installation"}
    seconds = _seconds_a_pass()
    images = 3600 / (seconds * 2 * 30)
    return findings | {
        "bundled model": f"{1 / seconds:.1f} UNet passes/s at {REGISTRY['bundled'].resolution} px, batch {BATCH}: "
        f"about {images:.0f} images an hour at 30 steps with guidance (decoding left out)",
        "original recipe (sd21-base)": "needs about 10 GB on a GPU"
        + ("" if compute.device.type != "cpu" else "; on this CPU it is a matter of weeks"),
    }


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"


def _seconds_a_pass() -> float:
    """Seconds an image takes through the bundled UNet once, in batches, after a warm-up."""
    import torch

    model = load("bundled", pick())
    unet = model.pipeline.unet
    side = unet.config.sample_size
    latents = torch.zeros(BATCH, unet.config.in_channels, side, side, device=model.compute.device, dtype=unet.dtype)
    text = torch.zeros(BATCH, 77, unet.config.cross_attention_dim, device=model.compute.device, dtype=unet.dtype)
    with torch.no_grad():
        unet(latents, 0, text)
        start = time.perf_counter()
        for _ in range(PASSES):
            unet(latents, 0, text)
    return (time.perf_counter() - start) / (PASSES * BATCH)
