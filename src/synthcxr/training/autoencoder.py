"""The method `autoencoder`: the image autoencoder of a model, on crops of the training images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.config import TrainConfig
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, contact_sheet, crop_centre, to_grey_levels, to_model_range, write_png
from synthcxr.seeds import seed_for
from synthcxr.training.ahead import Ahead, threads_for
from synthcxr.training.data import augment, batch_indices, random_crop, spread
from synthcxr.training.principal import principal_components, write_encoder

if TYPE_CHECKING:
    from torch import Tensor, nn

KL_WEIGHT = 2e-4
"""Weight of the KL term, both it and the pixel terms taken as means: latents stay near unit variance."""
COMPONENT_IMAGES = 512
"""Training images of which principal components are taken."""


class AutoencoderTask:
    """Trains an `AutoencoderKL` to keep what X-rays live by, the edges of ribs and vessels.

    L1 on pixels, L1 on gradients at three scales, multi-scale structural similarity, a light KL term; from
    `adversarial_from` on also a patch discriminator (hinge loss, arXiv:2012.09841), its word made as strong as
    `adversarial_weight` times the other terms' (the paper's section 3.2, at the decoder's output). The discriminator
    learns in the same backward pass: the decoder's term holds its weights fixed, its own term holds the images fixed.
    """

    half = False

    def __init__(self, model: Any, config: TrainConfig, rows: list[Row], held_out: list[Row]) -> None:
        self.vae, self.config, self.rows, self.held_out = model.pipeline.vae, config, rows, held_out
        self.device = model.compute.device
        self.vae.train().requires_grad_(True)
        if config.latents == "principal":
            self._fix_encoder()
        self.ahead = Ahead(self._batch, config.steps, threads_for(self.device))
        self.modules = {"vae": self.vae}
        if config.adversarial_weight:
            self.discriminator = build_discriminator(config.seed).to(self.device)
            self.modules["discriminator"] = self.discriminator

    def _fix_encoder(self) -> None:
        """Give the encoder the principal components of training images, and leave it so."""
        images = [row.read() for row in spread(self.rows, COMPONENT_IMAGES)]
        widths = self.vae.config.block_out_channels[:-1]
        write_encoder(self.vae, principal_components(images, widths, self.vae.config.latent_channels))
        for part in (self.vae.encoder, self.vae.quant_conv):
            part.eval().requires_grad_(False)

    def loss(self, step: int, slots: range) -> "Tensor":
        """The weighted sum of all terms on random crops."""
        import torch

        images = self.ahead.get(step, slots).to(self.device, non_blocking=True)
        with torch.set_grad_enabled(self.config.latents == "learned"):
            posterior = self.vae.encode(images).latent_dist
        seeds = [seed_for(self.config.seed, "noise", step, slot) for slot in slots]
        shape = posterior.mean.shape[1:]
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        latents = posterior.mean + posterior.std * noise.to(self.device)
        decoded = self.vae.decode(latents).sample
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        loss: Tensor = (decoded - images).abs().mean() + gradient_difference(decoded, images) + KL_WEIGHT * kl
        grey, wanted = decoded.mean(1, keepdim=True), images[:, :1]
        if self.config.ssim_weight:
            loss = loss + self.config.ssim_weight * (1 - structural_similarity(grey, wanted))
        if self.config.adversarial_weight and step >= self.config.adversarial_from:
            fooled, told_apart = self._adversarial(grey, wanted)
            pull = torch.autograd.grad(loss, decoded, retain_graph=True)[0].norm()
            push = torch.autograd.grad(fooled, decoded, retain_graph=True)[0].norm()
            loss = loss + self.config.adversarial_weight * (pull / push.clamp(min=1e-8)) * fooled + told_apart
        return loss

    def _adversarial(self, drawn: "Tensor", real: "Tensor") -> "tuple[Tensor, Tensor]":
        """How unreal the drawn images look to the discriminator, and how badly it tells them apart."""
        from torch.func import functional_call
        from torch.nn.functional import relu

        held = {name: value.detach() for name, value in self.discriminator.state_dict(keep_vars=True).items()}
        fooled: Tensor = -functional_call(self.discriminator, held, (drawn,)).mean()
        told_apart: Tensor = (
            relu(1 - self.discriminator(real)).mean() + relu(1 + self.discriminator(drawn.detach())).mean()
        )
        return fooled, told_apart

    def _batch(self, step: int, slots: range) -> "Tensor":
        """Random crops of a step's images, on the CPU."""
        import torch

        crops = []
        indices = batch_indices(len(self.rows), self.config.batch_size, step, self.config.seed)
        for slot in slots:
            rng = np.random.default_rng(seed_for(self.config.seed, "crop", step, slot))
            image = augment(self.rows[indices[slot]].read(), rng)
            crops.append(random_crop(image, self.config.crop_size or image.shape[0], rng))
        grey = torch.from_numpy(to_model_range(np.stack(crops)))
        images = grey[:, None].expand(-1, self.vae.config.in_channels, -1, -1)
        images = images.contiguous(memory_format=torch.channels_last)
        return images.pin_memory() if self.device.type == "cuda" else images

    def sample(self, path: Path) -> None:
        """Eight held-out images above their reconstructions."""
        import torch

        real = central_squares(spread(self.held_out or self.rows, 8))
        grey = torch.from_numpy(to_model_range(np.stack(real)))[:, None].to(self.device)
        self.vae.eval()
        with torch.no_grad():
            images = grey.expand(-1, self.vae.config.in_channels, -1, -1)
            decoded = self.vae.decode(self.vae.encode(images).latent_dist.mean).sample.mean(1)
        self.vae.train()
        drawn = to_grey_levels(decoded.float().cpu().numpy())
        write_png(path, contact_sheet([*real, *drawn], columns=len(real)))

    def measure(self, limit: int = 64) -> dict[str, float]:
        """Mean PSNR (dB) and MS-SSIM of held-out images, or of training images where there are none.

        `scaling_factor` is what brings latents to unit variance.
        """
        import torch

        self.vae.eval()
        psnr, similarity, latents = [], [], []
        with torch.no_grad():
            for real in central_squares(spread(self.held_out or self.rows, limit)):
                grey = torch.from_numpy(to_model_range(real))[None, None].to(self.device)
                latent = self.vae.encode(grey.expand(-1, self.vae.config.in_channels, -1, -1)).latent_dist.mean
                decoded = self.vae.decode(latent).sample.mean(1, keepdim=True).clamp(-1, 1)
                similarity.append(float(structural_similarity(decoded, grey)))
                drawn = to_grey_levels(decoded[0, 0].float().cpu().numpy())
                error = np.mean((drawn.astype(np.float64) - real) ** 2)
                psnr.append(10 * np.log10(255**2 / max(float(error), 1e-10)))
                latents.append(latent)
        self.vae.train()
        return {
            "psnr_db": float(np.mean(psnr)),
            "ms_ssim": float(np.mean(similarity)),
            "scaling_factor": float(1 / torch.cat(latents).std()),
        }


