"""Families: targets, weights, latents and text, held to diffusers and to the papers' formulas."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler

from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.sampler import Request, draw
from synthcxr.models import layout
from synthcxr.models.families import FAMILIES, family_of
from synthcxr.models.families.sana import Sana
from synthcxr.models.families.stable_diffusion import StableDiffusion, loss_weights, prediction_target
from synthcxr.models.registry import Model, load
from synthcxr.models.sources import fetched_files, missing_part
from tests.conftest import made_up_xray

SD, SANA = StableDiffusion(), Sana()
WITHOUT_INSTRUCTION: dict[str, Any] = {"complex_human_instruction": None, "use_resolution_binning": False}


def scheduler(kind: str) -> DDPMScheduler:
    return DDPMScheduler(prediction_type=kind, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


@pytest.fixture(scope="module")
def sana(tiny_sana: Path) -> Model:
    return load(str(tiny_sana), pick("cpu"))


def test_targets() -> None:
    x, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999])
    assert (prediction_target(scheduler("epsilon"), x, noise, t) == noise).all()
    alpha = scheduler("v_prediction").alphas_cumprod[t].view(-1, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * x  # arXiv:2202.00512, appendix D
    batch = SD.noised(scheduler("v_prediction"), x, noise, t)
    assert torch.allclose(batch.target, velocity, atol=1e-6) and (batch.times == t).all()
    assert torch.allclose(batch.latents, alpha.sqrt() * x + (1 - alpha).sqrt() * noise, atol=1e-6)
    with pytest.raises(ValueError, match="not known"):
        prediction_target(scheduler("sample"), x, noise, t)


def test_min_snr_weights() -> None:
    """Those of diffusers' training scripts: min(SNR, γ)/SNR for noise, min(SNR, γ)/(SNR + 1) for velocity."""
    from diffusers.training_utils import compute_snr

    t = torch.tensor([1, 100, 500, 998])
    for kind, extra in (("epsilon", 0), ("v_prediction", 1)):
        snr = compute_snr(scheduler(kind), t)
        expected = torch.minimum(snr, torch.full_like(snr, 5.0)) / (snr + extra)
        assert torch.allclose(loss_weights(scheduler(kind), t, 5.0), expected, rtol=1e-4)
    assert (loss_weights(scheduler("epsilon"), t, None) == 1).all()


def test_flow_matching_is_that_of_diffusers(sana: Model) -> None:
    """Noise levels, noisy latents and weights of diffusers' training script for Sana, without a weighting scheme."""
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    x, noise, levels = torch.randn(3, 8, 8, 8), torch.randn(3, 8, 8, 8), torch.tensor([0, 500, 999])
    batch = SANA.noised(SANA.training_scheduler(sana.pipeline), x, noise, levels)
    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    times = theirs.timesteps.flip(0)[levels]
    assert batch.times.tolist() == times.tolist() == [1, 501, 1000]
    assert torch.allclose(batch.latents, theirs.scale_noise(x, times, noise), atol=1e-6)
    assert torch.equal(batch.target, noise - x)
    assert torch.equal(batch.weights, compute_loss_weighting_for_sd3("none", times / 1000))


def test_one_step_along_the_target_ends_at_the_image(sana: Model) -> None:
    """The sampler's convention and the target's are one: with the true direction, it arrives where it should."""
    x, noise = torch.randn(1, 8, 8, 8), torch.randn(1, 8, 8, 8)
    for name in SANA.samplers:
        sampler = SANA.make_scheduler(sana.pipeline, name)
        sampler.set_timesteps(6)
        latents = noise
        for time in sampler.timesteps:
            latents = sampler.step(noise - x, time, latents, return_dict=False)[0]
        assert torch.allclose(latents, x, atol=2e-2), name


def test_a_shift_is_kept_whatever_sampler_it_was_written_for(sana: Model) -> None:
    expected = SANA.make_scheduler(sana.pipeline, "euler")
    sana.pipeline.scheduler, before = expected, sana.pipeline.scheduler
    try:
        again = SANA.make_scheduler(sana.pipeline, "dpm++")
    finally:
        sana.pipeline.scheduler = before
    assert expected.config.shift == again.config.flow_shift == before.config.flow_shift == 3.0
    assert again.config.prediction_type == "flow_prediction"


