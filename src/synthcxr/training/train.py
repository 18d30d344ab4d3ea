"""The stage `train`: from datasets and a base to a run (an adapter, a model, or the evaluation's encoder)."""

from pathlib import Path
from typing import Any

from synthcxr.config import TrainConfig
from synthcxr.devices import describe, pick
from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row
from synthcxr.models import layout
from synthcxr.models.registry import Model, Reference, describe_model, load
from synthcxr.progress import say
from synthcxr.store import Output, describe_input, manifest_hash, open_output
from synthcxr.training.data import training_rows
from synthcxr.training.loop import State, run


def train(config: TrainConfig) -> Path:
    """Train by the config's method; a run that was stopped goes on from its last checkpoint."""
    rows = training_rows(config.datasets, "train", config.limit)
    held_out = _held_out(config)
    identity = config.identity() | {"datasets_sha256": [manifest_hash(folder) for folder in config.datasets]}
    with open_output(config.out, "run", identity, overwrite=config.overwrite) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        if config.method == "encoder":
            return _train_encoder(config, output, rows, held_out)
        model = _load_base(config)
        if config.method == "autoencoder":
            return _train_autoencoder(config, output, model, rows, held_out)
        return _train_denoiser(config, output, model, rows)


def _held_out(config: TrainConfig) -> list[Row]:
    try:
        return training_rows(config.datasets, "validation")
    except UsageError:
        return training_rows(config.datasets, "train")[:8]


def _load_base(config: TrainConfig) -> Model:
    compute = pick(config.device, config.dtype)
    if not config.base.startswith("layout:"):
        return load(config.base, compute)
    pipeline = layout.build(config.base.removeprefix("layout:"), config.seed)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        compute.place(part).eval().requires_grad_(False)
    return Model(Reference(config.base, ()), pipeline, compute, sha256=config.base)


def _train_autoencoder(config: TrainConfig, output: Output, model: Model, rows: list[Row], held_out: list[Row]) -> Path:
    from synthcxr.training.autoencoder import AutoencoderTask

    task = AutoencoderTask(model, config, rows, held_out)
    state = run(task, config, output.folder, output.scratch)
    measured = task.measure()
    model.pipeline.vae.register_to_config(scaling_factor=measured["scaling_factor"])
    layout.save(model.pipeline, output.folder / "model")
    say(f"Held-out reconstructions: {measured['psnr_db']:.1f} dB.")
    return _finish(config, output, state, model, rows, measured)


def _train_denoiser(config: TrainConfig, output: Output, model: Model, rows: list[Row]) -> Path:
    from synthcxr.training.denoiser import DenoiserTask, check_rank, save_adapter

    if config.method == "lora":
        check_rank(model.pipeline, config)
    task = DenoiserTask(model, config, rows, output.scratch)
    state = run(task, config, output.folder, output.scratch)
    if config.method == "lora":
        save_adapter(model.pipeline, config, output.folder / "adapter")
    else:
        layout.save(model.pipeline, output.folder / "model")
    return _finish(config, output, state, model, rows, {"loss": state.log[-1]["loss"]})


def _train_encoder(config: TrainConfig, output: Output, rows: list[Row], held_out: list[Row]) -> Path:
    from synthcxr.training.encoder import EncoderTask

    task = EncoderTask(config, rows, held_out)
    state = run(task, config, output.folder, output.scratch)
    task.save(output.folder / "encoder")
    return _finish(config, output, state, None, rows, task.measure())


def _finish(
    config: TrainConfig,
    output: Output,
    state: State,
    model: Model | None,
    rows: list[Row],
    measured: dict[str, Any],
) -> Path:
    inputs: dict[str, Any] = {
        f"dataset-{number}": describe_input(folder, output.folder) for number, folder in enumerate(config.datasets, 1)
    }
    if model:
        inputs["base"] = describe_model(model, output.folder)
    return output.finish(
        inputs=inputs,
        counts={
            "images": len(rows),
            "patients": len({row.patient for row in rows}),
            "steps": state.step,
            "images_seen": state.step * config.batch_size,
        },
        environment=describe(model.compute if model else None),
        hours=round(state.seconds / 3600, 3),
        measured=measured,
    )
