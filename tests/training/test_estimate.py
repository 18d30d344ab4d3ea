"""What a training would take: told by a few of its steps, and nothing of them is kept."""

from pathlib import Path

import pytest

from synthcxr import prepare
from synthcxr.config import EstimateConfig
from synthcxr.errors import UsageError
from synthcxr.training.estimate import Estimate, Part, estimate, spell_time
from synthcxr.training.memory import Need
from tests.conftest import plain_config, write_source


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("estimate")
    prepare(plain_config(write_source(folder / "source", 130, 256), folder / "dataset", resolution=256))
    return folder / "dataset"


def test_every_part_of_a_run_is_counted_as_often_as_it_comes(dataset: Path, tmp_path: Path) -> None:
    options = {"steps": 1000, "batch_size": 2, "sample_every": 400, "sample_steps": 1, "validate_every": 500}
    found = estimate(EstimateConfig(datasets=[dataset], judge_images=16, **options))
    images = len(list((dataset / "train").glob("*.png")))
    assert {part.name: part.count for part in found.parts} == {
        "images encoded": images,
        "steps": 1000,
        "looks at held-out patients": 3,
        "sample sheets": 3,
        "images drawn to be judged": 48,
    }
    assert all(part.seconds_each > 0 for part in found.parts)
    assert found.seconds == sum(part.seconds for part in found.parts)
    assert found.memory and found.memory.total > 0
    assert found.in_words().startswith("It takes about") and "GB are free" in found.in_words()
    assert found.to_json()["memory"]["total"] == found.memory.total


@pytest.mark.parametrize("method", ["autoencoder", "encoder"])
def test_methods_that_draw_nothing(method: str, dataset: Path) -> None:
    options = {"base": "layout:small", "crop_size": 64} if method == "autoencoder" else {}
    found = estimate(EstimateConfig(datasets=[dataset], method=method, epochs=3, batch_size=4, **options))
    images = len(list((dataset / "train").glob("*.png")))
    assert found.memory is None
    assert {part.name: part.count for part in found.parts}["steps"] == 3 * -(-images // 4)


def test_what_train_refuses_is_refused(dataset: Path) -> None:
    with pytest.raises(UsageError, match="--crop-size"):
        estimate(EstimateConfig(datasets=[dataset], method="autoencoder", crop_size=512))


def test_what_does_not_fit_is_not_tried(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthcxr.training.estimate.free_bytes", lambda _: 1)
    monkeypatch.setattr("synthcxr.training.estimate.Need.total", property(lambda _: 10**18))
    found = estimate(EstimateConfig(datasets=[dataset]))
    assert found.seconds is None and "will probably not fit" in found.in_words()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5401, "1.5 h"), (172801, "2.0 days")],
)
def test_times_as_people_say_them(seconds: float, words: str) -> None:
    assert spell_time(seconds) == words


def test_the_sentence_names_what_takes_long() -> None:
    parts = (Part("images encoded", 1388, 0.1), Part("steps", 3000, 2.0), Part("sample sheets", 1, 0.3))
    words = Estimate(parts, Need(10**9, 0, 0, 10**9), 10**10).in_words()
    assert words.startswith(
        "It takes about 1.7 h (1,388 images encoded 2 min, 3,000 steps 1.7 h). It needs about 2.2 GB"
    )
