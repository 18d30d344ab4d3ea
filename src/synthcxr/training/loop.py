"""The loop that all methods share: steps, learning rate, moving average, log, evidence, checkpoints, exact resume."""

import math
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from synthcxr.config import TrainConfig
from synthcxr.errors import SynthCXRError
from synthcxr.progress import say, track
from synthcxr.store import Json, write_jsonl
from synthcxr.training.checkpoints import Learner, State, last_step, restore, restore_best, save, save_best
from synthcxr.training.evidence import EVIDENCE_FILE, is_best, is_over, tell
from synthcxr.training.team import Team
from synthcxr.training.tracking import Tracker

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

LOG_EVERY = 10
LOG_FILE = "log.jsonl"
DECAY_SHARE = 0.2
PATHS = {"datasets", "base", "out", "init", "cache"}
"""Options that name folders of the machine: in no page and no tracker."""


class Task(Protocol):
    """What a method brings to the loop."""

    modules: "dict[str, nn.Module]"
    """The networks whose parameters with gradients are trained."""
    device: "torch.device"
    half: bool
    """Whether networks compute in float16, so that small gradients would vanish without a scaler."""

    def loss(self, step: int, slots: range) -> "Tensor":
        """Mean loss over these slots of a step's batch; everything random in it comes from seed, step and slot."""

    def measure(self) -> dict[str, float]:
        """Figures on held-out patients with the weights as they are; the same weights give the same figures."""

    def sample(self, path: Path) -> None:
        """Write a sample sheet with the weights as they are."""


class InterruptedRunError(SynthCXRError):
    """The loop stopped before its last step, with a checkpoint."""


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


def run(task: Task, config: TrainConfig, folder: Path, scratch: Path, team: Team | None = None) -> State:
    """Train to the last step, from the newest whole checkpoint on; the modules end with averaged (or best) weights.

    Raises InterruptedRunError on Ctrl-C, SIGTERM or when the time is up, SynthCXRError when the loss is not finite.
    """
    loop = Loop(task, config, folder, scratch, team or Team())
    state = loop.state
    if state.step:
        say(f"Going on from step {state.step} of {config.steps}.")
    asked_to_stop: list[int] = []
    restore_handlers = _notice_signals(asked_to_stop)
    try:
        for step in track(range(state.step, config.steps), "Training", config.steps, done=state.step):
            if is_over(state.evidence, config):
                say(f"Stopped early at step {state.step}: {config.patience} looks without a better one.")
                break
            loop.take_step(step)
            loop.stop_if_due(bool(asked_to_stop))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"Stopped at step {state.step} of {config.steps}; the same command goes on from step {last_step(scratch)}."
        ) from None
    except FloatingPointError as error:
        raise SynthCXRError(
            f"{error} Nothing of this step was kept; the last checkpoint is that of step {last_step(scratch)}. "
            "Try a lower --learning-rate with another --out."
        ) from None
    finally:
        restore_handlers()
    loop.settle()
    return state


