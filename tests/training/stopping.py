"""A run that is stopped on its way."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from synthcxr.errors import SynthCXRError
from synthcxr.training.loop import Loop


@contextmanager
def stopped_at(step: int, said: str = "") -> Iterator[None]:
    """What is trained inside is stopped before this step, and says so."""
    take_step = Loop.take_step

    def stop(self: Loop, at: int) -> None:
        if at == step:
            raise KeyboardInterrupt
        take_step(self, at)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SynthCXRError, match=f"Stopped at step {step}{said}"):
        patch.setattr(Loop, "take_step", stop)
        yield
