"""The methods `lora` and `full`: the denoiser (and text encoder) on latents that are encoded once."""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.buckets import blocks_by_size, bucket_for
from synthcxr.config import TrainConfig
from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, contact_sheet, write_png
from synthcxr.models.families import family_of
from synthcxr.models.families.base import Noised, Text
from synthcxr.models.layout import settle_header
from synthcxr.models.registry import ADAPTER_FILE, Model
from synthcxr.prompts import drop_from_prompt
from synthcxr.seeds import seed_for
from synthcxr.store import Json
from synthcxr.training.ahead import Ahead, threads_for
from synthcxr.training.cache import Embeddings, encode_posteriors, variant_of
from synthcxr.training.data import draw_batch, group, spread
from synthcxr.training.evidence import Judge
from synthcxr.training.memory import Need, need, peak_bytes
from synthcxr.training.team import Team
from synthcxr.training.words import WordReader

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 8
MEASURED_TIMES = 4
MEASURED_AT_ONCE = 4


class DenoiserTask:
    """Training of a base's denoiser, and its text encoder where the family trains that: adapters, or all of it."""

    def __init__(
        self, model: Model, config: TrainConfig, rows: list[Row], scratch: Path, held_out: list[Row], team: Team
    ) -> None:
        import torch

        self.model, self.pipeline, self.config, self.rows = model, model.pipeline, config, rows
        self.held_out = held_out
        self.groups = list(group(rows, model.image_size).values())
        self.device = model.compute.device
        self.working_dtype = pick(config.device, config.dtype).dtype
        self.family = model.family
        self.scheduler = self.family.training_scheduler(self.pipeline)
        self.modules = trained_modules(self.pipeline, config)
        self.text_is_trained = "text_encoder" in self.modules
        self.words: WordReader | None = None
        if config.word_weight:
            if not self.text_is_trained:
                raise UsageError("--word-weight is for a text encoder that is trained, and none is here.")
            self.words = WordReader(self.pipeline, [row.text for row in rows], config.seed)
            self.modules["words"] = self.words.directions
        self.half = self.working_dtype == torch.float16
        self.judge: Judge | None = None
        self.ahead = Ahead(self._batch, config.steps, threads_for(self.device))
        self.predict: Callable[..., Tensor] = partial(self.family.predict, self.pipeline)
        if config.compile:  # only what the steps call: looks and sheets have other shapes
            self.predict = torch.compile(self.predict)
        team.in_turn(lambda: self._gather(config.cache or scratch))  # the others read what the first one wrote
        if config.method == "lora":
            add_adapters(self.pipeline, config)
        for module in self.modules.values():
            module.train()
            if config.method == "full":
                module.requires_grad_(True)
        set_dropout(self.family.network(self.pipeline), config.dropout)
        if config.gradient_checkpointing:
            self.family.network(self.pipeline).enable_gradient_checkpointing()
            if self.text_is_trained:
                self.pipeline.text_encoder.gradient_checkpointing_enable()

    def _gather(self, folder: Path) -> None:
        """Have what is learnt from lie in a folder, encoded once."""
        self.posteriors = encode_posteriors(self.model, self.config, self.rows, folder)
        if not self.text_is_trained:
            self.embeddings = Embeddings(self.model, self.config, ["", *(row.text for row in self.rows)], folder)

    @property
    def sampling(self) -> dict[str, Any]:
        """How sample sheets, and images to be judged, are drawn: keywords of `draw`."""
        return {"steps": self.config.sample_steps, "guidance": 2.0}

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Channels, height and width of the largest latents that are learnt from."""
        _, doubled, height, width = max((each.shape for each in self.posteriors), key=math.prod)
        return (doubled // 2, height, width)

    def loss(self, step: int, slots: range) -> "Tensor":
        """Weighted mean squared error of the prediction; noise and time belong to the image and the epoch."""
        import torch

        config = self.config
        drawn, prompts = self.ahead.get(step, slots)
        if config.lora_dropout or config.dropout:
            torch.manual_seed(seed_for(config.seed, "dropout", step, slots.start))
        batch = self._noised(*(part.to(self.device, non_blocking=True) for part in drawn))
        with self.autocast():
            text = self._text(prompts)
        loss = self._errors(batch, text).mean()
        if self.words:
            loss = loss + self.config.word_weight * self.words.loss(text["encoder_hidden_states"], prompts)
        return loss

    def _errors(self, batch: Noised, text: Text) -> "Tensor":
        """Weighted mean squared error of the prediction for each image."""
        import torch

        noisy = batch.latents.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            predicted = self.predict(noisy, batch.times, text)
        errors: Tensor = (predicted.float() - batch.target).square().mean(dim=(1, 2, 3))
        return errors * batch.weights

    def autocast(self) -> Any:
        """A context in which layers compute in the number format of the training."""
        import torch

        return torch.autocast(self.device.type, self.working_dtype, enabled=self.working_dtype != torch.float32)

    def _noised(self, latents: "Tensor", noise: "Tensor", levels: "Tensor") -> Noised:
        """What the denoiser is given of a batch, and what it is to say."""
        return self.family.noised(self.scheduler, latents, noise, levels, self.config.min_snr_gamma)

    def need(self, images: int) -> Need:
        """Memory of a training that passes so many images at once."""
        import torch

        family, pipeline, device = self.family, self.pipeline, self.device
        prompts = [""] * images
        with torch.no_grad():
            text = family.encode_text(pipeline, prompts)

        def predict(noisy: "Tensor", times: "Tensor", *given: "Tensor") -> "Tensor":
            with self.autocast():
                return family.predict(pipeline, noisy, times, dict(zip(text, given, strict=True)))

        noisy = torch.empty((images, *self.latent_shape), device=device)
        times = torch.zeros(images, dtype=torch.long, device=device)
        most = peak_bytes(family.network(pipeline), predict, noisy, times, *text.values())
        if self.text_is_trained:
            most += peak_bytes(
                pipeline.text_encoder, lambda: next(iter(family.encode_text(pipeline, prompts).values()))
            )
        learning = [p for module in self.modules.values() for p in module.parameters() if p.requires_grad]
        return need([getattr(pipeline, part) for part in family.parts], learning, self.config.ema_decay > 0, most)

    def _batch(self, step: int, slots: range) -> "tuple[tuple[Tensor, ...], list[str]]":
        """Latents, noise and time steps of a step's slots, on the CPU, and their prompts."""
        import torch

        config = self.config
        batch = draw_batch(self.groups, config.batch_size, step, config.seed)
        pairs = [batch[slot] for slot in slots]
        parts = zip(*(self._draw(*pair) for pair in pairs), strict=True)
        drawn = tuple(torch.stack(part) for part in parts)
        if self.device.type == "cuda":
            drawn = tuple(part.pin_memory() for part in drawn)
        return drawn, [self._prompt(*pair) for pair in pairs]

    def _draw(self, index: int, epoch: int) -> "tuple[Tensor, Tensor, Tensor]":
        """A fresh draw from an image's posterior, of one of its cached crops; its noise; its time step ()."""
        import torch

        generator = torch.Generator().manual_seed(seed_for(self.config.seed, "noise", index, epoch))
        held = self.posteriors[index]
        variant = int(torch.randint(0, len(held), (1,), generator=generator))
        mean, std = torch.from_numpy(held[variant].astype(np.float32)).chunk(2)
        latent = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        if self.config.offset_noise:
            noise = noise + self.config.offset_noise * torch.randn((len(noise), 1, 1), generator=generator)
        return latent, noise, sample_times(self.config, self.scheduler.config.num_train_timesteps, 1, generator)[0]

    def _prompt(self, index: int, epoch: int) -> str:
        rng = random.Random(seed_for(self.config.seed, "prompt", index, epoch))
        if rng.random() < self.config.prompt_dropout:
            return ""
        row = self.rows[index]
        if self.config.field_dropout == 0:
            return row.text
        return drop_from_prompt(row.text, row.fields, self.config.field_dropout, rng)

    def _text(self, prompts: list[str]) -> Text:
        return self.family.encode_text(self.pipeline, prompts) if self.text_is_trained else self.embeddings.of(prompts)

    def measure(self) -> Json:
        """The loss on held-out patients and, if asked for, what drawn images say; nothing without patients."""
        if not self.held_out:
            return {}
        for module in self.modules.values():
            module.eval()
        found: Json = {"held_out_loss": self._held_out_loss()}
        if self.config.judge_images:
            self.judge = self.judge or Judge(self.model, self.config, self.rows, self.held_out, self.sampling)
            found |= self.judge.look()
        for module in self.modules.values():
            module.train()
        return found

    def _held_out_loss(self, limit: int = 128) -> float:
        """Unweighted loss on held-out patients at fixed noise and evenly spread time steps: comparable between runs.

        Every image is seen at four time steps, each with a noise of its own.
        """
        import torch

        rows, count = spread(self.held_out, limit), self.scheduler.config.num_train_timesteps
        sizes = [bucket_for(row.size, self.model.image_size) for row in rows]
        family, pipeline = self.family, self.pipeline
        dtype = family.network(pipeline).dtype
        errors = []
        with torch.no_grad():
            for places in blocks_by_size(sizes, MEASURED_AT_ONCE):
                block = [rows[place] for place in places]
                images = np.stack([variant_of(rows[place], 0, sizes[place], self.config.seed) for place in places])
                means, stds = (part.float() for part in family.encode_images(pipeline, images))
                latents, noises, levels = [], [], []
                for index, mean, std in zip(places, means, stds, strict=True):
                    generator = torch.Generator().manual_seed(seed_for(0, "held-out", index))
                    shape = (MEASURED_TIMES, *mean.shape)
                    latents.append(mean + std * torch.randn(shape, generator=generator).to(self.device))
                    noises.append(torch.randn(shape, generator=generator).to(self.device))
                    shares = (torch.arange(MEASURED_TIMES) + (index + 0.5) / len(rows)) / MEASURED_TIMES
                    levels.append((shares * count).long().to(self.device))
                batch = family.noised(self.scheduler, torch.cat(latents), torch.cat(noises), torch.cat(levels))
                noisy = batch.latents.to(dtype).contiguous(memory_format=torch.channels_last)
                text = family.encode_text(pipeline, [row.text for row in block for _ in range(MEASURED_TIMES)])
                text = {name: tensor.to(dtype) for name, tensor in text.items()}
                predicted = family.predict(pipeline, noisy, batch.times, text).float()
                errors += (predicted - batch.target).square().mean(dim=(1, 2, 3)).tolist()
        return float(np.mean(errors))

    def sample(self, path: Path) -> None:
        """Images of a few of the dataset's own prompts, in the sizes of their rows, at fixed seeds."""
        from synthcxr.generation.sampler import Request, draw

        rows = self.rows[:: max(1, len(self.rows) // SAMPLES)][:SAMPLES]
        sizes = [bucket_for(row.size, self.model.image_size) for row in rows]
        requests = [Request(row.text, "", seed, size) for seed, (row, size) in enumerate(zip(rows, sizes, strict=True))]
        for module in self.modules.values():
            module.eval()
        images: dict[int, Grey] = {}
        for places in blocks_by_size(sizes, SAMPLES):
            drawn = draw(self.model, [requests[place] for place in places], **self.sampling)
            images |= zip(places, drawn, strict=True)
        for module in self.modules.values():
            module.train()
        write_png(path, contact_sheet([images[place] for place in range(len(rows))], columns=4))


def set_dropout(network: Any, share: float) -> None:
    """Let training set a share of the activations inside residual blocks to zero (arXiv:2105.05233, table 12)."""
    from diffusers.models.resnet import ResnetBlock2D

    for block in network.modules():
        if isinstance(block, ResnetBlock2D):
            block.dropout.p = share


def sample_times(config: TrainConfig, count: int, size: int, generator: Any) -> "Tensor":
    """Time steps (size,) from 0 to count - 1: uniform, or the sigmoid of a standard normal (arXiv:2403.03206).

    A shift above 1 moves them towards noise, by equation 23 there: a share s of the way becomes as / (1 + (a - 1)s).
    """
    import torch

    if config.time_sampling == "uniform":
        shares = (torch.randint(0, count, (size,), generator=generator) + 0.5) / count
    else:
        shares = torch.sigmoid(torch.randn(size, generator=generator))
    shares = config.time_shift * shares / (1 + (config.time_shift - 1) * shares)
    return (shares * count).long().clamp(max=count - 1)


def add_adapters(pipeline: Any, config: TrainConfig) -> None:
    """Put LoRA layers on the denoiser and, on wish, on the text encoder's attention; only they are trained."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    family = family_of(pipeline)

    def lora(targets: Sequence[str]) -> LoraConfig:
        return LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha or config.rank,
            target_modules=list(targets),
            lora_dropout=config.lora_dropout,
            use_dora=config.dora,
            use_rslora=config.rslora,
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, "adapter"))
        family.network(pipeline).add_adapter(lora(lora_targets(pipeline, config)))
        if config.train_text_encoder:
            # CLIPTextModel.add_adapter asks for a newer peft than diffusers does; this is what it calls.
            inject_adapter_in_model(lora(family.text_targets), pipeline.text_encoder)
    for module in trained_modules(pipeline, config).values():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()


def trained_modules(pipeline: Any, config: TrainConfig) -> dict[str, Any]:
    """The networks that a method trains, by their names in the pipeline."""
    family = family_of(pipeline)
    names = family.trained if config.method == "full" or config.train_text_encoder else (family.denoiser,)
    return {name: getattr(pipeline, name) for name in names}


def save_adapter(pipeline: Any, config: TrainConfig, folder: Path) -> None:
    """Write the LoRA with the metadata by which plain diffusers reads it exactly (alpha, rank, targets)."""
    from peft import get_peft_model_state_dict

    modules = trained_modules(pipeline, config)
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(module) for name, module in modules.items()}
    metadata = {f"{name}_lora_adapter_metadata": _lora_metadata(module) for name, module in modules.items()}
    pipeline.save_lora_weights(folder, weight_name=ADAPTER_FILE, safe_serialization=True, **layers, **metadata)
    settle_header(folder / ADAPTER_FILE)


def _lora_metadata(module: Any) -> dict[str, Any]:
    held = module.peft_config["default"].to_dict()
    return {key: sorted(value) if isinstance(value, set) else value for key, value in held.items()}


def lora_targets(pipeline: Any, config: TrainConfig) -> tuple[str, ...]:
    """Ends of the names of the denoiser's layers that take LoRA."""
    return tuple(config.targets) or family_of(pipeline).targets


def check_rank(pipeline: Any, config: TrainConfig) -> None:
    """Refuse targets that are not there, and a rank above the smallest one's width, before any time is spent."""
    family = family_of(pipeline)
    weights = {name: m.weight for name, m in family.network(pipeline).named_modules() if hasattr(m, "weight")}
    fit = {name: weight for name, weight in weights.items() if weight is not None and weight.ndim in (2, 4)}
    widths = []
    for target in lora_targets(pipeline, config):
        found = [name for name in weights if f".{name}".endswith(f".{target}")]
        if not found or not fit.keys() >= set(found):
            ends = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in fit if not name[-1].isdigit()}))
            raise UsageError(
                f"--targets {target} names no layer of the {family.denoiser} that can take LoRA; names end in {ends}."
            )
        widths += [min(fit[name].shape[:2]) for name in found]
    if config.rank > min(widths):
        raise UsageError(
            f"--rank {config.rank} is larger than the smallest layer of the base that takes LoRA ({min(widths)})."
        )
