"""The stage `train`: from datasets and a base to a run (an adapter, a model, or the evaluation's encoder)."""

from pathlib import Path
from typing import Any

from synthcxr.config import TrainConfig
from synthcxr.devices import describe, pick
from synthcxr.errors import UsageError
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import write_features
from synthcxr.evaluation.training import TRAINING_FEATURES
from synthcxr.imagefolder import Row
from synthcxr.models import layout
from synthcxr.models.registry import (
    Model,
    Reference,
    describe_model,
    describe_reference,
    identify,
    load,
    place,
    resolve,
)
from synthcxr.progress import say
from synthcxr.store import Output, describe_input, manifest_hash, open_output, read_manifest
from synthcxr.training.data import common_resolution, training_rows
from synthcxr.training.loop import State, run

LAYOUT = "layout:"


def train(config: TrainConfig) -> Path:
    """Train by the config's method; a run that was stopped goes on from its last checkpoint."""
    rows = training_rows(config.datasets, "train", config.limit)
    held_out = training_rows(config.datasets, "validation", optional=True)
    resolution = common_resolution(config.datasets)
    if config.crop_size and config.crop_size > resolution:
        raise UsageError(f"--crop-size {config.crop_size} is larger than the images of the datasets ({resolution} px).")
    inputs = [*config.datasets, *([Path(config.base)] if Path(config.base).exists() else [])]
    with open_output(config.out, "run", _identity(config), overwrite=config.overwrite, inputs=inputs) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        if config.method == "encoder":
            return _train_encoder(config, output, rows, held_out)
        model = _load_base(config)
        if config.method == "autoencoder":
            return _train_autoencoder(config, output, model, rows, held_out)
        return _train_denoiser(config, output, model, rows, held_out)


def _identity(config: TrainConfig) -> dict[str, Any]:
    """The config, and the hashes of what it names: a run never goes on with other data or on another base."""
    base: dict[str, Any] = {}
    if config.method != "encoder" and not config.base.startswith(LAYOUT):
        base = {f"base_{name}": digest for name, digest in identify(resolve(config.base)).items()}
    if config.init:
        base |= {f"init_{name}": digest for name, digest in identify(resolve(config.init)).items()}
    return config.identity() | base | {"datasets_sha256": [manifest_hash(folder) for folder in config.datasets]}


def _load_base(config: TrainConfig) -> Model:
    """The model to start from; weights that are themselves trained stay in float32."""
    if config.init and config.method not in ("full", "autoencoder"):
        raise UsageError(f"--init is for --method full and autoencoder; --method {config.method} takes --base alone.")
    if config.method == "lora" and config.base.startswith(LAYOUT):
        raise UsageError(f"--method lora needs a trained base; {config.base} has random weights.")
    compute = pick(config.device, config.dtype if config.method == "lora" else "float32")
    if config.base.startswith(LAYOUT):
        pipeline = layout.build(config.base.removeprefix(LAYOUT), config.seed)
        model = place(Model(Reference(config.base, ()), pipeline, compute, sha256=config.base))
    else:
        model = load(config.base, compute)
    model.family.check(config)
    if config.init:
        start_from(
            model, load(config.init, compute), ("vae",) if config.method == "autoencoder" else model.family.trained
        )
    return model


def start_from(model: Model, other: Model, parts: tuple[str, ...]) -> None:
    """Copy another model's weights into these parts of a model wherever name and shape fit, and say how many did."""
    if other.family is not model.family:
        raise UsageError(f"--init gives a model of {other.family.name}, the base is one of {model.family.name}.")
    for name in parts:
        part, held = getattr(model.pipeline, name), getattr(other.pipeline, name).state_dict()
        fitting = {
            key: held[key] for key, value in part.state_dict().items() if key in held and held[key].shape == value.shape
        }
        part.load_state_dict(fitting, strict=False)
        say(f"{name}: {len(fitting)} of {len(part.state_dict())} tensors start from {other.reference.name}.")


def _train_autoencoder(config: TrainConfig, output: Output, model: Model, rows: list[Row], held_out: list[Row]) -> Path:
    from synthcxr.training.autoencoder import AutoencoderTask

    task = AutoencoderTask(model, config, rows, held_out)
    state = run(task, config, output.folder, output.scratch)
    measured = task.measure()
    model.pipeline.vae.register_to_config(scaling_factor=measured["scaling_factor"])
    layout.save(model.pipeline, output.folder / "model")
    say(f"Reconstructions: {measured['psnr_db']:.1f} dB on {len(held_out)} held-out images.")
    return _finish(config, output, state, model, rows, measured)


def _train_denoiser(config: TrainConfig, output: Output, model: Model, rows: list[Row], held_out: list[Row]) -> Path:
    from synthcxr.training.denoiser import DenoiserTask, check_rank, save_adapter

    if config.method == "lora":
        check_rank(model.pipeline, config)
    task = DenoiserTask(model, config, rows, output.scratch, held_out)
    state = run(task, config, output.folder, output.scratch)
    if config.method == "lora":
        save_adapter(model.pipeline, config, output.folder / "adapter")
    else:
        layout.save(model.pipeline, output.folder / "model")
    _keep_features(config, output, rows)
    return _finish(config, output, state, model, rows, {"loss": state.log[-1]["loss"], **task.measure()})


def _keep_features(config: TrainConfig, output: Output, rows: list[Row]) -> None:
    """Keep what the evaluation's encoder gives of the training images: near-copies are found without the images."""
    manifests = [read_manifest(folder, "dataset") for folder in config.datasets]
    about = {
        "source": "; ".join(folder.name for folder in config.datasets),
        "licence": "; ".join(str(manifest["config"].get("licence") or "not stated") for manifest in manifests),
        "split": "train",
    }
    write_features(output.folder / TRAINING_FEATURES, rows, load_encoder(), about, config.device)


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
    about: dict[str, Any] = {}
    if model:
        inputs["base"] = describe_model(model, output.folder)
        about = {"model": {"family": model.family.name, "image_size": model.image_size}}
    if config.init:
        reference = resolve(config.init)
        inputs["init"] = describe_reference(reference, identify(reference), output.folder)
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
        **about,
    )
