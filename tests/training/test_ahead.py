"""Drawing ahead of the steps: the same draws, each once, begun early, errors where they belong."""

import threading

import numpy as np
import pytest
import torch

from synthcxr.training.ahead import MOST_THREADS, Ahead, threads_for

SHARES = (range(2), range(2, 4))


def draw(step: int, slots: range) -> list[float]:
    return [float(np.random.default_rng([step, slot]).normal()) for slot in slots]


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("first", [0, 3])
def test_it_gives_what_drawing_each_time_gives(threads: int, first: int) -> None:
    ahead = Ahead(draw, 7, threads)
    for step in range(first, 7):
        assert [ahead.get(step, slots) for slots in SHARES] == [draw(step, slots) for slots in SHARES]
    assert not ahead.begun, "draws for steps that never come"


def test_every_draw_is_made_once_and_the_next_have_begun() -> None:
    seen: list[tuple[int, range]] = []
    begun = threading.Event()

    def watched(step: int, slots: range) -> int:
        seen.append((step, slots))
        if step == 2:
            begun.set()
        return step

    ahead = Ahead(watched, 5, 2)
    assert ahead.get(0, SHARES[0]) == 0
    assert begun.wait(10), "step 2 is drawn though only step 0 was asked for"
    assert [ahead.get(step, SHARES[0]) for step in range(1, 5)] == [1, 2, 3, 4]
    assert sorted(seen, key=lambda each: each[0]) == [(step, SHARES[0]) for step in range(5)]


def test_an_error_comes_at_its_own_step() -> None:
    def broken(step: int, slots: range) -> int:
        if step == 1:
            raise OSError("gone")
        return step

    ahead = Ahead(broken, 3, 2)
    assert ahead.get(0, SHARES[0]) == 0
    with pytest.raises(OSError, match="gone"):
        ahead.get(1, SHARES[0])


def test_a_cpu_has_its_own_work() -> None:
    assert threads_for(torch.device("cpu")) == 1
    assert 1 <= threads_for(torch.device("cuda")) <= MOST_THREADS
