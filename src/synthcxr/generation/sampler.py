"""Drawing a batch of images: the same sampling loop as plain diffusers, both halves of the guidance in one pass."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from synthcxr.images import Grey, Size
from synthcxr.models.families.base import Text, join
from synthcxr.models.registry import Model
from synthcxr.progress import show_forming

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Request:
    """One image to draw: its prompt, what guidance steers away from, its seed, its size; by default the model's own."""

    prompt: str
    negative_prompt: str
    seed: int
    size: Size | None = None


def draw(model: Model, requests: Sequence[Request], **sampling: Any) -> Grey:
    """Draw a batch of images of one size; grey images (n, height, width). `sampling` is what `denoise` takes.

    Raises NotFiniteError, a FloatingPointError, where an image is not finite.
    """
    import torch

    pipeline, family = model.pipeline, model.family
    with torch.no_grad():
        for latents in denoise(model, requests, **sampling):
            show_forming(partial(family.decode_latents, pipeline, latents))
        return family.decode_latents(pipeline, latents)


def denoise(
    model: Model,
    requests: Sequence[Request],
    *,
    steps: int,
    guidance: float,
    scheduler: str | None = None,
    guidance_start: float = 0.0,
    guidance_end: float = 1.0,
    guidance_rescale: float = 0.0,
) -> "Iterator[Tensor]":
    """A batch's latents (n, channels, height, width), float32, before the first step and after each.

    Every image starts from its own seed's noise, made on the CPU in float32, so that batching and device do not
    change which image a seed is. Guidance is classifier-free (arXiv:2207.12598): u + guidance × (c − u); at 1, and
    outside `guidance_start` to `guidance_end` (shares of the steps, 0 the first; arXiv:2404.07724), the
    unconditional half is not computed. `guidance_rescale` is `rescale`'s share. A sampler that adds noise on its way
    takes it from the image's seed too. Gradients are the caller's to turn off.
    """
    import torch

    pipeline, compute, family = model.pipeline, model.compute, model.family
    sampler = family.make_scheduler(pipeline, scheduler or family.default_sampler)
    sampler.set_timesteps(steps, device=compute.device)
    generators = [torch.Generator("cpu").manual_seed(request.seed) for request in requests]
    takes_noise = "generator" in inspect.signature(sampler.step).parameters
    noisy: dict[str, Any] = {"generator": generators} if takes_noise else {}
    text = embed(model, [request.prompt for request in requests])
    without = embed(model, [request.negative_prompt for request in requests]) if guidance != 1 else None
    latents = noise(model, generators, common_size(model, requests)).to(compute.device)
    latents = latents * getattr(sampler, "init_noise_sigma", 1.0)  # flow-matching samplers scale nothing
    yield latents
    for number, time in enumerate(sampler.timesteps):
        guided = guidance_start <= number / steps < guidance_end
        scaled = sampler.scale_model_input(latents, time) if hasattr(sampler, "scale_model_input") else latents
        prediction = predict(model, scaled, time, text, without if guided else None, guidance, guidance_rescale)
        latents = sampler.step(prediction.float(), time, latents, **noisy, return_dict=False)[0]
        yield latents


def predict(
    model: Model,
    latents: "Tensor",
    time: "Tensor",
    text: Text,
    without: Text | None,
    guidance: float,
    guidance_rescale: float,
) -> "Tensor":
    """The prediction for `text`, steered away from the embeddings `without` where there are any."""
    import torch

    halves = latents if without is None else torch.cat([latents, latents])
    halves = halves.to(model.family.network(model.pipeline).dtype).contiguous(memory_format=torch.channels_last)
    prediction = model.family.predict(model.pipeline, halves, time, text if without is None else join([without, text]))
    if without is None:
        return prediction
    unguided, given = prediction.chunk(2)
    guided = unguided + guidance * (given - unguided)
    return rescale(guided, given, guidance_rescale) if guidance_rescale else guided


def rescale(guided: "Tensor", given: "Tensor", share: float) -> "Tensor":
    """Bring each image's guided prediction back to the deviation of the unguided one, by `share` (0 to 1).

    arXiv:2305.08891, section 3.4, equations 15 and 16: strong guidance over-exposes models of zero terminal SNR.
    """
    axes = tuple(range(1, guided.ndim))
    back = guided * (given.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
    return share * back + (1 - share) * guided


def common_size(model: Model, requests: Sequence[Request]) -> Size:
    """The size of a batch. Raises ValueError where its images are of several."""
    (size,) = {request.size or (model.image_size, model.image_size) for request in requests}
    return size


def noise(model: Model, generators: "Sequence[Generator]", size: Size) -> "Tensor":
    """The first latents of images of this size: standard normal, each image's from its own generator."""
    import torch

    shape = (1, *model.family.latent_shape(model.pipeline, size))
    return torch.cat([torch.randn(shape, generator=generator) for generator in generators])


def embed(model: Model, prompts: Sequence[str]) -> Text:
    """Text embeddings of prompts, each encoded by itself once, so that a batch's make-up does not change them."""
    known = {prompt: model.family.encode_text(model.pipeline, [prompt]) for prompt in dict.fromkeys(prompts)}
    joined = join(known[prompt] for prompt in prompts)
    dtype = model.family.network(model.pipeline).dtype
    return {name: tensor.to(dtype) for name, tensor in joined.items()}
