"""Stable Diffusion's inpainting models: the UNet is also shown where it may draw, and what is around that."""

from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.errors import UsageError
from synthcxr.images import Grey, Size
from synthcxr.models.families.base import to_colour
from synthcxr.models.families.stable_diffusion import StableDiffusion

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from synthcxr.config import TrainConfig


class StableDiffusionInpainting(StableDiffusion):
    """A UNet of nine channels: four of noisy latents, one of the mask, four of the image without what it hides."""

    name = "Stable Diffusion inpainting"
    pipeline_class = "StableDiffusionInpaintPipeline"
    edits = False
    draws = False

    def check(self, config: "TrainConfig") -> None:
        """Refuse: nothing is trained on masks here."""
        raise UsageError(f"{self.name} cannot be trained here; take the Stable Diffusion that it was made from.")

    def surroundings(self, pipeline: Any, square: Grey, free: "npt.NDArray[np.bool_]") -> "Tensor | None":
        """The mask and the latents of the image in which masked pixels are mid-grey, (1, 5, cells, cells).

        The order is that of diffusers' StableDiffusionInpaintPipeline; it draws the latents from the posterior, here
        they are its mean.
        """
        import torch

        vae = pipeline.vae
        cell = len(square) // len(free)
        pixels = torch.from_numpy(np.kron(free, np.ones((cell, cell), bool)))
        seen = to_colour(vae, square[None]).masked_fill(pixels.to(vae.device), 0.0)
        latents = vae.encode(seen).latent_dist.mean * vae.config.scaling_factor
        mask = torch.from_numpy(free).to(latents)[None, None]
        return torch.cat([mask, latents], dim=1).float()

    def latent_shape(self, pipeline: Any, size: Size) -> tuple[int, int, int]:
        """Only the latents themselves."""
        return (pipeline.vae.config.latent_channels, *super().latent_shape(pipeline, size)[1:])
