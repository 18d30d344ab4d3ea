from pathlib import Path

import numpy as np
import pytest

from synthcxr.config import StudyPowerConfig
from synthcxr.errors import UsageError
from synthcxr.store import read_json
from synthcxr.study.panel import Estimate, area, share
from synthcxr.study.power import effects_for, ends, feel, power, rate, reader_spread


def config(**given: object) -> StudyPowerConfig:
    return StudyPowerConfig.load({"trials": 300, "readers": [5], "images": [50], **given})


@pytest.mark.parametrize("accuracy", [0.5, 0.81])
def test_simulated_readers_have_the_mean_and_spread_that_were_asked_for(accuracy: float) -> None:
    effects = effects_for(config(accuracy=accuracy, reader_spread=0.06))
    assert reader_spread(effects) == pytest.approx(0.06, abs=1e-6)
    synthetic, real = feel(effects, (4000, 1, 400), np.random.default_rng(0))
    found = ((synthetic > 0).mean(axis=(1, 2)) + (real <= 0).mean(axis=(1, 2))) / 2
    binomial = 0.81 * 0.19 / 800 if accuracy == 0.81 else 0.25 / 800  # 400 images of each sort are not all images
    assert found.mean() == pytest.approx(accuracy, abs=4 * found.std() / 4000**0.5)
    assert found.var() - binomial == pytest.approx(0.06**2, rel=0.1)
    assert (synthetic.var(), real.var()) == (pytest.approx(1, abs=0.03), pytest.approx(1, abs=0.03))


def test_an_image_is_as_alike_to_two_readers_as_its_share() -> None:
    effects = effects_for(config(reader_spread=0.0, image_share=0.4, habit_share=0.0))
    synthetic, _ = feel(effects, (2000, 2, 30), np.random.default_rng(0))
    assert np.corrcoef(synthetic[:, 0].ravel(), synthetic[:, 1].ravel())[0, 1] == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("readers", [1, 4])
def test_a_simulated_reading_is_analyzed_as_a_real_one_is(readers: int) -> None:
    synthetic, real = feel(effects_for(config(accuracy=0.7)), (3, readers, 20), np.random.default_rng(1))

    def one(estimate: Estimate | None) -> tuple[float, float, float]:
        assert estimate is not None
        return estimate.value, estimate.ci_low, estimate.ci_high

    for trial in range(3):
        made, true = synthetic[trial], real[trial]
        scores = [(made > 0).astype(float), (true <= 0).astype(float)]
        for endpoint in ("accuracy", "auc"):
            wide, narrow = (
                one(share("", scores, alpha) if endpoint == "accuracy" else area(rate(made), rate(true), alpha))
                for alpha in (0.05, 0.1)
            )
            found = [float(column[trial]) for column in ends(synthetic, real, endpoint, 0.05)]
            assert found == pytest.approx([*wide, *narrow[1:]])


def test_confidence_grows_with_the_distance_from_the_line() -> None:
    assert rate(np.array([-2.0, -0.3, -0.1, 0.1, 0.5, 0.9, 1.2, 1.6])).tolist() == [-5, -2, -1, 1, 2, 3, 4, 5]


def test_errors_keep_to_alpha_and_power_grows() -> None:
    """Of 1,000 readings, 5 % at most are wrong, within four standard errors (0.7 points)."""
    guessing = power(config(trials=1000, readers=[5, 10], images=[25, 100]))
    assert max(line.difference for line in guessing.lines) < 0.05 + 4 * 0.007
    equal = {(line.readers, line.images): line.equivalence for line in guessing.lines}
    assert equal[5, 25] < equal[5, 100] < equal[10, 100]
    assert equal[5, 25] < equal[10, 25] < equal[10, 100]
    at_the_margin = power(config(trials=1000, readers=[10], images=[100], accuracy=0.6)).lines[0]
    assert at_the_margin.equivalence < 0.05 + 4 * 0.007
    assert at_the_margin.difference > 0.8
    assert guessing.enough("equivalence") == [guessing.lines[-1]]
    assert any("untrue" in note for note in guessing.notes())


def test_a_seed_is_a_table_and_a_design_does_not_depend_on_the_others() -> None:
    assert power(config()).lines == power(config()).lines != power(config(seed=1)).lines
    assert power(config(readers=[3, 5])).lines[1:] == power(config()).lines


def test_table_and_plot_are_written_and_not_lost(tmp_path: Path) -> None:
    found = power(config(out=tmp_path / "power", trials=20))
    kept = read_json(tmp_path / "power" / "power.json")
    assert kept == found.to_json()
    assert (tmp_path / "power" / "power.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="already"):
        power(config(out=tmp_path / "power", trials=20))


def test_impossible_wishes_are_refused() -> None:
    with pytest.raises(UsageError, match="differ by at most"):
        power(config(reader_spread=0.39))
    with pytest.raises(UsageError, match="add up to 1"):
        power(config(image_share=0.6, habit_share=0.4))
    with pytest.raises(UsageError, match="--readers takes"):
        config(readers=[0])
