"""Float16 attention with scores beyond 65,504, as Stable Diffusion 2.1 has them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch.nn import functional

from synthcxr import TrainConfig, train
from synthcxr.devices import Compute, pick
from synthcxr.generation.sampler import Request, draw
from synthcxr.models import attention
from synthcxr.models.registry import Model, load
from synthcxr.store import read_jsonl

LOUDER = 300.0
"""Queries and keys of the tiny model times this: scores of some hundred thousand."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose kernel keeps scores in the format of its inputs, as that of Apple's GPUs does."""

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        scores = query @ key.transpose(-2, -1)
        mixed: torch.Tensor = (scores * query.shape[-1] ** -0.5).softmax(-1) @ value
        return mixed

    monkeypatch.setattr(functional, "scaled_dot_product_attention", kernel)
    monkeypatch.setattr(attention, "scaled_dot_product_attention", kernel)


def loud(tiny_model: Path, dtype: str) -> Model:
    model = load(str(tiny_model), pick("cpu", dtype))
    make_loud(model.pipeline.unet)
    return model


def make_loud(unet: Any) -> None:
    for name, parameter in unet.named_parameters():
        if ".to_q." in name or ".to_k." in name:
            parameter.data *= LOUDER


def predict(model: Model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    unet = model.pipeline.unet
    latents = torch.randn((2, unet.config.in_channels, 8, 8), generator=generator).to(unet.dtype)
    text = torch.randn((2, 77, unet.config.cross_attention_dim), generator=generator).to(unet.dtype)
    with torch.no_grad():
        predicted: torch.Tensor = unet(latents, timestep=500, encoder_hidden_states=text).sample
    return predicted.float()


@pytest.mark.usefixtures("narrow")
def test_large_scores_stay_finite_and_right(tiny_model: Path) -> None:
    half, whole = loud(tiny_model, "float16"), loud(tiny_model, "float32")
    found, expected = predict(half), predict(whole)
    assert torch.isfinite(found).all()
    assert (found - expected).square().mean() < 1e-3 * expected.square().mean()
    half.pipeline.unet.set_attn_processor(AttnProcessor2_0())
    assert not torch.isfinite(predict(half)).all(), "the case is too easy: plain diffusers holds as well"


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("method", ["lora", "full"])  # weights in float16; weights in float32 under autocast
def test_training_in_float16_is_that_in_float32(
    dataset: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from synthcxr.training import train as stage

    load_base: Callable[[TrainConfig], Model] = stage.load_base

    def load_loud(config: TrainConfig) -> Model:
        model = load_base(config)
        make_loud(model.pipeline.unet)
        return model

    monkeypatch.setattr(stage, "load_base", load_loud)

    def loss(dtype: str) -> float:
        run = train(
            TrainConfig(
                datasets=[dataset], base=str(tiny_model), out=tmp_path / dtype, steps=1, batch_size=4, method=method,
                sample_steps=1, device="cpu", dtype=dtype,
            )
        )  # fmt: skip
        return float(read_jsonl(run / "log.jsonl")[-1]["loss"])

    assert loss("float16") == pytest.approx(loss("float32"), rel=0.01)


def test_other_formats_are_those_of_diffusers(tiny_model: Path) -> None:
    model = load(str(tiny_model), pick("cpu"))
    ours = predict(model)
    kinds = {type(processor) for processor in model.pipeline.unet.attn_processors.values()}
    assert kinds == {attention.SteadyAttention}
    model.pipeline.unet.set_attn_processor(AttnProcessor2_0())
    assert torch.equal(ours, predict(model))


def test_fused_kernels_of_gpus_are_left(tiny_model: Path) -> None:
    model = load(str(tiny_model), Compute(torch.device("cpu"), torch.float32))
    model.pipeline.unet.set_attn_processor(AttnProcessor2_0())
    attention.steady(model.pipeline.unet, torch.device("cuda"))
    assert attention.SteadyAttention not in {type(each) for each in model.pipeline.unet.attn_processors.values()}


@pytest.mark.usefixtures("narrow")
def test_drawing_in_float16(tiny_model: Path) -> None:
    image = draw(loud(tiny_model, "float16"), [Request("PA chest X-ray", "", 1)], steps=2, guidance=2.0)
    assert np.ptp(image) > 0
