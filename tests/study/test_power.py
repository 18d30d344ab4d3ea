"""The power of a reading: what is known exactly, and what must hold of any design."""

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binom

from synthcxr.config import StudyPowerConfig
from synthcxr.store import read_json
from synthcxr.study.power import Power, power
from synthcxr.study.statistics.proportion import wilson


def simulate(**options: Any) -> Power:
    return power(StudyPowerConfig(trials=600, **options))


def test_a_single_reader_has_the_power_of_the_binomial() -> None:
    """Without anything that readers or images share, answers are coin tosses, and Wilson's interval is known."""
    options = {"readers": [1], "images": [50], "accuracy": 0.65, "reader_spread": 0, "image_share": 0, "habit_share": 0}
    found = simulate(**options).lines[0]
    exact = sum(
        float(binom.pmf(right, 100, 0.65))
        for right in range(101)
        if not wilson(right, 100)[0] <= 0.5 <= wilson(right, 100)[1]
    )
    assert found.difference == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 600) ** 0.5)


def test_guessing_is_called_a_difference_as_often_as_alpha_says() -> None:
    lines = simulate(readers=[5, 16], images=[50]).lines
    assert all(line.difference <= 0.05 + 4 * (0.05 * 0.95 / 600) ** 0.5 for line in lines)


def test_equivalence_is_not_claimed_at_the_margin_more_often_than_alpha() -> None:
    line = simulate(readers=[8], images=[100], accuracy=0.6, margin=0.1).lines[0]
    assert line.equivalence <= 0.05 + 4 * (0.05 * 0.95 / 600) ** 0.5
    assert simulate(readers=[8], images=[100], accuracy=0.5, margin=0.1).lines[0].equivalence > 0.5


@pytest.mark.parametrize("endpoint", ["accuracy", "auc"])
def test_more_readers_and_images_show_more(endpoint: str) -> None:
    lines = {(line.readers, line.images): line for line in simulate(
        readers=[3, 12], images=[25, 100], accuracy=0.6, endpoint=endpoint
    ).lines}  # fmt: skip
    assert lines[12, 100].difference > lines[3, 25].difference + 0.2
    assert lines[12, 100].width < lines[3, 25].width


def test_readers_who_differ_cost_power_that_images_do_not_buy() -> None:
    alike, unlike = (
        simulate(readers=[4], images=[400], accuracy=0.57, reader_spread=spread).lines[0] for spread in (0.0, 0.12)
    )
    assert alike.difference > unlike.difference + 0.3


def test_the_table_and_its_plot_are_kept(tmp_path: Path) -> None:
    config = StudyPowerConfig(readers=[2, 4], images=[10, 20], trials=20, out=tmp_path / "power")
    found = power(config)
    assert len(found.table()) == 4 and len(found.columns()) == len(found.table()[0])
    again = power(config.model_copy(update={"out": None}))
    assert again.lines == found.lines  # the seed decides
    kept = list((tmp_path / "power").iterdir())
    table = next(path for path in kept if path.suffix == ".json")
    assert len(read_json(table)["designs"]) == 4
    assert next(path for path in kept if path.suffix == ".png").read_bytes().startswith(b"\x89PNG")
