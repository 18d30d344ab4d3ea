"""A diffusers folder with pickled weights as one with safetensors: tensors are read, and nothing that could run.

For whoever asks for it; everywhere else pickled weights are refused.
"""

import json
import pickle
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from synthcxr.errors import UsageError
from synthcxr.models import sources
from synthcxr.progress import say
from synthcxr.store import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from torch import Tensor

INDEX = "model_index.json"
SUFFIX = ".bin"


def unpickle(folder: Path, out: Path) -> Path:
    """Write the folder's parts to `out`, weights as safetensors; the index comes last, so that half is no model.

    Raises UsageError where `out` holds something, or the folder is no diffusers folder that would then be whole, or a
    file has anything but tensors in it.
    """
    if not (folder / INDEX).is_file():
        raise UsageError(
            f"{folder} is no diffusers folder (it has no {INDEX}). A single .ckpt is read by from_single_file of "
            "diffusers, for which the configs of its parts are needed."
        )
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty. Give a new --out.")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*")) if path.is_file()]
    written = {name: new for name in names if (new := new_name(name, set(names))) is not None}
    if missing := sources.missing_part(read_json(folder / INDEX), written.values()):
        raise UsageError(f"{folder} would not be whole: {missing.splitlines()[0]}.")
    for name, new in written.items():
        _write(folder / name, out / new)
        say(f"{name} → {new}" if name != new else name)
    write_bytes(out / INDEX, (folder / INDEX).read_bytes())
    return out


def new_name(name: str, names: set[str]) -> str | None:
    """Where a file goes, by its relative path; None for one that is not used, or has a twin in safetensors.

    As diffusers and transformers call them: ``diffusion_pytorch_model.bin`` keeps its stem, ``pytorch_model.bin`` is
    ``model.safetensors``; shards and their index likewise.
    """
    path = PurePosixPath(name)
    if sources.is_passed_over(name) or path.suffix not in (SUFFIX, ".json", ".txt", ".safetensors"):
        return None
    if SUFFIX not in path.suffixes:
        return name
    file = path.name.replace(SUFFIX, ".safetensors")
    if file.startswith("pytorch_model"):
        file = file.removeprefix("pytorch_")
    new = (path.parent / file).as_posix()
    return None if new in names else new


def _write(source: Path, target: Path) -> None:
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == SUFFIX:
        save_file(_tensors(source), target, metadata={"format": "pt"})
    elif SUFFIX in source.suffixes:  # the index of shards
        index = json.loads(source.read_text(encoding="utf-8"))
        shards = {
            key: PurePosixPath(new_name(f"part/{file}", set()) or "").name for key, file in index["weight_map"].items()
        }
        write_json(target, {**index, "weight_map": shards})
    else:
        shutil.copyfile(source, target)


def _tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a pickled file, each with memory of its own. Raises UsageError where there is anything else."""
    import torch

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} holds something else than tensors, or is damaged; nothing of it was run, and it stays refused. "
            f"({str(error).splitlines()[0]})"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(value, torch.Tensor) for value in held.values()):
        raise UsageError(f"{path} holds something else than tensors by their names; it stays refused.")
    return {name: tensor.clone().contiguous() for name, tensor in held.items()}
