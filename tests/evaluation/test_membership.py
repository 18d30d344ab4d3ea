"""Membership inference: an overfit set or model gives its training patients away, an unrelated one does not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.membership import (
    LEVELS,
    attack,
    denoising_losses,
    distance_attack,
    loss_attack,
    sides_of_attack,
)
from synthcxr.imagefolder import Row
from synthcxr.images import write_png
from synthcxr.models.families.base import Noised
from synthcxr.models.registry import Model, Reference, load, resolve

REFERENCE = Reference("made up", ())


def side(identity: Floats, name: str, source: str = "s", folder: Path = Path("nowhere")) -> FeatureSet:
    """A side of one image a patient."""
    count = len(identity)
    keys = tuple(f"{source}/{name}{i}" for i in range(count))
    rows = tuple(Row(folder / f"{name}{i}.png", "train", "", {"source": source}) for i in range(count))
    return FeatureSet(
        name, np.zeros((count, 2)), identity, np.arange(count), keys, keys, rows, "own", "0" * 64, "means"
    )


def points(seed: int, count: int = 80) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, 8))


def test_the_area_is_scikit_learns_and_the_interval_goes_by_patients() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.5, 1, 60), rng.normal(0, 1, 50)
    patients = (np.arange(60) // 2, np.arange(50) // 2)
    found = attack(members, others, patients)
    assert found.value == pytest.approx(roc_auc_score([1] * 60 + [0] * 50, np.concatenate([members, others])))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    perfect = attack(members + 10, others, patients)
    assert perfect.value == 1 and perfect.low is not None and perfect.low > 0.8


def test_by_distance_an_overfit_set_is_told_and_an_unrelated_one_is_not() -> None:
    training, real = side(points(1), "t"), side(points(2), "r")
    overfit = side(training.identity + 0.3 * points(3), "o")
    found = distance_attack(real, overfit, training, "")
    assert found["value"] > 0.9 and found["ci_low"] > 0.8
    assert (found["n_real"], found["n_synthetic"], found["n_training"]) == (80, 80, 80)
    unrelated = distance_attack(real, side(points(4), "u"), training, "")
    assert unrelated["ci_low"] < 0.5 < unrelated["ci_high"]


def test_members_are_of_the_sources_of_the_real_side_and_no_patient_is_on_both_sides() -> None:
    training, real = side(points(1), "p"), side(points(2), "p")
    shared = replace(real, keys=(*real.keys[:30], *(f"s/q{i}" for i in range(50))))
    inside, outside, reason = sides_of_attack(shared, training, "")
    assert reason == "" and len(inside) == 80 and outside.tolist() == list(range(30, 80))
    assert "Too few" in sides_of_attack(real, training, "")[2], "all of them are in the training"
    assert "Too few" in sides_of_attack(side(points(2), "p", "elsewhere"), training, "")[2]
    assert "features alone" in sides_of_attack(real, replace(training, rows=(None,) * 80), "")[2]
    assert sides_of_attack(real, None, "nobody knows")[2] == "nobody knows"


def overfit_model(learnt: torch.Tensor) -> Any:
    """A model that has learnt these latents (N, 1, 8, 8) by heart: what the loss's minimum over them predicts.

    Given a noisy latent, the expected noise under the posterior over the N (Karras et al., NeurIPS 2022, eq. 57).
    """

    class Family:
        def image_size(self, pipeline: Any) -> int:
            return 8

        def training_scheduler(self, pipeline: Any) -> Any:
            return SimpleNamespace(config=SimpleNamespace(num_train_timesteps=100))

        def encode_images(self, pipeline: Any, images: Any) -> tuple[torch.Tensor, torch.Tensor]:
            latents = torch.from_numpy(images / 64.0 - 2).float()[:, None]
            return latents, torch.zeros_like(latents)

        def noised(self, scheduler: Any, latents: Any, noise: Any, levels: Any, gamma: float | None = None) -> Noised:
            share = (levels / 100)[:, None, None, None]
            return Noised(latents=latents * (1 - share) + noise * share, times=levels, target=noise, weights=share)

        def encode_text(self, pipeline: Any, prompts: Any) -> dict[str, Any]:
            return {}

        def predict(self, pipeline: Any, latents: Any, times: Any, text: Any) -> torch.Tensor:
            share = (times / 100)[:, None, None, None]
            left = (latents[:, None] - (1 - share[:, None]) * learnt[None]) / share[:, None]  # (n, N, 1, 8, 8)
            weights = (-0.5 * left.square().sum((2, 3, 4))).softmax(1)
            mean: torch.Tensor = (weights[:, :, None, None, None] * left).sum(1)
            return mean

    family = Family()
    compute = SimpleNamespace(device=torch.device("cpu"))
    return SimpleNamespace(family=family, pipeline=None, compute=compute, image_size=8)


@pytest.fixture
def written(tmp_path: Path) -> tuple[FeatureSet, FeatureSet]:
    """Training and real images of noise, 40 each."""
    sides = []
    for number, name in enumerate(("t", "r")):
        each = side(points(number, 40), name, folder=tmp_path)
        for i, row in enumerate(each.rows):
            assert row is not None
            write_png(row.path, np.random.default_rng([number, i]).integers(0, 256, (8, 8), dtype=np.uint8))
        sides.append(each)
    return sides[0], sides[1]


def learnt_by(model_of: FeatureSet) -> Callable[..., Any]:
    images = np.stack([row.read() for row in model_of.rows if row])
    return lambda *_: overfit_model(torch.from_numpy(images / 64.0 - 2).float()[:, None])


def test_by_loss_a_model_that_learnt_by_heart_is_told_and_one_that_did_not_is_not(
    written: tuple[FeatureSet, FeatureSet], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training, real = written
    synthetic = side(points(9), "x")

    def ask() -> Any:
        return loss_attack(REFERENCE, real, synthetic, training, "", "", seed=0, device="cpu")

    monkeypatch.setattr("synthcxr.models.registry.load", learnt_by(training))
    found = ask()
    assert found["value"] > 0.95 and found["ci_low"] > 0.8 and found["n_training"] == found["n_real"] == 40
    strangers = side(points(5, 40), "z", folder=tmp_path)
    for i, row in enumerate(strangers.rows):
        assert row is not None
        write_png(row.path, np.random.default_rng([7, i]).integers(0, 256, (8, 8), dtype=np.uint8))
    monkeypatch.setattr("synthcxr.models.registry.load", learnt_by(strangers))
    other = ask()
    assert other["ci_low"] < 0.5 < other["ci_high"]


def test_without_a_model_or_with_one_that_cannot_be_loaded_the_reason_is_said(
    written: tuple[FeatureSet, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, real = written
    none = loss_attack(None, real, real, training, "", "Give --model.", seed=0, device="cpu")
    assert none["value"] is None and none["reason"] == "Give --model."

    def fail(*_: object) -> None:
        raise SynthCXRError("The model is torn.")

    monkeypatch.setattr("synthcxr.models.registry.load", fail)
    torn = loss_attack(REFERENCE, real, real, training, "", "", seed=0, device="cpu")
    assert torn["value"] is None and torn["reason"] == "The model is torn."


@pytest.fixture(scope="module")
def bundled() -> Model:
    from synthcxr.devices import pick

    return load(resolve("bundled"), pick("cpu", "float32"))


def test_the_bundled_model_knows_x_rays_better_than_noise(bundled: Model, shared_data: Path, tmp_path: Path) -> None:
    images = sorted((shared_data / "nih" / "images").glob("*.jpg"))[:2]
    write_png(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8))
    rows = [Row(path, "train", "PA chest X-ray, no finding.") for path in (*images, tmp_path / "noise.png")]
    losses = denoising_losses(bundled, rows, 0)
    assert losses.shape == (3,) and np.isfinite(losses).all() and losses[:2].max() < losses[2]
    assert losses[1] == pytest.approx(denoising_losses(bundled, rows[1:2], 0)[0]), "each image has the same noise"
    assert len(LEVELS) == 4
