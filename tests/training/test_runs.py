"""Runs that survive: passes, processes, half precision, kills, full disks; and what they show about themselves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from synthcxr import TrainConfig, prepare, train
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import Row
from synthcxr.models.registry import ADAPTER_FILE
from synthcxr.store import Json, read_jsonl, read_manifest
from synthcxr.training.evidence import alarms, best_row, is_over
from synthcxr.training.team import Team
from synthcxr.training.train import with_steps
from tests.conftest import plain_config, write_source
from tests.training.test_train import Configure, configure

__all__ = ["configure"]


def adapter(run: Path) -> dict[str, Any]:
    return dict(load_file(run / "adapter" / ADAPTER_FILE))


def losses(run: Path) -> list[Json]:
    return [{key: row[key] for key in ("step", "loss", "learning_rate")} for row in read_jsonl(run / "log.jsonl")]


def assert_alike(one: Path, other: Path) -> None:
    """The same losses and weights, up to sums in another order."""
    for a, b in zip(losses(one), losses(other), strict=True):
        assert a["step"] == b["step"] and a["loss"] == pytest.approx(b["loss"], rel=1e-4)
    ours, theirs = adapter(one), adapter(other)
    assert all(np.allclose(ours[key], theirs[key], atol=2e-3) for key in ours)


# --- passes and processes ----------------------------------------------------------------------------------


def test_passes_change_the_memory_not_the_step(configure: Configure) -> None:
    options: dict[str, Any] = {"learning_rate": 1e-3, "train_text_encoder": True}
    assert_alike(train(configure("one", **options)), train(configure("four", accumulate=4, **options)))


def test_autoencoders_take_passes_too(configure: Configure) -> None:
    options: dict[str, Any] = {"method": "autoencoder", "crop_size": 32, "learning_rate": 1e-4}
    one, two = (losses(train(configure(f"n{n}", accumulate=n, **options))) for n in (1, 2))
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in two], rel=1e-4)


def test_every_slot_of_a_batch_has_one_owner() -> None:
    slots = [slot for rank in range(3) for part in Team(rank, 3).shares(24, 4) for slot in part]
    assert slots == list(range(24))
    with pytest.raises(UsageError, match="a multiple of 6"):
        Team(0, 3).shares(16, 2)
    with pytest.raises(SynthCXRError):
        TrainConfig.load({"datasets": ["d"], "out": "o", "method": "encoder", "accumulate": 2})


def test_two_processes_train_as_one(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[str]:
        words = [dataset, "--base", tiny_model, "--steps", 4, "--batch-size", 4, "--learning-rate", 1e-3,
                 "--checkpoint-every", 2, "--sample-steps", 2, "--validate-every", 2, "--best", "loss",
                 "--out", tmp_path / name]  # fmt: skip
        return ["train", *map(str, words)]

    alone = [sys.executable, "-m", "synthcxr.cli"]
    team = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "synthcxr.cli"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in (alone + arguments("alone"), team + arguments("team")):
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("step 4: loss") == 1, "one process speaks for all"
    assert_alike(tmp_path / "alone", tmp_path / "team")
    assert read_manifest(tmp_path / "team")["environment"]["processes"] == 2


def test_half_precision_goes_on_with_its_scale(configure: Configure) -> None:
    options: dict[str, Any] = {"dtype": "float16", "steps": 4, "learning_rate": 1e-3}
    whole = train(configure("whole", **options))
    with pytest.raises(SynthCXRError):
        train(configure("stopped", **options, max_hours=1e-9))
    stopped = train(configure("stopped", **options))
    ours, theirs = adapter(whole), adapter(stopped)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


# --- kills and full disks ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_in_the_same_bytes(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[str]:
        words = [dataset, "--base", tiny_model, "--steps", 40, "--batch-size", 4, "--checkpoint-every", 4,
                 "--sample-every", 0, "--sample-steps", 2, "--validate-every", 10,
                 "--out", tmp_path / name]  # fmt: skip
        return [sys.executable, "-m", "synthcxr.cli", "train", *map(str, words)]

    assert subprocess.run(arguments("whole"), capture_output=True, check=False).returncode == 0
    scratch, patience = tmp_path / "killed" / ".work", time.monotonic() + 400
    for checkpoint in (4, 20, 32):
        process = subprocess.Popen(arguments("killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not (scratch / f"checkpoint-{checkpoint:08d}.pt").exists() and process.poll() is None:
            assert time.monotonic() < patience
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(arguments("killed"), capture_output=True, check=False).returncode == 0
    ours, theirs = (read_manifest(tmp_path / name)["files"] for name in ("whole", "killed"))
    assert ours[f"adapter/{ADAPTER_FILE}"] == theirs[f"adapter/{ADAPTER_FILE}"]
    assert ours["evidence.jsonl"] == theirs["evidence.jsonl"]
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk that is full")
def test_a_full_disk_leaves_the_last_checkpoint(configure: Configure, tmp_path: Path) -> None:
    whole = train(configure("whole", method="full", sample_every=0))
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={4 * size}", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        options: dict[str, Any] = {"method": "full", "sample_every": 0, "keep": 9, "out": disk / "run"}
        with pytest.raises(SynthCXRError, match=r"disk of .* is full"):
            train(configure("stopped", checkpoint_every=1, **options))
        assert list((disk / "run" / ".work").glob("checkpoint-*.pt"))
        subprocess.run(["mount", "-o", f"remount,size={100 * size}", str(disk)], check=True)
        run = train(configure("stopped", checkpoint_every=1, **options))
        weights = "model/unet/diffusion_pytorch_model.safetensors"
        assert read_manifest(run)["files"][weights] == read_manifest(whole)["files"][weights]
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_a_loss_that_is_not_finite_keeps_what_was(configure: Configure, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "full", "learning_rate": 1e30, "clip_norm": 1e30, "checkpoint_every": 1}
    with pytest.raises(SynthCXRError, match="the last checkpoint is that of step 1"):
        train(configure(**options))
    assert list((tmp_path / "run" / ".work").glob("checkpoint-*.pt"))


def test_epochs_are_steps(configure: Configure) -> None:
    manifest = read_manifest(train(configure(epochs=2, batch_size=5, checkpoint_every=99)))
    assert manifest["counts"]["steps"] == 2 * -(-manifest["counts"]["images"] // 5)


# --- evidence ----------------------------------------------------------------------------------------------


def looks(*held_out: float, trained: float = 0.0) -> list[Json]:
    return [{"step": 10 * n, "loss": 1 - trained * n, "held_out_loss": loss} for n, loss in enumerate(held_out, 1)]


def test_overfitting_is_said_once_it_lasts() -> None:
    assert alarms(looks(1.0, 0.8, 0.9, 0.9, trained=0.1)) == []  # two looks may be chance
    said = alarms(looks(1.0, 0.8, 0.9, 0.9, 0.88, trained=0.1))
    assert len(said) == 1 and "best at step 20 and is now 10% higher" in said[0]
    assert alarms(looks(1.0, 0.8, 0.9, 0.9, 0.88, trained=-0.1)) == []  # the training got worse as well
    assert alarms(looks(1.0, 0.8, 0.801, 0.802, 0.803, trained=0.1)) == []  # nothing that counts


def test_copying_is_said_when_chance_does_not_explain_it() -> None:
    row = {"step": 1, "loss": 1, "n_drawn": 100, "near_copy_rate": 0.1, "near_copy_high": 0.17}
    assert "do not share this run" in alarms([{**row, "near_copy_low": 0.05, "near_copy_expected": 0.01}])[0]
    assert alarms([{**row, "near_copy_low": 0.005, "near_copy_expected": 0.01}]) == []


def test_the_best_look_wins_and_patience_ends() -> None:
    options: dict[str, Any] = {"datasets": ["d"], "out": "o", "validate_every": 10}
    config = TrainConfig(best="loss", patience=2, **options)
    rows = looks(1.0, 0.8, 0.9)
    assert best_row(rows, config) is rows[1] and not is_over(rows, config) and is_over([*rows, rows[0]], config)
    assert best_row(rows, TrainConfig(**options)) is None
    for wrong in ({"best": "distance"}, {"patience": 2}, {"judge_images": 1}):
        with pytest.raises(ValueError):
            TrainConfig(**{**options, **wrong})


def test_a_run_ends_with_its_best_weights(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([3.0, 1.0, 2.0, 2.0, 9.0])
    monkeypatch.setattr("synthcxr.training.denoiser.DenoiserTask._held_out_loss", lambda _: next(said))
    options: dict[str, Any] = {"method": "full", "validate_every": 2, "ema_decay": 0.5, "sample_every": 0}
    run = train(configure("best", best="loss", patience=2, steps=12, **options))
    manifest = read_manifest(run)
    assert [row["step"] for row in read_jsonl(run / "evidence.jsonl")] == [2, 4, 6, 8]
    assert manifest["counts"]["steps"] == 8 and manifest["measured"]["held_out_loss"] == 1.0
    short = train(configure("short", steps=4, **{**options, "validate_every": 0}))
    weights = "model/unet/diffusion_pytorch_model.safetensors"
    assert manifest["files"][weights] == read_manifest(short)["files"][weights]


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with enough held-out patients for a distance."""
    folder = tmp_path_factory.mktemp("larger")
    return Path(prepare(plain_config(write_source(folder / "in", 260, 64), folder / "dataset", resolution=64)))


