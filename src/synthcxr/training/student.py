"""Few-step students: `lora` and `full` with ``--student-steps``.

The base draws images once, in many guided steps; a student learns to go each of its few steps, without guidance, to
where the base was after as many of its own (progressive distillation, arXiv:2202.00512, in one stage and along the
base's own way instead of noised images). It is drawn by ddim, with guidance 1, in just so many steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.errors import UsageError
from synthcxr.generation.sampler import Request, denoise
from synthcxr.models.families.base import Noised
from synthcxr.seeds import seed_for
from synthcxr.store import Json, manifest_hash
from synthcxr.training.cache import ENCODING_BATCH, Embeddings, cached_array, key_of
from synthcxr.training.data import batch_indices
from synthcxr.training.denoiser import DenoiserTask

if TYPE_CHECKING:
    from torch import Tensor

SAMPLER = "ddim"
"""The first-order sampler: where a step ends is linear in what the denoiser predicts."""
HELD_OUT_SHARE = 16
"""One in so many of the base's draws is not learnt from, but measured on."""


@dataclass(frozen=True)
class Strides:
    """A student's steps, from noise to image: all tensors (steps,)."""

    times: "Tensor"
    keep: "Tensor"
    gain: "Tensor"
    """From latents x and prediction p a step leads to keep × x + gain × p."""
    weights: "Tensor"
    """Of a squared error of p: that of the image which it stands for, times the signal's share of noise, at least 1."""


def strides(sampler: Any) -> Strides:
    """The steps of a deterministic first-order sampler whose times are set.

    Weights are "truncated SNR" (arXiv:2202.00512, section 4), written for what the network predicts.
    """
    import torch

    one, zero, times = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), sampler.timesteps
    keep = torch.cat([sampler.step(zero, time, one, return_dict=False)[0] for time in times])
    gain = torch.cat([sampler.step(one, time, zero, return_dict=False)[0] for time in times])
    signal = sampler.alphas_cumprod[times].double()  # α², and σ² is the rest
    if sampler.config.prediction_type == "v_prediction":
        weights = torch.maximum(signal, 1 - signal)
    else:
        weights = ((1 - signal) / signal).clamp(min=1)
    return Strides(times, keep.float(), gain.float(), weights.float())


