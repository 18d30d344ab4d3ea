"""Pickled weights: read when asked for, tensors alone; a file that would run something runs nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models.convert import convert, new_name
from synthcxr.models.registry import load

WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors": "unet/diffusion_pytorch_model.bin",
    "vae/diffusion_pytorch_model.safetensors": "vae/diffusion_pytorch_model.bin",
    "text_encoder/model.safetensors": "text_encoder/pytorch_model.bin",
}


@pytest.fixture
def pickled(tiny_model: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "pickled"))
    for whole, name in WEIGHTS.items():
        torch.save(load_file(folder / whole), folder / name)
        (folder / whole).unlink()
    return folder


def test_a_copy_has_the_same_weights_and_is_taken(pickled: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SynthCXRError, match=r"pickled weights only \(pytorch_model\.bin\).*synthcxr convert"):
        load(str(pickled), pick("cpu"))
    made = convert(pickled, tmp_path / "new")
    assert not list(made.rglob("*.bin"))
    for name in WEIGHTS:
        ours, theirs = load_file(made / name), load_file(tiny_model / name)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert load(str(made), pick("cpu")).image_size == 64
    with pytest.raises(UsageError, match="not empty"):
        convert(pickled, made)


def test_shards_and_their_index(pickled: Path, tmp_path: Path) -> None:
    whole = torch.load(pickled / "text_encoder" / "pytorch_model.bin", weights_only=True)
    (pickled / "text_encoder" / "pytorch_model.bin").unlink()
    keys = sorted(whole)
    shards = {key: f"pytorch_model-0000{1 + (place % 2)}-of-00002.bin" for place, key in enumerate(keys)}
    for file in set(shards.values()):
        torch.save({key: whole[key] for key in keys if shards[key] == file}, pickled / "text_encoder" / file)
    index = pickled / "text_encoder" / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    made = convert(pickled, tmp_path / "new")
    held = load(str(made), pick("cpu")).pipeline.text_encoder.state_dict()
    assert all(torch.equal(held[key.removeprefix("text_model.")], whole[key]) for key in keys)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["runs", "no tensors", "damaged"])
def test_what_is_no_tensors_stays_refused(pickled: Path, tmp_path: Path, kind: str) -> None:
    file, sprung = pickled / "vae" / "diffusion_pytorch_model.bin", tmp_path / "sprung"
    if kind == "damaged":
        file.write_bytes(file.read_bytes()[:500])
    else:
        torch.save({"weight": Trap(sprung) if kind == "runs" else 1.0}, file)
    with pytest.raises(UsageError, match="something else than tensors"):
        convert(pickled, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["pickled"], "nothing was run, and nothing is left"


def test_what_would_not_be_whole(pickled: Path, tmp_path: Path) -> None:
    (pickled / "unet" / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(UsageError, match="the part unet lacks its weights"):
        convert(pickled, tmp_path / "new")
    with pytest.raises(UsageError, match="--like is for a single file"):
        convert(pickled, tmp_path / "new", "bundled")
    (tmp_path / "sd.ckpt").write_bytes(b"")
    with pytest.raises(UsageError, match="no diffusers folder"):
        convert(tmp_path, tmp_path / "new")


def test_names() -> None:
    twins = {"unet/diffusion_pytorch_model.safetensors"}
    assert new_name("unet/diffusion_pytorch_model.bin", twins) is None
    assert new_name("unet/diffusion_pytorch_model.fp16.bin", set()) is None
    assert new_name("text_encoder/pytorch_model.bin", twins) == "text_encoder/model.safetensors"
    assert new_name("unet/config.json", twins) == "unet/config.json"
