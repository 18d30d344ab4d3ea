"""The method `autoencoder`: the image autoencoder of a model, on crops of the training images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.config import TrainConfig
from synthcxr.imagefolder import Row
from synthcxr.images import contact_sheet, read_grey, to_grey_levels, to_model_range, write_png
from synthcxr.seeds import seed_for
from synthcxr.training.data import augment, batch_indices, random_crop

if TYPE_CHECKING:
    from torch import Tensor

KL_WEIGHT = 2e-4
"""Weight of the KL term, both it and the pixel terms taken as means: latents stay near unit variance."""


class AutoencoderTask:
    """Trains an `AutoencoderKL` with L1 on pixels, L1 on gradients at three scales, and a light KL term."""

    def __init__(self, model: Any, config: TrainConfig, rows: list[Row], held_out: list[Row]) -> None:
        self.vae, self.config, self.rows, self.held_out = model.pipeline.vae, config, rows, held_out
        self.device = model.compute.device
        self.vae.train().requires_grad_(True)
        self.modules = {"vae": self.vae}

    def loss(self, step: int) -> "Tensor":
        """L1 + gradient L1 + KL on one batch of random crops."""
        import torch

        images = self._batch(step)
        posterior = self.vae.encode(images).latent_dist
        noise = torch.randn(
            posterior.mean.shape,
            generator=torch.Generator().manual_seed(seed_for(self.config.seed, "noise", step)),
        )
        latents = posterior.mean + posterior.std * noise.to(self.device)
        decoded = self.vae.decode(latents).sample
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        loss: Tensor = (decoded - images).abs().mean() + gradient_difference(decoded, images) + KL_WEIGHT * kl
        return loss

    def _batch(self, step: int) -> "Tensor":
        import torch

        crops = []
        for slot, index in enumerate(batch_indices(len(self.rows), self.config.batch_size, step, self.config.seed)):
            rng = np.random.default_rng(seed_for(self.config.seed, "crop", step, slot))
            image = augment(read_grey(self.rows[index].path), rng)
            crops.append(random_crop(image, self.config.crop_size or image.shape[0], rng))
        grey = torch.from_numpy(to_model_range(np.stack(crops)))
        images = grey[:, None].expand(-1, self.vae.config.in_channels, -1, -1)
        return images.to(self.device).contiguous(memory_format=torch.channels_last)

    def sample(self, path: Path) -> None:
        """Eight held-out images above their reconstructions."""
        import torch

        among = self.held_out or self.rows
        rows = among[:: max(1, len(among) // 8)][:8]
        real = [read_grey(row.path) for row in rows]
        grey = torch.from_numpy(to_model_range(np.stack(real)))[:, None].to(self.device)
        self.vae.eval()
        with torch.no_grad():
            images = grey.expand(-1, self.vae.config.in_channels, -1, -1)
            decoded = self.vae.decode(self.vae.encode(images).latent_dist.mean).sample.mean(1)
        self.vae.train()
        drawn = to_grey_levels(decoded.float().cpu().numpy())
        write_png(path, contact_sheet([*real, *drawn], columns=len(real)))

    def measure(self, limit: int = 64) -> dict[str, float]:
        """Mean PSNR (dB) on held-out images, or on training images where there are none; and the latents' scale.

        `scaling_factor` is what brings latents to unit variance.
        """
        import torch

        self.vae.eval()
        psnr, latents = [], []
        with torch.no_grad():
            for row in (self.held_out or self.rows)[:limit]:
                real = read_grey(row.path)
                grey = torch.from_numpy(to_model_range(real))[None, None].to(self.device)
                latent = self.vae.encode(grey.expand(-1, self.vae.config.in_channels, -1, -1)).latent_dist.mean
                drawn = to_grey_levels(self.vae.decode(latent).sample.mean(1)[0].float().cpu().numpy())
                error = np.mean((drawn.astype(np.float64) - real) ** 2)
                psnr.append(10 * np.log10(255**2 / max(float(error), 1e-10)))
                latents.append(latent)
        return {"psnr_db": float(np.mean(psnr)), "scaling_factor": float(1 / torch.cat(latents).std())}


def gradient_difference(a: "Tensor", b: "Tensor", scales: int = 3) -> "Tensor":
    """Mean absolute difference of gradients over halved resolutions: edges of ribs and vessels."""
    from torch.nn.functional import avg_pool2d

    difference, total = a - b, a.new_zeros(())
    for _ in range(scales):
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        difference = avg_pool2d(difference, 2)
    return total / scales
