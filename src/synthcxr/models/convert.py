"""A model in another form as a diffusers folder: a folder with pickled weights, or a single file.

Of pickled files tensors are read, and nothing that could run: for whoever asks. All else here refuses them.
"""

import json
import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from synthcxr.errors import UsageError
from synthcxr.models import sources
from synthcxr.models.pickled import copy_as_safetensors
from synthcxr.progress import say
from synthcxr.store import read_json, write_bytes, write_json

INDEX = "model_index.json"
SUFFIX = ".bin"


def convert(model: Path, out: Path, like: str | None = None) -> Path:
    """Make a diffusers folder of a model, weights as safetensors; `out` appears when it is whole.

    `like` is for a single file: what it does not hold is taken from this model (`synthcxr.models.single_file`).
    Raises UsageError where `out` holds something, or the model is none that a whole folder can be made of, or a pickled
    file has anything but tensors in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty. Give a new --out.")
    if not model.exists():
        raise UsageError(f"{model} does not exist.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        made = Path(work) / "model"
        if model.is_dir():
            if like is not None:
                raise UsageError(f"{model} is a folder; --like is for a single file.")
            _convert_folder(model, made)
        else:
            from synthcxr.models.single_file import convert_file

            convert_file(model, made, like)
        if out.exists():
            out.rmdir()
        made.rename(out)
    return out


def _convert_folder(folder: Path, out: Path) -> None:
    if not (folder / INDEX).is_file():
        raise UsageError(f"{folder} is no diffusers folder (it has no {INDEX}). Of a single file give the file itself.")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*")) if path.is_file()]
    written = {name: new for name in names if (new := new_name(name, set(names))) is not None}
    if missing := sources.missing_part(read_json(folder / INDEX), written.values()):
        raise UsageError(f"{folder} would not be whole: {missing.splitlines()[0]}.")
    for name, new in written.items():
        _write(folder / name, out / new)
        say(f"{name} → {new}" if name != new else name)
    write_bytes(out / INDEX, (folder / INDEX).read_bytes())


def new_name(name: str, names: set[str]) -> str | None:
    """Where a file of a folder goes, by its relative path; None for one that is not used, or has a twin in safetensors.

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
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == SUFFIX:
        copy_as_safetensors(source, target)
    elif SUFFIX in source.suffixes:  # the index of shards
        index = json.loads(source.read_text(encoding="utf-8"))
        shards = {
            key: PurePosixPath(new_name(f"part/{file}", set()) or "").name for key, file in index["weight_map"].items()
        }
        write_json(target, {**index, "weight_map": shards})
    else:
        shutil.copyfile(source, target)
