"""Stable Diffusion's own: targets, weights and latents, held to diffusers and to the papers' formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from synthcxr.devices import pick
from synthcxr.models.families import stable_diffusion as family
from synthcxr.models.registry import load
from tests.conftest import made_up_xray


def scheduler(kind: str) -> DDPMScheduler:
    return DDPMScheduler(prediction_type=kind, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def test_targets() -> None:
    x, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999])
    assert (family.prediction_target(scheduler("epsilon"), x, noise, t) == noise).all()
    alpha = scheduler("v_prediction").alphas_cumprod[t].view(-1, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * x  # arXiv:2202.00512, appendix D
    assert torch.allclose(family.prediction_target(scheduler("v_prediction"), x, noise, t), velocity, atol=1e-6)
    with pytest.raises(ValueError, match="not known"):
        family.prediction_target(scheduler("sample"), x, noise, t)


def test_min_snr_weights() -> None:
    """Those of diffusers' training scripts: min(SNR, γ)/SNR for noise, min(SNR, γ)/(SNR + 1) for velocity."""
    from diffusers.training_utils import compute_snr

    t = torch.tensor([1, 100, 500, 998])
    for kind, extra in (("epsilon", 0), ("v_prediction", 1)):
        snr = compute_snr(scheduler(kind), t)
        expected = torch.minimum(snr, torch.full_like(snr, 5.0)) / (snr + extra)
        assert torch.allclose(family.loss_weights(scheduler(kind), t, 5.0), expected, rtol=1e-4)
    assert (family.loss_weights(scheduler("epsilon"), t, None) == 1).all()


def test_latents_are_those_of_the_autoencoder(tiny_model: Path) -> None:
    pipeline = load(str(tiny_model), pick("cpu")).pipeline
    images = np.stack([made_up_xray(seed) for seed in range(3)])
    with torch.no_grad():
        mean, std = family.encode_images(pipeline, images)
        colour = torch.from_numpy(images / 127.5 - 1).float()[:, None].repeat(1, 3, 1, 1)
        posterior = pipeline.vae.encode(colour).latent_dist
    factor = pipeline.vae.config.scaling_factor
    assert torch.allclose(mean, posterior.mean * factor, atol=1e-5)
    assert torch.allclose(std, posterior.std * factor, atol=1e-5)


def test_values_that_are_not_finite_are_refused(tiny_model: Path) -> None:
    pipeline = load(str(tiny_model), pick("cpu")).pipeline
    with pytest.raises(FloatingPointError):
        family.decode_latents(pipeline, torch.full((1, 24, 8, 8), float("nan")))
