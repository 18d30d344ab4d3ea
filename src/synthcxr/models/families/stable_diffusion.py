"""Stable Diffusion 1.x and 2.x: an image autoencoder, a CLIP text encoder, a UNet, epsilon or v prediction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey, to_grey_levels, to_model_range

if TYPE_CHECKING:
    from torch import Tensor

UNET_LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")


class NotFiniteError(FloatingPointError):
    """Some images of a batch are not finite: `bad` has their places, `images` all of them, the bad ones black."""

    def __init__(self, images: Grey, bad: list[int]) -> None:
        super().__init__("The decoder gave values that are not finite.")
        self.images, self.bad = images, bad


def tokenize(pipeline: Any, prompts: Sequence[str]) -> "Tensor":
    """Token ids (prompts, tokens) of the encoder's fixed length; what does not fit is cut."""
    tokenizer = pipeline.tokenizer
    encoded = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    return encoded.input_ids  # type: ignore[no-any-return]


def encode_text(pipeline: Any, ids: "Tensor") -> "Tensor":
    """Text embeddings (prompts, tokens, width) as the UNet's cross-attention takes them."""
    encoder = pipeline.text_encoder
    return encoder(ids.to(encoder.device))[0]  # type: ignore[no-any-return]


def encode_images(pipeline: Any, images: Grey) -> "tuple[Tensor, Tensor]":
    """Mean and deviation of the posterior of grey images (n, height, width), scaled as the UNet sees latents."""
    import torch

    vae = pipeline.vae
    grey = torch.from_numpy(to_model_range(images))[:, None].expand(-1, vae.config.in_channels, -1, -1)
    grey = grey.to(vae.device, vae.dtype).contiguous(memory_format=torch.channels_last)
    posterior = vae.encode(grey).latent_dist
    return posterior.mean * vae.config.scaling_factor, posterior.std * vae.config.scaling_factor


def decode_latents(pipeline: Any, latents: "Tensor") -> Grey:
    """Grey images (n, height, width) of scaled latents; colour, where the autoencoder has any, is averaged.

    Raises NotFiniteError where some are not finite.
    """
    import torch

    vae = pipeline.vae
    scaled = (latents / vae.config.scaling_factor).to(vae.dtype).contiguous(memory_format=torch.channels_last)
    decoded = vae.decode(scaled).sample.float()
    bad = (~torch.isfinite(decoded).flatten(1).all(1)).nonzero().flatten().tolist()
    values: npt.NDArray[np.float32] = decoded.nan_to_num(-1.0, -1.0, -1.0).clamp(-1, 1).mean(1).cpu().numpy()
    if bad:
        raise NotFiniteError(to_grey_levels(values), bad)
    return to_grey_levels(values)


def training_scheduler(pipeline: Any) -> Any:
    """The scheduler that adds noise in training, with the base's own noise schedule and prediction type."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(pipeline.scheduler.config)


def prediction_target(scheduler: Any, latents: "Tensor", noise: "Tensor", times: "Tensor") -> "Tensor":
    """What the UNet is to predict: the noise, or the velocity (arXiv:2202.00512)."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        return scheduler.get_velocity(latents, noise, times)  # type: ignore[no-any-return]
    raise ValueError(f"Prediction type {kind!r} is not known.")


def loss_weights(scheduler: Any, times: "Tensor", gamma: float | None) -> "Tensor":
    """Min-SNR-gamma weights of a batch (arXiv:2303.09556, section 3.4); ones where gamma is None."""
    import torch

    if gamma is None:
        return torch.ones(len(times), device=times.device)
    alphas = scheduler.alphas_cumprod.to(times.device)[times]
    snr: Tensor = alphas / (1 - alphas)
    clipped = snr.clamp(max=gamma)
    if scheduler.config.prediction_type == "epsilon":
        return clipped / snr.clamp(min=1e-8)
    return clipped / (snr + 1)
