"""Checkpoints: all that a run needs to go on as if it had never stopped."""

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr.progress import say
from synthcxr.store import Json, atomic_writer

if TYPE_CHECKING:
    from torch import Tensor, nn

BEST = "best.pt"


@dataclass
class State:
    """What a checkpoint holds beside the weights."""

    step: int = 0
    seconds: float = 0.0
    log: list[Json] = field(default_factory=list)
    evidence: list[Json] = field(default_factory=list)
    """What was measured on held-out patients, a row each time."""


@dataclass
class Learner:
    """What learns: parameters by name, their moving average (empty: none), the optimizer, the scaler of fp16."""

    trained: "dict[str, nn.Parameter]"
    average: "dict[str, Tensor]"
    optimizer: Any
    scaler: Any

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the moving average in the parameters' place, and back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for key, value in self.average.items():
            self.trained[key].data, self.average[key] = value, self.trained[key].data

    def result(self) -> "dict[str, Tensor]":
        """The weights that the run would end with now."""
        return {key: self.average.get(key, value.detach()) for key, value in self.trained.items()}

    def take(self, weights: "dict[str, Tensor]") -> None:
        """Set the parameters."""
        for key, value in weights.items():
            self.trained[key].data.copy_(value)


def save(scratch: Path, state: State, learner: Learner, keep: int) -> None:
    """Write a checkpoint whole or not at all; only the newest `keep` stay."""
    payload = {
        "step": state.step,
        "seconds": state.seconds,
        "log": state.log,
        "evidence": state.evidence,
        "weights": {key: value.detach() for key, value in learner.trained.items()},
        "average": learner.average,
        "optimizer": learner.optimizer.state_dict(),
        "scaler": learner.scaler.state_dict(),
    }
    _write(scratch / f"checkpoint-{state.step:08d}.pt", payload)
    for old in _checkpoints(scratch)[keep:]:
        old.unlink()


def restore(scratch: Path, learner: Learner) -> State:
    """Take the newest checkpoint that is whole; a fresh state where there is none."""
    import torch

    for path in _checkpoints(scratch):
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            say(f"{path.name} is damaged; taking the one before it.")
            continue
        learner.take(held["weights"])
        for key, value in held["average"].items():
            learner.average[key].copy_(value)
        learner.optimizer.load_state_dict(held["optimizer"])
        learner.scaler.load_state_dict(held["scaler"])
        return State(held["step"], held["seconds"], held["log"], held["evidence"])
    return State()


def last_step(scratch: Path) -> int:
    """Step of the newest checkpoint, 0 where there is none."""
    newest = next(iter(_checkpoints(scratch)), None)
    return int(newest.stem.removeprefix("checkpoint-")) if newest else 0


def save_best(scratch: Path, learner: Learner) -> None:
    """Keep the weights that the run would end with now."""
    _write(scratch / BEST, learner.result())


def restore_best(scratch: Path, learner: Learner) -> None:
    """Take the weights that were kept as the best."""
    import torch

    learner.take(torch.load(scratch / BEST, map_location="cpu", weights_only=True))


def _write(path: Path, payload: Any) -> None:
    import torch

    buffer = io.BytesIO()
    torch.save(payload, buffer)
    with atomic_writer(path) as file:
        file.write(buffer.getbuffer())


def _checkpoints(scratch: Path) -> list[Path]:
    return sorted(scratch.glob("checkpoint-*.pt"), reverse=True)
