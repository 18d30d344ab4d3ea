"""Pickled weights, read when asked for: tensors alone, and nothing that could run."""

import pickle
from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError

BESIDE = ("pytorch_lightning", "lightning", "numpy", "omegaconf")
"""Packages whose objects lie beside the weights in training checkpoints, as in the publishers' Stable Diffusion 1.x."""


class Nothing:
    """Stands for whatever a file names of these packages; none of them is imported."""

    def __new__(cls, *_: Any) -> "Nothing":
        """Take any arguments."""
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Keep none of them."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def copy_as_safetensors(source: Path, target: Path) -> None:
    """Write a pickled file's tensors as safetensors. Raises UsageError where it holds anything but tensors by name."""
    from safetensors.torch import save_file

    save_file(_read_tensors(source), target, metadata={"format": "pt"})


def _read_tensors(path: Path) -> dict[str, Any]:
    """Each with memory of its own. A training checkpoint's weights are those under ``state_dict``, by convention."""
    import torch

    named = _named(path)
    if foreign := [name for name in named if name.partition(".")[0] not in BESIDE]:
        raise UsageError(_refusal(path, f"It names {', '.join(sorted(foreign))}."))
    try:
        with torch.serialization.safe_globals([(Nothing, name) for name in named]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text says how to run it all the same
        raise UsageError(_refusal(path, "")) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(_refusal(path, str(error).partition("\n")[0])) from error
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise UsageError(f"{path} holds something else than tensors by their names; it stays refused.")
    return {name: held.pop(name).clone().contiguous() for name in list(held)}


def _refusal(path: Path, why: str) -> str:
    said = f"{path} holds something else than tensors, or is damaged; nothing of it was run, and it stays refused."
    return f"{said} {why}".rstrip()


def _named(path: Path) -> list[str]:
    """What a file names beside tensors. Its pickle is looked through for that, and not run.

    One from before torch 1.6, or no such file, is left to ``torch.load``, which refuses what is not known to it.
    """
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        return get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, EOFError, AssertionError, pickle.UnpicklingError):
        return []