def central_squares(rows: list[Row]) -> list[Grey]:
    """The middle of each image, as large as all of them have it."""
    images = [row.read() for row in rows]
    side = min(min(image.shape) for image in images)
    return [crop_centre(image, (side, side)) for image in images]


def gradient_difference(a: "Tensor", b: "Tensor", scales: int = 3) -> "Tensor":
    """Mean absolute difference of gradients over halved resolutions: edges of ribs and vessels."""
    from torch.nn.functional import avg_pool2d

    difference, total = a - b, a.new_zeros(())
    for _ in range(scales):
        total = total + difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
        difference = avg_pool2d(difference, 2)
    return total / scales


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales of MS-SSIM (Wang, Simoncelli, Bovik 2003, section 3.2)."""
WINDOW = 11


def structural_similarity(a: "Tensor", b: "Tensor") -> "Tensor":
    """Mean MS-SSIM of images (n, channels, height, width) from -1 to 1; fewer scales where they are too small for five.

    Wang, Simoncelli, Bovik 2003: an 11 px Gaussian window of 1.5 px deviation, K = (0.01, 0.03), no padding. Negative
    terms count as zero, as they have no real power.
    """
    import torch
    from torch.nn.functional import avg_pool2d, conv2d

    scales = len(SCALE_WEIGHTS)
    while scales > 1 and min(a.shape[-2:]) < WINDOW * 2 ** (scales - 1):
        scales -= 1
    weights = torch.tensor(SCALE_WEIGHTS[:scales], device=a.device) / sum(SCALE_WEIGHTS[:scales])
    line = torch.exp(-((torch.arange(WINDOW, device=a.device) - WINDOW // 2) ** 2) / (2 * 1.5**2))
    line = line / line.sum()

    def blur(x: "Tensor") -> "Tensor":
        x = conv2d(x.flatten(0, 1)[:, None], line.view(1, 1, -1, 1))
        return conv2d(x, line.view(1, 1, 1, -1))

    c1, c2 = (0.01 * 2.0) ** 2, (0.03 * 2.0) ** 2  # the range of values is 2
    a, b = a + 1, b + 1
    terms = []
    for scale in range(scales):
        mean_a, mean_b = blur(a), blur(b)
        variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
        covariance = blur(a * b) - mean_a * mean_b
        term = (2 * covariance + c2) / (variance_a + variance_b + c2)
        if scale == scales - 1:
            term = term * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        terms.append(term.mean(dim=(1, 2, 3)).clamp(min=1e-6))
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    similarity: Tensor = (torch.stack(terms, dim=1) ** weights).prod(dim=1).mean()
    return similarity


def build_discriminator(seed: int) -> "nn.Module":
    """Three strided convolutions: says of each 22 px patch of grey images (n, 1, height, width) how real it looks."""
    import torch
    from torch import nn

    def halve(before: int, after: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 24, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *halve(24, 48),
            *halve(48, 96),
            nn.Conv2d(96, 1, 3, 1, 1),
        )