class StudentTask(DenoiserTask):
    """Trains adapters, or all of the denoiser, to stride where the base walks."""

    def _gather(self, folder: Path) -> None:
        config, draws = self.config, self.config.teacher_draws
        if SAMPLER not in self.family.samplers:
            raise UsageError(f"--student-steps is for models that {SAMPLER} draws; {self.family.name} is none.")
        self.count = config.student_steps or 1
        teacher = self._sampler(config.teacher_scheduler, config.teacher_steps)
        self.strides, self.places = match(self._sampler(SAMPLER, self.count), teacher)
        order = batch_indices(len(self.rows), draws, 0, config.seed)
        self.prompts = [self._prompt(int(row), number // len(self.rows)) for number, row in enumerate(order)]
        self.ways = self._draw_ways(folder)
        self.learnt = draws - max(1, draws // HELD_OUT_SHARE)
        if not self.text_is_trained:
            self.embeddings = Embeddings(self.model, config, self.prompts, folder)

    def _sampler(self, name: str, steps: int) -> Any:
        sampler = self.family.make_scheduler(self.pipeline, name)
        sampler.set_timesteps(steps)
        return sampler

    def _draw_ways(self, folder: Path) -> npt.NDArray[np.float16]:
        """Where the base's latents are before each step of the student and at the end: (draws, steps + 1, c, h, w)."""
        import torch

        config, model, side = self.config, self.model, self.model.image_size
        teacher: dict[str, Any] = {
            "steps": config.teacher_steps,
            "guidance": config.teacher_guidance,
            "scheduler": config.teacher_scheduler,
        }

        def draw(block: slice) -> npt.NDArray[np.float16]:
            numbers = range(block.start, block.stop)
            requests = [Request(self.prompts[i], "", seed_for(config.seed, "teacher", i)) for i in numbers]
            with torch.no_grad(), self.autocast():
                way = [each.half().cpu().numpy() for each in denoise(model, requests, **teacher)]
            return np.stack([way[place] for place in self.places], axis=1)

        known: Json = {
            "teacher": teacher,
            "student_steps": self.count,
            "datasets": [manifest_hash(dataset) for dataset in config.datasets],
            "prompts": self.prompts,
            "seed": config.seed,
            "number_format": str(self.working_dtype),
        }
        shape = (config.teacher_draws, len(self.places), *self.family.latent_shape(self.pipeline, (side, side)))
        path = folder / f"ways-{key_of(model, config, known)}.npy"
        return cached_array(path, shape, np.dtype(np.float16), draw, "Drawing by the teacher")

    @property
    def sampling(self) -> dict[str, Any]:
        """As a student is drawn."""
        return {"steps": self.count, "guidance": 1.0, "scheduler": SAMPLER}

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Channels, height and width of the latents."""
        return self.ways.shape[2:]

    def _batch(self, step: int, slots: range) -> "tuple[tuple[Tensor, ...], list[str]]":
        """Where strides begin and end, which strides they are, and their prompts."""
        indices = batch_indices(self.learnt * self.count, self.config.batch_size, step, self.config.seed)
        return self._look_up([divmod(int(indices[slot]), self.count) for slot in slots])

    def _look_up(self, pairs: list[tuple[int, int]]) -> "tuple[tuple[Tensor, ...], list[str]]":
        """The same of draws and their strides."""
        import torch

        begin, end = (
            torch.from_numpy(np.stack([self.ways[draw, stride + later] for draw, stride in pairs]).astype(np.float32))
            for later in (0, 1)
        )
        return (begin, end, torch.tensor([stride for _, stride in pairs])), [self.prompts[draw] for draw, _ in pairs]

    def _noised(self, begin: "Tensor", end: "Tensor", stride: "Tensor") -> Noised:
        """What leads from the beginning of each stride straight to its end."""
        keep, gain, weights, times = (
            part.to(self.device)[stride]
            for part in (self.strides.keep, self.strides.gain, self.strides.weights, self.strides.times)
        )
        wide = (-1, 1, 1, 1)
        return Noised(begin, times, (end - keep.view(wide) * begin) / gain.view(wide), weights)

    def _held_out_loss(self, limit: int = 128) -> float:
        """The loss on draws of the base that are not learnt from."""
        import torch

        pairs = [(draw, stride) for draw in range(self.learnt, len(self.ways)) for stride in range(self.count)]
        errors: list[float] = []
        with torch.no_grad():
            for start in range(0, len(pairs), ENCODING_BATCH):
                drawn, prompts = self._look_up(pairs[start : start + ENCODING_BATCH])
                batch = self._noised(*(part.to(self.device) for part in drawn))
                with self.autocast():
                    text = self._text(prompts)
                errors += self._errors(batch, text).tolist()
        return float(np.mean(errors))


def match(student: Any, teacher: Any) -> tuple[Strides, list[int]]:
    """A student's strides, and after how many of the teacher's steps each begins; the last entry is the end.

    The first begins where the teacher does, in the noise, though the two may call that by different times. Raises
    UsageError where the student has a time that is none of the teacher's, as by some ways to space them.
    """
    walked = {int(time): place for place, time in enumerate(teacher.timesteps)}
    times = [int(time) for time in student.timesteps]
    if missing := [time for time in times[1:] if time not in walked]:
        raise UsageError(
            f"The teacher's {len(walked)} steps pass by time {missing[0]}, where a step of the student begins. Try "
            f"--teacher-scheduler {SAMPLER}, and numbers of steps that divide the model's "
            f"{teacher.config.num_train_timesteps} times evenly, as 40 and 8."
        )
    return strides(student), [0, *(walked[time] for time in times[1:]), len(walked)]
