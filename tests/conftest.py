"""Shared fixtures: made-up X-rays, a tiny model, and the real X-rays where they are at hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from synthcxr.images import Grey, write_png

os.environ["HF_HUB_OFFLINE"] = "1"
settings.register_profile("patient", deadline=None)  # heavy imports happen inside the first example
settings.load_profile("patient")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def made_up_xray(seed: int, side: int = 64) -> Grey:
    """Two dark lungs in a bright chest with some noise: enough for code, not for eyes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    lungs = sum(np.exp(-(((x - c) / 0.13) ** 2) - ((y - 0.5) / 0.28) ** 2) for c in (0.3, 0.7))
    image = 190 - 130 * lungs * rng.uniform(0.7, 1.1) + rng.normal(0, 6, (side, side))
    grey: Grey = np.clip(image, 0, 255).astype(np.uint8)
    return grey


def write_source(folder: Path, count: int = 24, side: int = 96) -> Path:
    """A folder of made-up X-rays with a metadata.csv, two images a patient."""
    rows = []
    for index in range(count):
        name = f"images/{index:03d}.png"
        write_png(folder / name, made_up_xray(index, side))
        finding = ("No Finding", "Effusion|Pneumonia")[index % 2]
        rows.append((name, f"p{index // 2}", 30 + index % 60, "MF"[index % 2], ("AP", "PA")[index % 3 == 0], finding))
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "patient_id", "age", "sex", "view", "findings"))
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def dataset(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthcxr import PrepareConfig, prepare

    return Path(prepare(PrepareConfig(source_path=source, out=tmp_path_factory.mktemp("d") / "dataset", resolution=64)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of the tiny layout with random weights."""
    from synthcxr.models import layout

    folder = tmp_path_factory.mktemp("models") / "tiny"
    layout.save(layout.build("tiny"), folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real X-rays of ../shared/data are not here")
    return SHARED
