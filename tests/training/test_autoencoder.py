"""The autoencoder's losses: structural similarity by its reference, a discriminator that keeps to its own weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthcxr import TrainConfig, train
from synthcxr.devices import pick
from synthcxr.imagefolder import read_rows
from synthcxr.models.registry import load
from synthcxr.store import read_jsonl, read_manifest
from synthcxr.training.autoencoder import AutoencoderTask, structural_similarity
from synthcxr.training.data import spread
from tests.training.stopping import stopped_at


def pictures(seed: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rough = torch.rand(3, 1, side, side, generator=generator) * 2 - 1
    image = (torch.nn.functional.avg_pool2d(rough, 5, 1, 2) * 3).clamp(-1, 1)
    return image, (image + 0.1 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)


def test_structural_similarity_is_that_of_the_reference() -> None:
    one, other = pictures(0, 256)
    # pytorch-msssim 1.0.0: ms_ssim(one + 1, other + 1, data_range=2.0)
    assert float(structural_similarity(one, other)) == pytest.approx(0.98884, abs=2e-5)
    assert float(structural_similarity(one, one)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("side", [16, 64, 128])
def test_small_crops_take_fewer_scales(side: int) -> None:
    one, other = pictures(1, side)
    value = structural_similarity(one, other.requires_grad_())
    value.backward()  # type: ignore[no-untyped-call]
    assert 0 < float(value.detach()) < 1 and other.grad is not None and bool(other.grad.isfinite().all())


@pytest.fixture
def task(dataset: Path, tiny_model: Path, tmp_path: Path) -> AutoencoderTask:
    config = TrainConfig(
        datasets=[dataset], out=tmp_path, base=str(tiny_model), method="autoencoder", adversarial_weight=0.1
    )
    rows = read_rows(dataset, "train")
    return AutoencoderTask(load(str(tiny_model), pick("cpu", "float32")), config, rows, [])


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()


def test_the_decoder_never_pays_for_the_discriminator(task: AutoencoderTask) -> None:
    real, drawn = pictures(2, 64)
    drawn = drawn.requires_grad_()
    fooled, told_apart = task._adversarial(drawn, real)
    (fooled + told_apart).backward()  # type: ignore[no-untyped-call]
    learnt = [gradient(p) for p in task.discriminator.parameters()]
    # What reaches the drawn image is the wish to look real alone.
    held = drawn.detach().requires_grad_()
    (-task.discriminator(held).mean()).backward()
    assert drawn.grad is not None and held.grad is not None and torch.allclose(drawn.grad, held.grad, atol=1e-9)
    # What reaches the discriminator is telling apart alone.
    task.discriminator.zero_grad()
    relu = torch.nn.functional.relu
    told = relu(1 - task.discriminator(real)).mean() + relu(1 + task.discriminator(drawn.detach())).mean()
    told.backward()  # type: ignore[no-untyped-call]
    assert all(
        torch.allclose(a, gradient(p), atol=1e-7) for a, p in zip(learnt, task.discriminator.parameters(), strict=True)
    )


def test_the_discriminator_joins_at_its_step_and_a_stopped_run_ends_the_same(
    dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "datasets": [dataset], "base": str(tiny_model), "method": "autoencoder", "steps": 4, "batch_size": 2,
        "crop_size": 32, "ssim_weight": 0.2, "adversarial_weight": 0.1, "checkpoint_every": 1,
    }  # fmt: skip
    late = train(TrainConfig(out=tmp_path / "late", adversarial_from=2, **options))
    never = train(TrainConfig(out=tmp_path / "never", adversarial_from=9, **options))
    with stopped_at(3):
        train(TrainConfig(out=tmp_path / "stopped", adversarial_from=2, **options))
    stopped = train(TrainConfig(out=tmp_path / "stopped", adversarial_from=2, **options))
    weights = "model/vae/diffusion_pytorch_model.safetensors"
    of = {run: read_manifest(run)["files"][weights] for run in (late, never, stopped)}
    assert of[late] == of[stopped] != of[never]
    assert read_manifest(late)["measured"]["ms_ssim"] <= 1
    assert read_jsonl(late / "log.jsonl")[-1]["step"] == 4


def test_spread_takes_a_part_of_every_dataset(dataset: Path) -> None:
    rows = read_rows(dataset, "train")
    assert spread(rows, 10_000) == rows
    chosen = [rows.index(row) for row in spread(rows, 4)]
    assert len(chosen) == 4 and chosen == sorted(chosen) and np.diff(chosen).min() >= len(rows) // 4