class Loop:
    """A run at work: what learns, where it stands, and what is due after a step."""

    def __init__(self, task: Task, config: TrainConfig, folder: Path, scratch: Path, team: Team) -> None:
        self.task, self.config, self.folder, self.scratch, self.team = task, config, folder, scratch, team
        self.learner = prepare(task, config)
        self.state = restore(scratch, self.learner)
        self.shares = team.shares(config.batch_size, config.accumulate)
        self.clock, self.first, self.spent = time.monotonic(), self.state.step, self.state.seconds
        self.losses: list[float] = []
        settings = config.model_dump(mode="json", exclude=PATHS)
        self.tracker = Tracker(config.track if team.leads else None, folder, settings, self.state.step)

    def take_step(self, step: int) -> None:
        """One step, and what is due after it: log, look, checkpoint, sample sheet."""
        config, state = self.config, self.state
        self.losses.append(_take_step(self.task, self.learner, config, step, self.shares, self.team))
        _update_average(self.learner, config.ema_decay, step)
        state.step = step + 1
        last = state.step == config.steps
        look = config.validate_every and (last or state.step % config.validate_every == 0)
        due = last or state.step % config.checkpoint_every == 0
        if due or look or state.step % LOG_EVERY == 0:
            self._log()
        if look:
            self._look()
        if config.sample_every and not last and state.step % config.sample_every == 0:
            with self.learner.averaged():
                self._sample()
        if due:  # last, so that a run killed before it does all of the above again
            self.checkpoint()
            say("step {step}: loss {loss:.4f}, {images_per_second} images/s".format(**state.log[-1]))

    def _log(self) -> None:
        state = self.state
        seconds = time.monotonic() - self.clock
        state.log.append(
            {
                "step": state.step,
                "loss": sum(self.losses) / len(self.losses),
                "learning_rate": learning_rate(self.config, state.step - 1),
                "images_per_second": round((state.step - self.first) * self.config.batch_size / seconds, 2),
            }
        )
        self.losses.clear()

    def _look(self) -> None:
        """Measure on held-out patients, keep the weights if they are the best so far, say what it means."""
        row: Json = {}
        if self.team.leads:
            with self.learner.averaged():
                row = {"step": self.state.step, "loss": self.state.log[-1]["loss"], **self.task.measure()}
        self.state.evidence.append(self.team.agree(row))
        if self.team.leads:
            if is_best(self.state.evidence, self.config):
                save_best(self.scratch, self.learner)
            say(tell(self.state.evidence))

    def _sample(self) -> None:
        if self.team.leads:
            self.task.sample(self.folder / "samples" / f"step-{self.state.step:06d}.png")

    def checkpoint(self) -> None:
        """Write all that is needed to go on from here."""
        self.state.seconds = self.spent + time.monotonic() - self.clock
        if self.team.leads:
            save(self.scratch, self.state, self.learner, self.config.keep)
            write_jsonl(self.folder / LOG_FILE, self.state.log)
            if self.state.evidence:
                write_jsonl(self.folder / EVIDENCE_FILE, self.state.evidence)
            self.tracker.send([*self.state.log, *self.state.evidence])

    def stop_if_due(self, asked: bool) -> None:
        """Stop with a checkpoint when that was asked for or the time is up. Raises InterruptedRunError."""
        hours = self.config.max_hours
        out_of_time = hours is not None and time.monotonic() - self.clock > hours * 3600
        if self.state.step < self.config.steps and self.team.agree(asked or out_of_time):
            self.checkpoint()
            why = "" if asked else " as asked"
            raise InterruptedRunError(
                f"Stopped at step {self.state.step} of {self.config.steps}{why}; the same command goes on."
            )

    def settle(self) -> None:
        """Leave the modules with the weights that the run ends with, and draw with them."""
        if self.config.best and self.state.evidence:
            self.team.agree(None)  # the others read what the first one wrote
            restore_best(self.scratch, self.learner)
        else:
            self.learner.take(self.learner.average)
        self.tracker.close()
        self._sample()


def prepare(task: Task, config: TrainConfig) -> Learner:
    """The parameters that learn, their average, AdamW, and a scaler that does something in float16 alone."""
    import torch

    trained = {
        f"{name}.{key}": parameter
        for name, module in task.modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    optimizer = torch.optim.AdamW(
        trained.values(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, config.beta2)
    )
    average = {key: value.detach().clone() for key, value in trained.items()} if config.ema_decay else {}
    return Learner(trained, average, optimizer, torch.amp.GradScaler(task.device.type, enabled=task.half))


def _notice_signals(noticed: list[int]) -> Callable[[], None]:
    """Let Ctrl-C and SIGTERM be noted, so that the step at hand ends with a checkpoint; gives what undoes this."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: noticed.append(number)) for number in signals}

    def restore_them() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore_them


def _take_step(
    task: Task, learner: Learner, config: TrainConfig, step: int, shares: Sequence[range], team: Team
) -> float:
    """One optimizer step on a batch, in as many passes as there are shares; gives the batch's mean loss.

    Raises FloatingPointError where that is not finite, before any weight is changed.
    """
    import torch

    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    learner.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=task.device)
    for slots in shares:
        part = task.loss(step, slots) * (len(slots) / config.batch_size)
        learner.scaler.scale(part).backward()
        total += part.detach().float()
    team.add([total])
    if not torch.isfinite(total):
        raise FloatingPointError(f"The loss is {total.item()} at step {step + 1}.")
    parameters = [parameter for parameter in learner.trained.values() if parameter.grad is not None]
    team.add([parameter.grad for parameter in parameters if parameter.grad is not None])
    learner.scaler.unscale_(learner.optimizer)
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    return float(total)


def _update_average(learner: Learner, decay: float, step: int) -> None:
    """Exponential moving average with a short memory at the start, min(decay, (1 + n) / (10 + n))."""
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    if learner.average:
        average = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
        average(list(learner.average.values()), [learner.trained[key] for key in learner.average], step)
