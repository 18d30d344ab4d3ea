"""Stable Diffusion 1.x and 2.x: an image autoencoder, a CLIP text encoder, a UNet, epsilon or v prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr.images import Grey
from synthcxr.models.families.base import Family, Noised, Text, to_colour

if TYPE_CHECKING:
    from torch import Tensor


class StableDiffusion(Family):
    """Noise is added and taken away by a variance-preserving schedule (arXiv:2112.10752)."""

    name = "Stable Diffusion"
    pipeline_class = "StableDiffusionPipeline"
    denoiser = "unet"
    samplers = {  # noqa: RUF012
        "ddim": "DDIMScheduler",
        "dpm++": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler",
        "euler": "EulerDiscreteScheduler",
        "lcm": "LCMScheduler",
    }
    text_targets = ("q_proj", "k_proj", "v_proj", "out_proj")
    kohya = True
    edits = True

    def encode_text(self, pipeline: Any, prompts: Sequence[str]) -> Text:
        """The text encoder's last hidden states, all tokens of its fixed length."""
        encoder, length = pipeline.text_encoder, self.text_length(pipeline)
        ids = pipeline.tokenizer(
            list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return {"encoder_hidden_states": encoder(ids.to(encoder.device))[0]}

    def text_length(self, pipeline: Any) -> int:
        """77 tokens in all published models."""
        return int(pipeline.tokenizer.model_max_length)

    def encode_images(self, pipeline: Any, images: Grey) -> "tuple[Tensor, Tensor]":
        """Mean and deviation of the posterior."""
        vae = pipeline.vae
        posterior = vae.encode(to_colour(vae, images)).latent_dist
        return posterior.mean * vae.config.scaling_factor, posterior.std * vae.config.scaling_factor

    def training_scheduler(self, pipeline: Any) -> Any:
        """The base's own noise schedule and prediction type."""
        from diffusers import DDPMScheduler

        return DDPMScheduler.from_config(pipeline.scheduler.config)

    def noised(
        self, scheduler: Any, latents: "Tensor", noise: "Tensor", levels: "Tensor", gamma: float | None = None
    ) -> Noised:
        """Levels are the schedule's time steps; weights are min-SNR-gamma's, or ones."""
        return Noised(
            latents=scheduler.add_noise(latents, noise, levels),
            times=levels,
            target=prediction_target(scheduler, latents, noise, levels),
            weights=loss_weights(scheduler, levels, gamma),
        )

    def make_scheduler(self, pipeline: Any, name: str) -> Any:
        """The sampler with the base's noise schedule and prediction type."""
        return self.sampler_class(name).from_config(pipeline.scheduler.config)

    def settle(self, folder: Path) -> None:
        """Text-encoder keys get the ``text_model.`` prefix, and CLIP's two older vocabulary files lie beside the new.

        The text encoder must be in one file.
        """
        _prefix_text_encoder(folder / "text_encoder" / "model.safetensors")
        _write_older_tokenizer(folder / "tokenizer")


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


def _prefix_text_encoder(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    prefixed = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in weights.items()}
    save_file(prefixed, path, metadata={"format": "pt"})


def _write_older_tokenizer(folder: Path) -> None:
    import json

    from synthcxr.store import write_bytes

    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    write_bytes(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False).encode())
    write_bytes(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]).encode())
