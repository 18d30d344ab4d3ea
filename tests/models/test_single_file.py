"""Single files: a model under its publishers' names becomes a folder that draws the same; what is none says so."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.generation.sampler import Request, draw
from synthcxr.models import layout
from synthcxr.models.convert import convert
from synthcxr.models.families.stable_diffusion import StableDiffusion
from synthcxr.models.registry import load, resolve
from synthcxr.models.single_file import predicts
from tests.models.original_names import Tensors, single_file

SD21 = layout.LAYOUTS["sd21"]
SMALL: layout.Layout = {
    "vae": SD21["vae"] | {"block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "sample_size": 64},
    "unet": SD21["unet"]
    | {
        "sample_size": 8,
        "block_out_channels": (16, 16, 32, 32),
        "norm_num_groups": 8,
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 2, 4, 4),
    },
    "text": SD21["text"]
    | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "vocab_size": 2048,
    },
    "scheduler": SD21["scheduler"],
}
"""The blocks of Stable Diffusion 2.1, narrow."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder in float32."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(layout.LAYOUTS, "small-sd21", SMALL)
        layout.save(layout.build("small-sd21"), folder, half=False)
    return folder


@pytest.fixture(scope="module")
def settings(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder without its weights, with the filter that is published with Stable Diffusion 1.5."""
    folder = tmp_path_factory.mktemp("settings") / "settings"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPFeatureExtractor"]
    (folder / "model_index.json").write_text(json.dumps(index | {"requires_safety_checker": True}))
    (folder / "feature_extractor").mkdir()
    (folder / "feature_extractor" / "preprocessor_config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def weights(whole: Path) -> dict[int, Tensors]:
    """What single files of versions 1 and 2 hold, with what else lies in published ones."""
    pipeline = load(str(whole), pick("cpu")).pipeline
    more = {
        "betas": torch.zeros(1000),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None],
        "cond_stage_model.model.logit_scale": torch.tensor(1.0),
        "cond_stage_model.model.transformer.resblocks.23.ln_1.weight": torch.ones(32),  # its last layer is not used
    }
    return {version: single_file(pipeline, version) | more for version in (1, 2)}


def drawn(folder: Path) -> Any:
    return draw(load(str(folder), pick("cpu")), [Request("chest x-ray", "", 7)], steps=2, guidance=2.0)


def same_weights(made: Path, whole: Path) -> bool:
    files = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")
    pairs = [(load_file(made / f"{name}.safetensors"), load_file(whole / f"{name}.safetensors")) for name in files]
    return all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in pairs)


@pytest.mark.parametrize("version", [1, 2])
def test_it_draws_what_its_folder_draws(
    weights: dict[int, Tensors], whole: Path, settings: Path, tmp_path: Path, version: int
) -> None:
    file = tmp_path / "v.safetensors"
    save_file(weights[version], file)
    with pytest.raises(UsageError, match=r"is no folder of a model.*synthcxr convert FILE"):
        resolve(str(file))
    made = convert(file, tmp_path / "made", str(settings))
    assert same_weights(made, whole)
    assert np.array_equal(drawn(made), drawn(whole))
    for name in ("scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (made / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "v.safetensors"], "nothing else is left"


def test_half_precision_stays_half(weights: dict[int, Tensors], settings: Path, tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in weights[2].items()}, tmp_path / "v.safetensors")
    made = convert(tmp_path / "v.safetensors", tmp_path / "made", str(settings))
    assert load_file(made / "unet" / "diffusion_pytorch_model.safetensors")["conv_in.weight"].dtype == torch.float16
    assert load(str(made), pick("cpu")).pipeline.text_encoder.dtype == torch.float32


def test_the_moving_average_is_taken(weights: dict[int, Tensors], whole: Path, settings: Path, tmp_path: Path) -> None:
    start = "model.diffusion_model."
    average = {f"model_ema.{name.replace('.', '').removeprefix('model')}": value for name, value in weights[1].items()}
    assert "model_ema.diffusion_modelinput_blocks00weight" in average
    raw = {name: value + 1 if name.startswith(start) else value for name, value in weights[1].items()}
    save_file(
        raw | {name: value for name, value in average.items() if "diffusion_model" in name}, tmp_path / "v.safetensors"
    )
    assert same_weights(convert(tmp_path / "v.safetensors", tmp_path / "made", str(settings)), whole)


class Checkpoint:
    """Stands for an object of the program that trained a file."""

    def __init__(self) -> None:
        self.best = 1.0


def test_a_training_checkpoint(
    weights: dict[int, Tensors], whole: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Stable Diffusion 1.x: weights under `state_dict`, beside them objects of packages that are not here."""
    lightning = ModuleType("pytorch_lightning")
    monkeypatch.setitem(sys.modules, lightning.__name__, lightning)
    monkeypatch.setattr(Checkpoint, "__module__", lightning.__name__)
    monkeypatch.setattr(lightning, "Checkpoint", Checkpoint, raising=False)
    more = {"callbacks": {Checkpoint: Checkpoint()}, "score": np.float64(1.0), "global_step": 5}
    torch.save({"state_dict": weights[1], **more}, tmp_path / "v.ckpt")
    monkeypatch.undo()
    made = convert(tmp_path / "v.ckpt", tmp_path / "made", str(settings))
    assert same_weights(made, whole)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


@pytest.mark.parametrize("held", ["a trap", "a trap beside weights", "nothing", "a number"])
def test_what_is_no_weights_is_refused(weights: dict[int, Tensors], settings: Path, tmp_path: Path, held: str) -> None:
    file, sprung = tmp_path / "v.ckpt", tmp_path / "sprung"
    content = {
        "a trap": Trap(sprung),
        "a trap beside weights": {"state_dict": weights[1], "callbacks": Trap(sprung)},
        "nothing": None,
        "a number": {"epoch": 3},
    }[held]
    torch.save(content, file)
    with pytest.raises(UsageError, match=r"names builtins\.exec" if "trap" in held else "something else than tensors"):
        convert(file, tmp_path / "made", str(settings))
    assert [path.name for path in tmp_path.iterdir()] == ["v.ckpt"]


def test_what_is_no_model_says_so(weights: dict[int, Tensors], settings: Path, tmp_path: Path) -> None:
    def said(name: str, like: str | None = str(settings)) -> str:
        with pytest.raises(UsageError) as refused:
            convert(tmp_path / name, tmp_path / "made", like)
        assert not (tmp_path / "made").exists()
        return str(refused.value)

    (tmp_path / "text.txt").write_text("chest")
    assert "is no model: a single file ends in .safetensors" in said("text.txt")
    (tmp_path / "text.safetensors").write_text("chest")
    assert "cannot be read as safetensors" in said("text.safetensors")
    (tmp_path / "text.ckpt").write_text("chest")
    assert "something else than tensors, or is damaged" in said("text.ckpt")
    assert "does not exist" in said("nowhere.ckpt")
    save_file({"lora_unet_down.weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    assert "it holds no UNet and no autoencoder and no text encoder" in said("lora.safetensors")
    save_file(weights[1], tmp_path / "whole.safetensors")
    sana = Path(shutil.copytree(settings, tmp_path / "sana"))
    (sana / "unet").rename(sana / "transformer")
    index = json.loads((sana / "model_index.json").read_text().replace("unet", "transformer"))
    (sana / "model_index.json").write_text(json.dumps(index | {"_class_name": "SanaPipeline"}))
    assert "names a SanaPipeline; a single file is a Stable Diffusion" in said("whole.safetensors", str(sana))


@pytest.mark.parametrize(
    ("key", "width", "advice"),
    [
        ("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 768, "1.x: give --like sd15"),
        ("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 1024, "2.x: give --like sd21-base if.*velocity"),
        ("input_blocks.0.0.weight", 9, "an inpainting model"),
    ],
)
def test_without_like_it_says_what_would_fit(tmp_path: Path, key: str, width: int, advice: str) -> None:
    held = dict.fromkeys(("first_stage_model.x", "cond_stage_model.x"), torch.zeros(1))
    held = {name: value.clone() for name, value in held.items()}
    held["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(8, 4)
    save_file(held | {f"model.diffusion_model.{key}": torch.zeros(8, width)}, tmp_path / "v.safetensors")
    with pytest.raises(UsageError, match=f"holds weights only.*{advice}"):
        convert(tmp_path / "v.safetensors", tmp_path / "made")


def test_a_model_of_another_kind(weights: dict[int, Tensors], settings: Path, tmp_path: Path) -> None:
    def said(held: Tensors, like: Path = settings) -> str:
        save_file(held, tmp_path / "v.safetensors")
        with pytest.raises(UsageError) as refused:
            convert(tmp_path / "v.safetensors", tmp_path / "made", str(like))
        assert not (tmp_path / "made").exists()
        return str(refused.value)

    lacking = {name: value for name, value in weights[2].items() if not name.endswith("ln_final.bias")}
    assert "it lacks 1 weights (text_encoder.final_layer_norm.bias)" in said(lacking)
    more = weights[2] | {"model.diffusion_model.label_emb.0.0.weight": torch.zeros(2)}
    assert "its UNet has 1 weights more" in said(more)
    other = Path(shutil.copytree(settings, tmp_path / "other"))
    config = json.loads((other / "unet" / "config.json").read_text())
    (other / "unet" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 48}))
    assert "is not like the model of --like" in said(weights[2], other)


def test_what_a_network_predicts_shows_in_one_pass(
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
    weights: dict[int, Tensors],
    settings: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    """The bundled model predicts velocity, and was trained to; nothing that predicts noise ships, so one is made up."""
    bundled, small = (load(model, pick("cpu")).pipeline for model in ("bundled", str(whole)))
    assert predicts(bundled) == "velocity"
    monkeypatch.setattr(StableDiffusion, "predict", lambda _, __, latents, *___: latents + latents.flip(-1))
    assert predicts(small) == "noise"
    v = Path(shutil.copytree(settings, tmp_path / "v"))
    schedule = v / "scheduler" / "scheduler_config.json"
    schedule.write_text(schedule.read_text().replace('"epsilon"', '"v_prediction"'))
    save_file(weights[1], tmp_path / "v.safetensors")
    for like, noted in ((settings, False), (v, True)):
        convert(tmp_path / "v.safetensors", tmp_path / f"made-{like.name}", str(like))
        assert ("Note: by what its UNet makes of pure noise" in capsys.readouterr().err) is noted


def test_an_inpainting_model(whole: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel

    parts = load(str(whole), pick("cpu")).pipeline.components
    unet = UNet2DConditionModel(**SMALL["unet"], in_channels=9)
    pipeline = StableDiffusionInpaintPipeline(**parts | {"unet": unet}, requires_safety_checker=False)
    layout.save(pipeline, tmp_path / "whole", half=False)
    save_file(single_file(pipeline, 2), tmp_path / "v.safetensors")
    made = convert(tmp_path / "v.safetensors", tmp_path / "made", str(tmp_path / "whole"))
    assert same_weights(made, tmp_path / "whole")
    assert load(str(made), pick("cpu")).family.name == "Stable Diffusion inpainting"
