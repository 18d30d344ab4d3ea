"""Training on images of several sizes: batches of one size, exact resume, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcxr import TrainConfig, train
from synthcxr.config import EstimateConfig
from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import read_grey
from synthcxr.models.registry import ADAPTER_FILE, load
from synthcxr.store import read_jsonl, read_manifest
from synthcxr.training.cache import variant_of
from synthcxr.training.data import sizes_of
from synthcxr.training.denoiser import DenoiserTask
from synthcxr.training.team import Team
from synthcxr.training.train import with_steps
from tests.training.stopping import stopped_at

TALL, SQUARE = (160, 96), (128, 128)


def config_of(dataset: Path, model: Path, out: Path, **options: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "datasets": [dataset],
        "base": str(model),
        "steps": 6,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "sample_steps": 1,
        "checkpoint_every": 2,
    }
    return TrainConfig(out=out, **(given | options))


def test_a_run_on_two_buckets_stopped_at_any_step_ends_as_one_that_was_not(
    bucketed: Path, tiny_wide: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"latent_variants": 2, "accumulate": 2, "ema_decay": 0.9}
    options |= {"validate_every": 3, "sample_every": 3, "epochs": 2}
    whole = train(config_of(bucketed, tiny_wide, tmp_path / "whole", **options))
    with stopped_at(5):
        train(config_of(bucketed, tiny_wide, tmp_path / "stopped", **options))
    stopped = train(config_of(bucketed, tiny_wide, tmp_path / "stopped", **options))
    ours, theirs = read_manifest(whole), read_manifest(stopped)
    kept = [name for name in ours["files"] if name.endswith((".safetensors", ".png")) or name == "evidence.jsonl"]
    assert f"adapter/{ADAPTER_FILE}" in kept and all(ours["files"][name] == theirs["files"][name] for name in kept)
    losses = [[row["loss"] for row in read_jsonl(run / "log.jsonl")] for run in (whole, stopped)]
    assert losses[0] == losses[1]
    groups = [sum(row.size == size for row in read_rows(bucketed, "train")) for size in (TALL, SQUARE)]
    assert ours["counts"]["steps"] == 2 * sum(-(-count // 4) for count in groups)
    sheet = read_grey(next((whole / "samples").iterdir()))
    assert sheet.shape == (2 * 160 + 4, 4 * 128 + 3 * 4)  # cells as tall as the tall, as wide as the square


def test_a_batch_is_of_one_size_and_memory_is_that_of_the_largest(
    bucketed: Path, tiny_wide: Path, tmp_path: Path
) -> None:
    rows, model = read_rows(bucketed, "train"), load(str(tiny_wide), pick("cpu"))
    config = config_of(bucketed, tiny_wide, tmp_path / "run")
    task = DenoiserTask(model, config, rows, tmp_path / "scratch", rows[:5], Team())
    for index, row in enumerate(rows):
        assert row.read().shape == row.size and row.size in (TALL, SQUARE)
        mean, _ = model.family.encode_images(model.pipeline, row.read()[None])
        kept = task.posteriors[index][0][: mean.shape[1]]
        assert np.abs(kept - mean[0].numpy()).max() <= 2e-3 * float(mean.abs().max())
    shapes = [task._batch(step, range(4))[0][0].shape for step in range(6)]
    assert {tuple(shape[2:]) for shape in shapes} == {(20, 12), (16, 16)}
    both = task.need(2).step
    task.posteriors = [each for each in task.posteriors if each.shape[-1] == 16]
    assert task.need(2).step == both
    assert 0 < task.measure()["held_out_loss"] < 10


def test_images_come_to_the_buckets_of_the_models_own_resolution(
    bucketed: Path, tiny_model: Path, tmp_path: Path
) -> None:
    rows = read_rows(bucketed, "train")  # of 128 px; the model is for 64 px, of which there is no bucket but the square
    model = load(str(tiny_model), pick("cpu"))
    config = config_of(bucketed, tiny_model, tmp_path / "run")
    task = DenoiserTask(model, config, rows, tmp_path / "scratch", [], Team())
    assert {each.shape[2:] for each in task.posteriors} == {(8, 8)} and len(task.groups) == 1
    tall = next(row for row in rows if row.size == TALL)
    assert variant_of(tall, 0, TALL, 0).shape == TALL


def test_epochs_count_the_batches_of_each_size(tmp_path: Path) -> None:
    rows = [Row(Path(f"{n}.png"), "train", fields={"width": 96, "height": 160} if n < 3 else {}) for n in range(10)]
    config = TrainConfig(datasets=[Path("d")], out=Path("o"), epochs=3, batch_size=4)
    assert with_steps(config, rows).steps == 3 * (1 + 2)
    assert with_steps(config.model_copy(update={"method": "encoder"}), rows).steps == 3 * 3


def test_the_autoencoder_takes_crops_of_any_size_and_says_so(bucketed: Path, tiny_wide: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "autoencoder", "steps": 2, "checkpoint_every": 9, "ssim_weight": 0.1}
    for wrong, words in (({}, "--crop-size of at most 96"), ({"crop_size": 104}, "larger than the images")):
        with pytest.raises(UsageError, match=words):
            train(config_of(bucketed, tiny_wide, tmp_path / "wrong", **options, **wrong))
    run = train(config_of(bucketed, tiny_wide, tmp_path / "run", **options, crop_size=64))
    assert read_manifest(run)["measured"]["psnr_db"] > 0


def test_datasets_go_together_by_their_resolution(bucketed: Path, dataset: Path) -> None:
    assert sizes_of([bucketed]) == {TALL, SQUARE}
    with pytest.raises(UsageError, match=r"128 px, .* 64 px"):
        sizes_of([bucketed, dataset])


def test_what_it_takes_is_estimated_too(bucketed: Path, tiny_wide: Path) -> None:
    from synthcxr.training.estimate import estimate

    found = estimate(EstimateConfig(datasets=[bucketed], base=str(tiny_wide), epochs=1, batch_size=4, sample_steps=1))
    assert found.seconds and found.memory