def test_latents_are_those_of_the_autoencoder(tiny_model: Path, sana: Model) -> None:
    pipeline = load(str(tiny_model), pick("cpu")).pipeline
    images = np.stack([made_up_xray(seed) for seed in range(3)])
    colour = torch.from_numpy(images / 127.5 - 1).float()[:, None].repeat(1, 3, 1, 1)
    with torch.no_grad():
        mean, std = SD.encode_images(pipeline, images)
        posterior = pipeline.vae.encode(colour).latent_dist
        compressed, none = SANA.encode_images(sana.pipeline, images)
        expected = sana.pipeline.vae.encode(colour).latent * 0.41407
    factor = pipeline.vae.config.scaling_factor
    assert torch.allclose(mean, posterior.mean * factor, atol=1e-5)
    assert torch.allclose(std, posterior.std * factor, atol=1e-5)
    assert torch.allclose(compressed, expected, atol=1e-5) and (none == 0).all() and none.shape == compressed.shape


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_values_that_are_not_finite_are_refused(family: Any, request: pytest.FixtureRequest) -> None:
    tiny = {"Sana": "tiny_sana", "Stable Diffusion": "tiny_model", "Stable Diffusion inpainting": "tiny_inpainting"}
    pipeline = load(str(request.getfixturevalue(tiny[family.name])), pick("cpu")).pipeline
    assert family_of(pipeline) is family
    shape = family.latent_shape(pipeline, (64, 64))
    assert shape[1:] == (8, 8) and family.image_size(pipeline) == 64
    with pytest.raises(FloatingPointError):
        family.decode_latents(pipeline, torch.full((1, *shape), float("nan")))


@pytest.mark.parametrize("scheduler_name", SANA.samplers)
def test_sana_draws_what_plain_diffusers_draws(tiny_sana: Path, sana: Model, scheduler_name: str) -> None:
    prompts, seeds = ["PA chest X-ray", "Effusion of an old man"], [1, 2]
    requests = [Request(prompt, "noise", seed) for prompt, seed in zip(prompts, seeds, strict=True)]
    ours = draw(sana, requests, steps=4, guidance=3.0, scheduler=scheduler_name).astype(float)
    pipeline = DiffusionPipeline.from_pretrained(tiny_sana)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler_name == "euler":
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    elif scheduler_name == "unipc":
        from diffusers import UniPCMultistepScheduler

        pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    images = pipeline(
        prompts,
        negative_prompt="noise",
        num_inference_steps=4,
        guidance_scale=3.0,
        height=64,
        width=64,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
        **WITHOUT_INSTRUCTION,
    ).images
    assert np.abs(np.rint(images.mean(-1) * 255) - ours).max() <= 1
    assert ours.std() > 5, "nothing is drawn"


def test_what_a_text_encoder_does_not_see(tiny_model: Path, sana: Model) -> None:
    assert SANA.cut_off(sana.pipeline, "x" * 299) == "" and SANA.cut_off(sana.pipeline, "x" * 297 + "abcd") == "cd"
    pipeline = load(str(tiny_model), pick("cpu")).pipeline
    assert SD.cut_off(pipeline, "effusion " * 75) == "" and SD.cut_off(pipeline, "effusion " * 76).strip() == "effusion"
    with torch.no_grad():
        cut, whole = (SANA.encode_text(sana.pipeline, ["x" * count]) for count in (299, 400))
    assert all(torch.equal(cut[name], whole[name]) for name in cut)


def test_samplers_of_another_family_are_refused(sana: Model) -> None:
    with pytest.raises(UsageError, match=r"Sana is drawn with --scheduler dpm\+\+ or unipc or euler, not ddim"):
        draw(sana, [Request("a", "", 1)], steps=2, guidance=1.0, scheduler="ddim")


def test_a_model_of_no_family_is_refused_before_its_weights_are_read(tiny_sana: Path, tmp_path: Path) -> None:
    index = json.loads((tiny_sana / "model_index.json").read_text())
    names = [path.relative_to(tiny_sana).as_posix() for path in tiny_sana.rglob("*")]
    assert missing_part(index, names) is None
    assert "names no transformer" in str(missing_part(index | {"transformer": [None, None]}, names))
    assert "transformer lacks" in str(missing_part(index, [name for name in names if "transformer/" not in name]))
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    with pytest.raises(SynthCXRError, match="is a FluxPipeline"):
        load(str(tmp_path), pick("cpu"))


def test_half_precision_copies_are_not_fetched(tmp_path: Path) -> None:
    """The publisher of Sana keeps its text encoder twice, in shards."""
    names = ("model-00001-of-00002.safetensors", "model.safetensors.index.json")
    copies = ("model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json")
    (tmp_path / "text_encoder").mkdir()
    for name in (*names, *copies):
        (tmp_path / "text_encoder" / name).touch()
    assert fetched_files(tmp_path) == [f"text_encoder/{name}" for name in names]


COUNTS = {"unet": 865_910_724, "text_encoder": 340_387_840, "vae": 83_653_863}
"""Parameters of stabilityai/stable-diffusion-2-1-base."""


def test_the_full_size_layout_has_the_published_number_of_parameters() -> None:
    """Counted on shapes alone, nothing is allocated."""
    with torch.device("meta"):
        pipeline = layout.build("sd21")
    assert {part: sum(p.numel() for p in getattr(pipeline, part).parameters()) for part in COUNTS} == COUNTS
