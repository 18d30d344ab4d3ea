"""Stable Diffusion v2-1-base's exact layout, with random weights, through the whole road. Not run by default."""

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from synthcxr import TrainConfig, prepare, train
from synthcxr.devices import pick
from synthcxr.models import layout
from synthcxr.models.registry import ADAPTER_FILE, load
from synthcxr.store import read_manifest
from tests.conftest import plain_config, write_source


@pytest.mark.full_size
def test_one_lora_step_at_full_size(tmp_path: Path) -> None:
    base = tmp_path / "base"
    layout.save(layout.build("sd21"), base)
    gc.collect()
    source = write_source(tmp_path / "source", count=2, side=512)
    dataset = prepare(plain_config(source, tmp_path / "dataset", resolution=512))
    options = {"steps": 1, "batch_size": 1, "limit": 1, "sample_steps": 1}
    run = train(TrainConfig(datasets=[dataset], base=str(base), out=tmp_path / "run", **options))
    gc.collect()
    assert read_manifest(run)["counts"]["images_seen"] == 1
    saved = load_file(run / "adapter" / ADAPTER_FILE)
    assert sum(tensor.numel() for tensor in saved.values()) == 829_952  # of rank 4
    assert all(torch.isfinite(tensor).all() for tensor in saved.values())
    assert any(tensor.any() for name, tensor in saved.items() if "lora_B" in name), "the step changed nothing"
    pipeline = load(str(run), pick("cpu")).pipeline
    held = pipeline.unet.state_dict()
    assert sum(parameter.numel() for name, parameter in held.items() if "lora" not in name) == 865_910_724
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    for name in ("lora_A", "lora_B"):
        assert torch.equal(held[f"{layer}.{name}.default_0.weight"], saved[f"unet.{layer}.{name}.weight"])
