"""Shared fixtures: made-up X-rays, a tiny model, and the real X-rays where they are at hand."""

import csv
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from synthcxr.images import Grey, write_png

if TYPE_CHECKING:
    from synthcxr.config import PrepareConfig

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()  # keys of hashed ids
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp()  # features and answers that were worked out
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


def plain_config(source: Path, out: Path, **options: Any) -> "PrepareConfig":
    """Names as they are, and no gate: the made-up X-rays are small, and unlike any that the encoder knows."""
    from synthcxr.config import PrepareConfig

    wanted: dict[str, Any] = {"resolution": 32, "ids": "keep", "skip_checks": ["all"], **options}
    return PrepareConfig(source_path=source, out=out, **wanted)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def dataset(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from synthcxr import prepare

    return Path(prepare(plain_config(source, tmp_path_factory.mktemp("d") / "dataset", resolution=64)))


@pytest.fixture(scope="session")
def bucketed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two buckets of 128 px, two thirds of it square and the rest tall."""
    from synthcxr import prepare

    folder = write_source(tmp_path_factory.mktemp("shapes") / "in", side=160)
    for index in range(0, 24, 3):
        write_png(folder / f"images/{index:03d}.png", made_up_xray(index, 160)[:, 30:130])
    return Path(prepare(plain_config(folder, folder.parent / "dataset", resolution=128, crop="bucket")))


@pytest.fixture(scope="session")
def tiny_wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny layout for images of 128 px: smaller ones have no bucket but the square."""
    from synthcxr.models import layout

    pipeline = layout.build("tiny")
    pipeline.unet.register_to_config(sample_size=16)
    folder = tmp_path_factory.mktemp("models") / "tiny-wide"
    layout.save(pipeline, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of the tiny layout with random weights."""
    from synthcxr.models import layout

    folder = tmp_path_factory.mktemp("models") / "tiny"
    layout.save(layout.build("tiny"), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sana(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the other family."""
    from synthcxr.models import layout

    folder = tmp_path_factory.mktemp("models") / "tiny-sana"
    layout.save(layout.build("tiny-sana"), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_inpainting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny layout as an inpainting model: its UNet is shown latents, a mask, and latents once more."""
    from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel

    from synthcxr.models import layout

    parts = dict(layout.build("tiny").components)
    channels = parts["vae"].config.latent_channels
    parts["unet"] = UNet2DConditionModel.from_config(dict(parts["unet"].config) | {"in_channels": 2 * channels + 1})
    folder = tmp_path_factory.mktemp("models") / "tiny-inpainting"
    layout.save(StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False), folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real X-rays of ../shared/data are not here")
    return SHARED
