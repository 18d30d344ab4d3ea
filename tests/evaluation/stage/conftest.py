"""What every test of the stage has: stand-ins, a dataset, and a set of a model that was trained on it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from synthcxr.evaluation import features, training
from synthcxr.store import describe_input
from tests.evaluation.stage.made_up import ENCODER, Page, make_folder, make_run, noise


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Page:
    page = Page()
    monkeypatch.setitem(sys.modules, "synthcxr.report.html", SimpleNamespace(write_report=page.write_report))
    monkeypatch.setattr("synthcxr.evaluation.evaluate.load_encoder", lambda: ENCODER)
    monkeypatch.setattr("synthcxr.evaluation.diversity.PAIRS", 3)  # MS-SSIM of one takes 12 ms
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (features, training):
        monkeypatch.setattr(module, "REFERENCES", tmp_path / "reference")
    return page


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    splits = {"train": [noise(i) for i in range(60)], "test": [noise(100 + i) for i in range(60)]}
    return make_folder(tmp_path / "dataset", "dataset", splits)


@pytest.fixture
def synthetic(tmp_path: Path, dataset: Path) -> Path:
    """A set of a model trained on the dataset: 48 images of its own, and 12 copied from the training."""
    run = make_run(tmp_path / "run", {"dataset": dataset})
    images = [noise(200 + i) for i in range(48)] + [noise(i) for i in range(12)]
    return make_folder(tmp_path / "set", "set", {"train": images}, {"model": describe_input(run, tmp_path / "set")})
