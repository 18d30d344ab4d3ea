"""What a family of models brings, and what all families share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from synthcxr.errors import UsageError
from synthcxr.images import Grey, Size, to_grey_levels, to_model_range

if TYPE_CHECKING:
    from torch import Tensor

    from synthcxr.config import TrainConfig

Text = dict[str, "Tensor"]
"""Prompts as a denoiser takes them: tensors by its own argument names, the first axis of each the prompts."""


@dataclass(frozen=True)
class Noised:
    """A batch as it is trained on: noisy latents, the network's times, what it is to predict, a weight an image."""

    latents: "Tensor"
    times: "Tensor"
    target: "Tensor"
    weights: "Tensor"


class NotFiniteError(FloatingPointError):
    """Some images of a batch are not finite: `bad` has their places, `images` all of them, the bad ones black."""

    def __init__(self, images: Grey, bad: list[int]) -> None:
        super().__init__("The decoder gave values that are not finite.")
        self.images, self.bad = images, bad


class Family(ABC):
    """One kind of latent diffusion model. It holds no weights: they are in the pipeline of diffusers that it is given.

    A new family is a file with the class variables without a value and the abstract methods below, and its name in
    `FAMILIES`. The other methods are right for most kinds of model; a family puts its own in their place where not.
    """

    name: ClassVar[str]
    """What people call it, in messages and manifests."""
    pipeline_class: ClassVar[str]
    """The class of diffusers that it is loaded with, as ``model_index.json`` names it."""
    denoiser: ClassVar[str]
    """The part of the pipeline that removes noise."""
    samplers: ClassVar[dict[str, str]]
    """What ``--scheduler`` may be, with the class of diffusers; the first is the default."""
    targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of the names of the denoiser's layers that take LoRA."""
    text_targets: ClassVar[tuple[str, ...]] = ()
    """The same of the text encoder; none where it is never trained."""
    kohya: ClassVar[bool] = False
    """Whether a LoRA of it can be written with kohya's names."""
    edits: ClassVar[bool] = False
    """Whether its samplers can begin from an image with noise added, as `edit` does."""
    draws: ClassVar[bool] = True
    """Whether it draws from nothing but a prompt, and can be trained to."""
    call: ClassVar[str] = "guidance_scale=2.0"
    """What plain diffusers is called with beside the prompt, for the model card; `{side}` is the image's side."""

    # --- what a family must bring ---

    @abstractmethod
    def encode_text(self, pipeline: Any, prompts: Sequence[str]) -> Text:
        """Embeddings of prompts; what is too long is cut."""

    @abstractmethod
    def text_length(self, pipeline: Any) -> int:
        """Tokens of a prompt that the text encoder takes, those that mark its start and end included."""

    @abstractmethod
    def encode_images(self, pipeline: Any, images: Grey) -> "tuple[Tensor, Tensor]":
        """Mean and deviation of the latents of grey images (n, height, width), scaled as the denoiser sees them."""

    @abstractmethod
    def training_scheduler(self, pipeline: Any) -> Any:
        """What `noised` needs; its ``config.num_train_timesteps`` is the number of noise levels."""

    @abstractmethod
    def noised(
        self, scheduler: Any, latents: "Tensor", noise: "Tensor", levels: "Tensor", gamma: float | None = None
    ) -> Noised:
        """Latents with noise of the given levels (n,), from 0, nearly none, to the last, nearly nothing else.

        `gamma` is that of min-SNR weights.
        """

    @abstractmethod
    def make_scheduler(self, pipeline: Any, name: str) -> Any:
        """A fresh sampler with the model's own noise schedule, for a name that `sampler_class` knows."""

    # --- what a family may replace ---

    def check(self, config: "TrainConfig") -> None:  # noqa: B027 (most families take all options)
        """Raise UsageError where a training option is not for this family."""

    def surroundings(self, pipeline: Any, square: Grey, free: "npt.NDArray[np.bool_]") -> "Tensor | None":
        """More channels for the denoiser where only the cells `free` of an image are drawn; None: it has none."""
        return None

    def settle(self, folder: Path) -> None:  # noqa: B027 (most folders are right as they are)
        """Bring a saved diffusers folder into the form that older readers know."""

    def predict(self, pipeline: Any, latents: "Tensor", times: "Tensor", text: Text) -> "Tensor":
        """What the denoiser predicts of noisy latents at its own times: (n,), or one for all."""
        return self.network(pipeline)(latents, timestep=times, **text).sample  # type: ignore[no-any-return]

    def decode_latents(self, pipeline: Any, latents: "Tensor") -> Grey:
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

    # --- what is the same for all ---

    @property
    def parts(self) -> tuple[str, ...]:
        """The networks of the pipeline."""
        return (self.denoiser, "vae", "text_encoder")

    @property
    def trained(self) -> tuple[str, ...]:
        """The networks that are trained, or can take LoRA."""
        return (self.denoiser, "text_encoder") if self.text_targets else (self.denoiser,)

    def network(self, pipeline: Any) -> Any:
        """The denoiser."""
        return getattr(pipeline, self.denoiser)

    def image_size(self, pipeline: Any) -> int:
        """Side of the square images that a model was made for, in pixels; it also draws others of as many pixels."""
        return int(self.network(pipeline).config.sample_size * pipeline.vae_scale_factor)

    def latent_shape(self, pipeline: Any, size: Size) -> tuple[int, int, int]:
        """Channels, height and width of the latents of an image of this size."""
        cell = pipeline.vae_scale_factor
        return (self.network(pipeline).config.in_channels, size[0] // cell, size[1] // cell)

    def sampler_class(self, name: str) -> Any:
        """The class of diffusers behind a sampler's name; UsageError where this family has none of that name."""
        import diffusers

        if name not in self.samplers:
            raise UsageError(f"{self.name} is drawn with --scheduler {' or '.join(self.samplers)}, not {name}.")
        return getattr(diffusers, self.samplers[name])

    @property
    def default_sampler(self) -> str:
        """What draws where nobody chose."""
        return next(iter(self.samplers))

    def cut_off(self, pipeline: Any, prompt: str) -> str:
        """What of a prompt the text encoder does not see."""
        tokenizer = pipeline.tokenizer
        room = self.text_length(pipeline) - len(tokenizer("").input_ids)
        return str(tokenizer.decode(tokenizer(prompt, add_special_tokens=False).input_ids[room:]))


def to_colour(vae: Any, images: Grey) -> "Tensor":
    """Grey images (n, height, width) as an autoencoder takes them: (n, channels, height, width) from -1 to 1."""
    import torch

    grey = torch.from_numpy(to_model_range(images))[:, None].expand(-1, vae.config.in_channels, -1, -1)
    return grey.to(vae.device, vae.dtype).contiguous(memory_format=torch.channels_last)


def join(texts: Iterable[Text]) -> Text:
    """Several prompts' embeddings as one batch."""
    import torch

    held = list(texts)
    return {name: torch.cat([text[name] for text in held]) for name in held[0]}
