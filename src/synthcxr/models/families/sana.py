"""Sana (arXiv:2410.10629): a deep-compression autoencoder, Gemma 2 for text, a linear transformer, flow matching."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synthcxr.errors import UsageError
from synthcxr.images import Grey
from synthcxr.models.families.base import Family, Noised, Text, to_colour

if TYPE_CHECKING:
    from torch import Tensor

    from synthcxr.config import TrainConfig

TOKENS = 300


class Sana(Family):
    """Trained as by diffusers' ``train_dreambooth_lora_sana.py``: noise levels without shift, all weighted alike.

    Prompts go to Gemma as they are, without the instruction to embellish them that `SanaPipeline` puts before them
    unless it is told otherwise: it is about cats and cities, and what a model adds to a report is not in the image.
    """

    name = "Sana"
    pipeline_class = "SanaPipeline"
    denoiser = "transformer"
    samplers = {  # noqa: RUF012
        "dpm++": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler",
        "euler": "FlowMatchEulerDiscreteScheduler",
    }
    call = "guidance_scale=2.0, height={side}, width={side}, complex_human_instruction=None"

    def encode_text(self, pipeline: Any, prompts: Sequence[str]) -> Text:
        """Gemma's last hidden states, and which of them are of the prompt."""
        embeddings, mask, _, _ = pipeline.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=pipeline.text_encoder.device,
            max_sequence_length=TOKENS,
            complex_human_instruction=None,
        )
        return {"encoder_hidden_states": embeddings, "encoder_attention_mask": mask}

    def text_length(self, pipeline: Any) -> int:
        """As many as in the paper's section 3.1."""
        return TOKENS

    def encode_images(self, pipeline: Any, images: Grey) -> "tuple[Tensor, Tensor]":
        """The latents; this autoencoder gives no spread, so the deviation is zero."""
        import torch

        latents = pipeline.vae.encode(to_colour(pipeline.vae, images)).latent * pipeline.vae.config.scaling_factor
        return latents, torch.zeros_like(latents)

    def training_scheduler(self, pipeline: Any) -> Any:
        """As many noise levels as the base has."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=pipeline.scheduler.config.num_train_timesteps)

    def noised(
        self, scheduler: Any, latents: "Tensor", noise: "Tensor", levels: "Tensor", gamma: float | None = None
    ) -> Noised:
        """On the straight line from image to noise at (level + 1) / levels; the target is its direction."""
        import torch

        times = (levels + 1).to(latents.dtype)
        share = (times / scheduler.config.num_train_timesteps).view(-1, 1, 1, 1)
        return Noised(
            latents=(1 - share) * latents + share * noise,
            times=times,
            target=noise - latents,
            weights=torch.ones(len(levels), device=levels.device),
        )

    def make_scheduler(self, pipeline: Any, name: str) -> Any:
        """The sampler with the base's shift towards noise, whichever kind of sampler that is written down for."""
        kind, config = self.sampler_class(name), pipeline.scheduler.config
        shift = config.get("flow_shift", config.get("shift", 1.0))
        if name == "euler":
            return kind.from_config(config, shift=shift)
        return kind.from_config(config, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)

    def predict(self, pipeline: Any, latents: "Tensor", times: "Tensor", text: Text) -> "Tensor":
        """The transformer's prediction without the variance that some bases give beside it."""
        config = pipeline.transformer.config
        scaled = times.expand(len(latents)) * config.timestep_scale
        predicted: Tensor = super().predict(pipeline, latents, scaled, text)
        return predicted[:, : config.in_channels] if config.out_channels == 2 * config.in_channels else predicted

    def check(self, config: "TrainConfig") -> None:
        """Refuse what is of Stable Diffusion alone."""
        if config.method == "autoencoder":
            raise UsageError("--method autoencoder trains that of Stable Diffusion; Sana's stays as it is.")
        if config.train_text_encoder:
            raise UsageError(
                "--train-text-encoder is not for Sana: Gemma stays as it is, and diffusers reads no LoRA on it."
            )
        if config.min_snr_gamma is not None:
            raise UsageError("--min-snr-gamma weights noise or velocity; Sana is trained by flow matching, unweighted.")