@pytest.mark.parametrize("base", ["tiny_model", "tiny_sana"])
def test_drawn_images_are_judged(
    base: str, request: pytest.FixtureRequest, larger: Path, configure: Configure, dataset: Path
) -> None:
    options: dict[str, Any] = {
        "base": str(request.getfixturevalue(base)),
        "datasets": [larger],
        "validate_every": 3,
        "judge_images": 24,
        "steps": 6,
        "sample_steps": 1,
    }
    run = train(configure(best="distance", **options))
    rows = read_jsonl(run / "evidence.jsonl")
    assert [row["step"] for row in rows] == [3, 6]
    assert all(row["frechet_low"] < row["frechet_distance"] < row["frechet_high"] for row in rows)
    assert all(0 <= row["near_copy_low"] <= row["near_copy_rate"] <= row["near_copy_high"] <= 1 for row in rows)
    with pytest.raises(UsageError, match="20 validation images"):
        train(configure("few", **{**options, "datasets": [dataset]}))


def test_a_tracker_gets_every_step_once_though_the_run_was_stopped(configure: Configure) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options: dict[str, Any] = {"track": "tensorboard", "validate_every": 2, "checkpoint_every": 1}
    with pytest.raises(SynthCXRError):
        train(configure(**options, max_hours=1e-9))
    run = train(configure(**options))
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    shown = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in ("loss", "held_out_loss")}
    for tag, name in (("loss", "log.jsonl"), ("held_out_loss", "evidence.jsonl")):
        rows = read_jsonl(run / name)
        wanted = [(row["step"], pytest.approx(row[tag], rel=1e-5)) for row in rows]
        assert (shown[tag] if tag != "loss" else list(dict.fromkeys(shown[tag]))) == wanted


def test_a_tracker_that_is_not_there_is_said_at_once(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthcxr.training.tracking.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="pip install"):
        train(configure(track="wandb"))


# --- presets -----------------------------------------------------------------------------------------------


def test_the_original_is_the_recipe_that_it_was(tmp_path: Path) -> None:
    config = TrainConfig(datasets=[tmp_path], out=tmp_path, preset="original")
    assert (config.base, config.rank, config.batch_size, config.learning_rate) == ("sd21-base", 4, 5, 1e-4)
    assert (config.schedule, config.dtype, config.epochs) == ("constant", "float16", 10)
    assert with_steps(config, [Row(Path("x"), "train")] * 32_532).steps == 65_070  # as the system's own log says


@pytest.mark.parametrize("preset", ["fast", "quality"])
def test_presets_give_way_to_options(tmp_path: Path, preset: str) -> None:
    config = TrainConfig.load({"datasets": [tmp_path], "out": tmp_path, "preset": preset, "rank": 3})
    assert config.rank == 3 and config.schedule == "cosine"
    arguments = TrainConfig.load({"datasets": ["d"], "out": "o", "preset": preset}).as_arguments()
    assert arguments == ["d", "--preset", preset, "--out", "o"]
