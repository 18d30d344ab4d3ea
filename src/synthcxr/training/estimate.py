"""The verb `estimate`: what a training would take, found by a few of its steps in a folder that is thrown away."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from synthcxr.config import EstimateConfig, TrainConfig
from synthcxr.imagefolder import Row
from synthcxr.progress import say
from synthcxr.store import Json
from synthcxr.training.data import spread
from synthcxr.training.denoiser import SAMPLES, check_rank
from synthcxr.training.loop import Loop, Task
from synthcxr.training.memory import Need, advice, free_bytes
from synthcxr.training.team import Team
from synthcxr.training.train import denoiser_task, load_base, read_data, with_steps

TRIED_STEPS = 4
"""The first warms up and does not count; of the others it is the median."""
TRIED_IMAGES = 16
TRIED_DRAWS = 16
UNWATCHED = {"sample_every": 0, "validate_every": 0, "judge_images": 0, "best": None, "cache": None, "track": None}
"""Options of a trial: what a run does beside its steps is timed by itself."""


@dataclass(frozen=True)
class Part:
    """Something that a run does, how often, and how long one takes."""

    name: str
    count: int
    seconds_each: float

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.count * self.seconds_each


@dataclass(frozen=True)
class Estimate:
    """What a training takes on this machine."""

    parts: tuple[Part, ...]
    """What takes its time; empty where nothing was tried, because it would not fit."""
    memory: Need | None
    """None for methods whose memory is not counted in advance."""
    free_bytes: int

    @property
    def seconds(self) -> float | None:
        """The whole run, without loading the model; None where nothing was tried."""
        return sum(part.seconds for part in self.parts) if self.parts else None

    def in_words(self) -> str:
        """Time and memory, in two sentences."""
        needed = advice(self.memory, self.free_bytes) if self.memory else ""
        if self.seconds is None:
            return f"{needed} No step was tried."
        told = ", ".join(f"{p.count:,} {p.name} {spell_time(p.seconds)}" for p in self.parts if p.seconds >= 1)
        return f"It takes about {spell_time(self.seconds)}" + (f" ({told}). " if told else ". ") + needed

    def to_json(self) -> Json:
        """Every figure; memory in bytes."""
        memory = asdict(self.memory) | {"total": self.memory.total} if self.memory else None
        parts = [asdict(part) for part in self.parts]
        return {"seconds": self.seconds, "parts": parts, "memory": memory, "free_bytes": self.free_bytes}


def spell_time(seconds: float) -> str:
    """A length of time as people say it: 40 s, 12 min, 3.5 h, 2.1 days."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.1f} {unit}" if unit == "h" else f"{max(1, round(seconds / length))} {unit}"
    return f"{seconds / 86400:.1f} days"


def estimate(config: EstimateConfig) -> Estimate:
    """Try a few steps of a training, in one process and on a few of its images.

    Raises UsageError for what `train` would refuse.
    """
    with TemporaryDirectory(prefix="synthcxr-estimate-") as folder:
        wanted = TrainConfig(**config.model_dump(exclude_unset=True), out=Path(folder) / "run")
        rows, held_out = read_data(wanted)
        wanted = with_steps(wanted, rows)
        tried = wanted.model_copy(update={"steps": TRIED_STEPS, "teacher_draws": TRIED_DRAWS, **UNWATCHED})
        few = spread(rows, TRIED_IMAGES)
        task, seconds, memory = _prepare(tried, few, held_out, wanted.out)
        free = free_bytes(task.device) + (memory.weights if memory else 0)  # the weights are there already
        if memory and memory.total > free:
            return Estimate((), memory, free)
        say(f"Trying {TRIED_STEPS} of {wanted.steps} steps.")
        loop = Loop(task, tried, wanted.out, wanted.out, Team())
        steps = [_timed(partial(loop.take_step, step)) for step in range(TRIED_STEPS)]
        looks = 1 + (wanted.steps // wanted.validate_every if wanted.validate_every else 0)
        sheets = 1 + ((wanted.steps - 1) // wanted.sample_every if wanted.sample_every else 0)
        sheet = _timed(lambda: task.sample(wanted.out / "sheet.png"))
        parts = (
            Part("images drawn by the teacher", wanted.teacher_draws, seconds / TRIED_DRAWS)
            if wanted.student_steps
            else Part("images encoded", len(rows), seconds / len(few)),
            Part("steps", wanted.steps, median(steps[1:])),
            Part("looks at held-out patients", looks, _timed(task.measure)),
            Part("sample sheets", sheets, sheet),
            Part("images drawn to be judged", looks * wanted.judge_images, sheet / SAMPLES),
        )
        return Estimate(tuple(part for part in parts if part.count), memory, free)


def _prepare(
    config: TrainConfig, rows: list[Row], held_out: list[Row], scratch: Path
) -> tuple[Task, float, Need | None]:
    """The task that the config's method makes of a few images, how long it took to encode them, and its memory."""
    if config.method == "encoder":
        from synthcxr.training.encoder import EncoderTask

        return EncoderTask(config, rows, held_out), 0.0, None
    model = load_base(config)
    if config.method == "autoencoder":
        from synthcxr.training.autoencoder import AutoencoderTask

        return AutoencoderTask(model, config, rows, held_out), 0.0, None
    if config.method == "lora":
        check_rank(model.pipeline, config)
    began = time.monotonic()
    task = denoiser_task(model, config, rows, scratch, held_out, Team())
    seconds = time.monotonic() - began
    return task, seconds, task.need(-(-config.batch_size // config.accumulate))


def _timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
