"""The loop that all methods share: steps, learning rate, moving average, log, checkpoints, exact resume."""

import io
import math
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from synthcxr.config import TrainConfig
from synthcxr.errors import SynthCXRError
from synthcxr.progress import say, track
from synthcxr.store import Json, atomic_writer, write_jsonl

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LOG_EVERY = 10
DECAY_SHARE = 0.2


class Task(Protocol):
    """What a method brings to the loop."""

    modules: "dict[str, nn.Module]"
    """The networks whose parameters with gradients are trained."""

    def loss(self, step: int) -> "Tensor":
        """The loss of a step; everything random in it comes from the seed and the step."""

    def sample(self, path: Path) -> None:
        """Write a sample sheet with the weights as they are."""


class InterruptedRunError(SynthCXRError):
    """The loop stopped before its last step, with a checkpoint."""


@dataclass
class State:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    seconds: float = 0.0
    log: list[Json] = field(default_factory=list)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then constant, a cosine down to a hundredth, or a late linear decay."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "decay":
        return config.learning_rate * min(1.0, (config.steps - step) / (DECAY_SHARE * config.steps))
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def run(task: Task, config: TrainConfig, folder: Path, scratch: Path) -> State:
    """Train to the last step, from the newest whole checkpoint on; the modules end with averaged weights.

    Raises InterruptedRunError on Ctrl-C or when the time is up, SynthCXRError when the loss is not finite.
    """
    import torch

    trained = {
        f"{name}.{key}": parameter
        for name, module in task.modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    parameters = list(trained.values())
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.99)
    )
    average = {key: value.detach().clone() for key, value in trained.items()} if config.ema_decay else {}
    state = _restore(scratch, trained, optimizer, average)
    if state.step:
        say(f"Going on from step {state.step} of {config.steps}.")
    clock, first, spent = time.monotonic(), state.step, state.seconds
    losses: list[float] = []

    def checkpoint() -> None:
        state.seconds = spent + time.monotonic() - clock
        _save(scratch, state, trained, optimizer, average, config.keep)
        write_jsonl(folder / "log.jsonl", state.log)

    asked_to_stop: list[int] = []
    restore_handlers = _notice_signals(asked_to_stop)
    try:
        for step in track(range(state.step, config.steps), "Training", config.steps, done=state.step):
            losses.append(_take_step(task, optimizer, parameters, config, step))
            _update_average(average, trained, config.ema_decay, step)
            state.step = step + 1
            due = state.step % config.checkpoint_every == 0 or state.step == config.steps
            if due or state.step % LOG_EVERY == 0:
                rate = (state.step - first) * config.batch_size / (time.monotonic() - clock)
                state.log.append(_log_row(config, state.step, losses, rate))
                losses.clear()
            if due:
                checkpoint()
                say("step {step}: loss {loss:.4f}, {images_per_second} images/s".format(**state.log[-1]))
            if config.sample_every and state.step % config.sample_every == 0 and state.step < config.steps:
                with averaged(trained, average):
                    task.sample(folder / "samples" / f"step-{state.step:06d}.png")
            if asked_to_stop:
                checkpoint()
                raise InterruptedRunError(f"Stopped at step {state.step} of {config.steps}; the same command goes on.")
            if config.max_hours and time.monotonic() - clock > config.max_hours * 3600 and state.step < config.steps:
                checkpoint()
                raise InterruptedRunError(
                    f"Stopped at step {state.step} of {config.steps} as asked; the same command goes on."
                )
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"Stopped at step {state.step} of {config.steps}; the same command goes on from the last checkpoint."
        ) from None
    finally:
        restore_handlers()
    for key, value in average.items():
        trained[key].data.copy_(value)
    task.sample(folder / "samples" / f"step-{state.step:06d}.png")
    return state


def _notice_signals(noticed: list[int]) -> Callable[[], None]:
    """Let Ctrl-C and SIGTERM be noted, so that the step at hand ends with a checkpoint; gives what undoes this."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: noticed.append(number)) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def _log_row(config: TrainConfig, step: int, losses: list[float], rate: float) -> Json:
    return {
        "step": step,
        "loss": sum(losses) / len(losses),
        "learning_rate": learning_rate(config, step - 1),
        "images_per_second": round(rate, 2),
    }


def _take_step(
    task: Task,
    optimizer: "torch.optim.Optimizer",
    parameters: "list[nn.Parameter]",
    config: TrainConfig,
    step: int,
) -> float:
    import torch

    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    loss = task.loss(step)
    if not torch.isfinite(loss):
        raise SynthCXRError(
            f"The loss is {loss.item()} at step {step + 1}. Try a lower --learning-rate with another --out."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    optimizer.step()
    return float(loss.detach())


def _update_average(average: "dict[str, Tensor]", trained: "dict[str, nn.Parameter]", decay: float, step: int) -> None:
    """Exponential moving average with a short memory at the start, min(decay, (1 + n) / (10 + n))."""
    import torch

    now = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in average.items():
            value.lerp_(trained[key], 1 - now)


class averaged:  # noqa: N801
    """A context in which the modules hold their averaged weights."""

    def __init__(self, trained: "dict[str, nn.Parameter]", average: "dict[str, Tensor]") -> None:
        self.trained, self.average = trained, average

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def _swap(self) -> None:
        for key, value in self.average.items():
            self.trained[key].data, self.average[key] = value, self.trained[key].data


def _checkpoints(scratch: Path) -> list[Path]:
    return sorted(scratch.glob("checkpoint-*.pt"), reverse=True)


def _save(scratch: Path, state: State, trained: Any, optimizer: Any, average: Any, keep: int) -> None:
    import torch

    payload = {
        "step": state.step,
        "seconds": state.seconds,
        "log": state.log,
        "weights": {key: value.detach() for key, value in trained.items()},
        "average": average,
        "optimizer": optimizer.state_dict(),
    }
    with atomic_writer(scratch / f"checkpoint-{state.step:08d}.pt") as file:
        buffer = io.BytesIO()
        torch.save(payload, buffer)
        file.write(buffer.getbuffer())
    for old in _checkpoints(scratch)[keep:]:
        old.unlink()


def _restore(scratch: Path, trained: Any, optimizer: Any, average: Any) -> State:
    import torch

    for path in _checkpoints(scratch):
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            say(f"{path.name} is damaged; taking the one before it.")
            continue
        with torch.no_grad():
            for key, value in held["weights"].items():
                trained[key].copy_(value)
            for key, value in held["average"].items():
                average[key].copy_(value)
        optimizer.load_state_dict(held["optimizer"])
        return State(held["step"], held["seconds"], held["log"])
    return State()
