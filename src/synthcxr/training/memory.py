"""How much memory a training will need, found without computing anything; and how much it took."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

GB = 1e9
ROOM = 1.1
"""What allocators and libraries take on top."""


@dataclass(frozen=True)
class Need:
    """Bytes that a training needs on its device, by what they hold."""

    weights: int
    optimizer: int
    """AdamW's two moments."""
    average: int
    step: int
    """Activations and gradients at the height of a step."""

    @property
    def total(self) -> int:
        """All of it, with some room."""
        return int(ROOM * (self.weights + self.optimizer + self.average + self.step))

    def __str__(self) -> str:
        """In gigabytes."""
        parts = {
            "weights": self.weights,
            "optimizer": self.optimizer,
            "moving average": self.average,
            "activations and gradients": self.step,
        }
        words = ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items() if size >= GB / 20)
        return f"about {self.total / GB:.1f} GB" + (f" ({words})" if words else "")


def need(parts: "Iterable[nn.Module]", trained: "Iterable[Tensor]", averaged: bool, passes: int) -> Need:
    """Add up what networks, AdamW, a moving average and a step take; `passes` is the peak of forward and backward."""
    learning = 4 * sum(parameter.numel() for parameter in trained)
    return Need(
        weights=sum(size_of(module) for module in parts),
        optimizer=2 * learning,
        average=learning if averaged else 0,
        step=max(passes, 3 * learning),  # AdamW's own step: gradients and temporaries of their size
    )


def size_of(module: "nn.Module") -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])


def peak_bytes(module: "nn.Module", call: "Callable[..., Tensor]", *inputs: "Tensor") -> int:
    """Most bytes that a forward and a backward pass hold beside weights and inputs, gradients included.

    `call` runs `module` on tensors like `inputs`. Only shapes go through it (torch's fake tensors): nothing is
    computed and nothing allocated. Gradient checkpointing counts as it will be.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.func import functional_call

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *given: Any) -> Any:
            return call(*given)

    called = Called()
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        weights: dict[str, Tensor] = {
            name: fake.from_tensor(value) for name, value in called.state_dict(keep_vars=True).items()
        }
        unreal = tuple(fake.from_tensor(value) for value in inputs)
        with storages() as held:
            functional_call(called, weights, unreal).float().square().mean().backward()
    return held.most


class Held:
    """Bytes of the storages that are alive now, and the most that were."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def take(self, size: int) -> None:
        """Count a storage that came to life, or with a negative size one that is gone."""
        self.now += size
        self.most = max(self.most, self.now)


@contextmanager
def storages() -> Iterator[Held]:
    """Watch every storage that torch's operations make inside the block."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.weak import WeakIdKeyDictionary

    held = Held()
    known: Any = WeakIdKeyDictionary()

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            for tensor in tree_leaves((args, kwargs)):  # what comes from outside is not counted
                if isinstance(tensor, torch.Tensor):
                    known.setdefault(tensor.untyped_storage(), True)
            found = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(found):
                if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in known:
                    known[storage] = True
                    held.take(storage.nbytes())
                    weakref.finalize(storage, held.take, -storage.nbytes())
            return found

    with Watch():  # type: ignore[no-untyped-call]
        yield held


def free_bytes(device: "torch.device") -> int:
    """Memory that is free on a device."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "xpu":
        return int(torch.xpu.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def most_used(device: "torch.device") -> int:
    """Most bytes that this process has held on a device so far; on a CPU everything counts, libraries too."""
    import resource

    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "xpu":
        return int(torch.xpu.max_memory_allocated(device))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def advice(needed: Need, free: int) -> str:
    """What to say before a training starts."""
    text = f"It needs {needed}; {free / GB:.1f} GB are free."
    if needed.total <= free:
        return text
    cure = "try --gradient-checkpointing, a larger --accumulate, or a smaller --batch-size."
    return f"{text} It will probably not fit: {cure}"
