"""The one device layer: where to compute, in which number format and memory layout."""

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from synthcxr.errors import UsageError

if TYPE_CHECKING:
    import torch

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "numpy",
    "pillow",
    "rapidocr",
    "opencv-python-headless",
)


@dataclass(frozen=True)
class Compute:
    """A device and the number format that networks use on it."""

    device: "torch.device"
    dtype: "torch.dtype"

    def place(self, module: Any) -> Any:
        """Move a network here, convolutions in channels-last layout (several times faster on CPUs)."""
        import torch

        return module.to(self.device, self.dtype).to(memory_format=torch.channels_last)


def pick(device: str = "auto", dtype: str = "auto") -> Compute:
    """The device and number format for a request; auto takes the fastest here. UsageError where it is not there."""
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "xpu": hasattr(torch, "xpu") and torch.xpu.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        have = ", ".join(name for name, there in available.items() if there)
        raise UsageError(f"There is no {device} device that this torch can use; here: {have}.")
    if dtype == "auto":
        dtype = "float32"  # bfloat16 was slower on the CPUs tried, and float16 attention overflows in SD 2.1
        if device == "cuda" and torch.cuda.is_bf16_supported():
            dtype = "bfloat16"
    return Compute(torch.device(device), getattr(torch, dtype))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is memory running out, under any of the names that torch gives it."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "alloc_failed")  # cuda, xpu and mps; the CPU's; cuBLAS
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


def release_memory(compute: Compute) -> None:
    """Give a device's cached memory back, so that a smaller batch finds it whole."""
    import gc

    import torch

    gc.collect()
    if compute.device.type != "cpu":
        getattr(torch, compute.device.type).empty_cache()


def describe(compute: Compute | None = None) -> dict[str, Any]:
    """What a manifest says of the machine: system, library versions, and device, dtype and threads where used."""
    known: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "libraries": {name: found for name in LIBRARIES if (found := installed(name))},
    }
    if compute:
        import torch

        known |= {
            "device": compute.device.type,
            "device_name": device_name(compute.device.type),
            "dtype": str(compute.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }
    return known


@cache
def installed(package: str) -> str | None:
    """A package's version, or None where it is not installed; looked up once, as each image's provenance asks."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device_name(kind: str) -> str:
    """The device's name as its maker gives it."""
    import torch

    if kind == "cuda":
        return torch.cuda.get_device_name()
    if kind == "xpu":
        return str(torch.xpu.get_device_name())
    return platform.processor() or platform.machine()


def worker_count(asked: int) -> int:
    """Number of worker processes: what was asked, or one a core that this process may use."""
    return asked or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
