"""What the benchmarks of speed share: clocks that wait for the device, its matrix products, counted operations."""

import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from synthcxr.devices import Compute

PRODUCTS = 5


def matmul_limit(compute: Compute) -> float:
    """Operations a second of the fastest of several products of square matrices."""
    side = 8192 if compute.device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=compute.device, dtype=compute.dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(a, b)

    multiply()
    return 2 * side**3 / min(seconds_of(multiply, compute) for _ in range(PRODUCTS))


def count_operations(work: Callable[[], Any]) -> int:
    """Operations of matrix products, convolutions and attention, two a multiply-add; networks on ``meta`` will do."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # attention as matrix products, which are counted on every device
        work()
    return int(counter.get_total_flops())


def seconds_of(work: Callable[[], Any], compute: Compute) -> float:
    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if compute.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(compute: Compute) -> int:
    """Bytes: on a GPU what torch held there, on a CPU the most that the process ever had."""
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
