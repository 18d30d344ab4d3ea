"""The stage `train`: from datasets and a base to a run (an adapter, a model, or the evaluation's encoder)."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from synthcxr.report.run import write_run_report
from synthcxr.store import Output, describe_input, manifest_hash, open_output, read_manifest
from synthcxr.training.checkpoints import State
from synthcxr.training.data import check_unchanged, sizes_of, training_rows
from synthcxr.training.evidence import alarms, best_row, why_not
from synthcxr.training.loop import PATHS, Task, run
from synthcxr.training.memory import GB, advice, free_bytes, most_used
from synthcxr.training.team import Team, assemble
from synthcxr.training.tracking import check_tracker

if TYPE_CHECKING:
    from synthcxr.training.denoiser import DenoiserTask

LAYOUT = "layout:"


def train(config: TrainConfig) -> Path:
    """Train by the config's method; a run that was stopped goes on from its last checkpoint."""
    rows, held_out = read_data(config)
    check_tracker(config.track)
    with assemble(config.device) as team, _open_run(config, team) as output:
        if team.agree(output.finished):
            say(f"{config.out} is already done.")
            return config.out
        if team.leads:
            check_unchanged(config.datasets)
        config = with_steps(config, rows)
        team.shares(config.batch_size, config.accumulate)
        work = _Work(config, output, team, rows, held_out)
        if config.method == "encoder":
            return _train_encoder(work)
        model = load_base(config)
        return _train_autoencoder(work, model) if config.method == "autoencoder" else _train_denoiser(work, model)


def read_data(config: TrainConfig) -> tuple[list[Row], list[Row]]:
    """The images that are learnt from, and those of held-out patients; raises UsageError where they do not do."""
    rows = training_rows(config.datasets, "train", config.limit)
    held_out = training_rows(config.datasets, "validation", optional=True)
    sizes = sizes_of(config.datasets)
    shortest = min(min(size) for size in sizes)
    if config.crop_size and config.crop_size > shortest:
        raise UsageError(f"--crop-size {config.crop_size} is larger than the images of the datasets ({shortest} px).")
    if config.method == "autoencoder" and not config.crop_size and sizes != {(shortest, shortest)}:
        raise UsageError(
            "The images are of several sizes, or not square, and --method autoencoder learns from squares: give "
            f"--crop-size of at most {shortest} for random crops, or prepare with --crop center."
        )
    if config.validate_every and (reason := why_not(held_out, config)):
        raise UsageError(f"--validate-every needs held-out patients: {reason}.")
    return rows, held_out


@dataclass(frozen=True)
class _Work:
    """What all methods are given."""

    config: TrainConfig
    output: Output
    team: Team
    rows: list[Row]
    held_out: list[Row]

    def run(self, task: Task) -> State:
        """Train the task; every process of the team comes out with the same weights."""
        return run(task, self.config, self.output.folder, self.output.scratch, self.team)


@contextmanager
def _open_run(config: TrainConfig, team: Team) -> Iterator[Output]:
    """The run's folder: the first process takes it, the others see it once it is taken."""
    inputs = [*config.datasets, *([Path(config.base)] if Path(config.base).exists() else [])]
    identity = _identity(config)
    if not team.leads:
        team.agree(None)
        yield Output(config.out, "run", identity, finished=False)
        return
    with open_output(config.out, "run", identity, overwrite=config.overwrite, inputs=inputs) as output:
        team.agree(None)
        yield output


def with_steps(config: TrainConfig, rows: Sequence[Row]) -> TrainConfig:
    """The config with its epochs as steps: the last batch of an epoch (of each size) is filled up from the next."""
    if config.epochs is None:
        return config
    sizes = Counter(row.size if config.method in ("lora", "full") else None for row in rows)
    batches = sum(math.ceil(images / config.batch_size) for images in sizes.values())
    return config.model_copy(update={"steps": math.ceil(config.epochs * batches)})


def _identity(config: TrainConfig) -> dict[str, Any]:
    """The config, and the hashes of what it names: a run never goes on with other data or on another base."""
    base: dict[str, Any] = {}
    if config.method != "encoder" and not config.base.startswith(LAYOUT):
        base = {f"base_{name}": digest for name, digest in identify(resolve(config.base)).items()}
    if config.init:
        base |= {f"init_{name}": digest for name, digest in identify(resolve(config.init)).items()}
    return config.identity() | base | {"datasets_sha256": [manifest_hash(folder) for folder in config.datasets]}


def load_base(config: TrainConfig) -> Model:
    """The model to start from; weights that are themselves trained stay in float32."""
    if config.init and config.method not in ("full", "autoencoder"):
        raise UsageError(f"--init is for --method full and autoencoder; --method {config.method} takes --base alone.")
    if config.method == "lora" and config.base.startswith(LAYOUT):
        raise UsageError(f"--method lora needs a trained base; {config.base} has random weights.")
    if not config.base.startswith(LAYOUT) and resolve(config.base).adapter:
        raise UsageError(
            f"{config.base} is an adapter on a model, and another cannot be trained on top. Merge it first, and give "
            "what that writes as --base: synthcxr export RUN --to merged."
        )
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


def _train_autoencoder(work: _Work, model: Model) -> Path:
    from synthcxr.training.autoencoder import AutoencoderTask

    task = AutoencoderTask(model, work.config, work.rows, work.held_out)
    state = work.run(task)
    if not work.team.leads:
        return work.output.folder
    measured = task.measure()
    model.pipeline.vae.register_to_config(scaling_factor=measured["scaling_factor"])
    layout.save(model.pipeline, work.output.folder / "model")
    say(f"Reconstructions: {measured['psnr_db']:.1f} dB on {len(work.held_out)} held-out images.")
    return _finish(work, state, model, measured)


def _train_denoiser(work: _Work, model: Model) -> Path:
    from synthcxr.training.denoiser import check_rank, save_adapter

    config, folder = work.config, work.output.folder
    if config.method == "lora":
        check_rank(model.pipeline, config)
    task = denoiser_task(model, config, work.rows, work.output.scratch, work.held_out, work.team)
    needed = task.need(len(work.team.shares(config.batch_size, config.accumulate)[0]))
    if work.team.leads:
        say(advice(needed, free_bytes(task.device) + needed.weights))  # the weights are there already
    state = work.run(task)
    if not work.team.leads:
        return folder
    if config.method == "lora":
        save_adapter(model.pipeline, config, folder / "adapter")
    else:
        layout.save(model.pipeline, folder / "model")
    _keep_features(config, work.output, work.rows)
    looked = state.evidence and state.evidence[-1]["step"] == state.step  # at the weights that the run ends with
    seen = best_row(state.evidence, config) or (state.evidence[-1] if looked else task.measure())
    memory = {
        "memory_estimate_gb": round(needed.total / GB, 2),
        "memory_used_gb": round(most_used(task.device) / GB, 2),
    }
    return _finish(work, state, model, {"loss": state.log[-1]["loss"], **seen, **memory})


def denoiser_task(
    model: Model, config: TrainConfig, rows: list[Row], scratch: Path, held_out: list[Row], team: Team
) -> "DenoiserTask":
    """The training of a base's denoiser: on images, or as a student on what the base itself draws."""
    from synthcxr.training.denoiser import DenoiserTask
    from synthcxr.training.student import StudentTask

    return (StudentTask if config.student_steps else DenoiserTask)(model, config, rows, scratch, held_out, team)


def _keep_features(config: TrainConfig, output: Output, rows: list[Row]) -> None:
    """Keep what the evaluation's encoder gives of the training images: near-copies are found without the images."""
    manifests = [read_manifest(folder, "dataset") for folder in config.datasets]
    about = {
        "source": "; ".join(folder.name for folder in config.datasets),
        "licence": "; ".join(str(manifest["config"].get("licence") or "not stated") for manifest in manifests),
        "split": "train",
    }
    write_features(output.folder / TRAINING_FEATURES, rows, load_encoder(), about, config.device)


def _train_encoder(work: _Work) -> Path:
    from synthcxr.training.encoder import EncoderTask

    if work.team.size > 1:
        raise UsageError("--method encoder compares the images of a whole batch; train it in one process.")
    task = EncoderTask(work.config, work.rows, work.held_out)
    state = work.run(task)
    task.save(work.output.folder / "encoder")
    return _finish(work, state, None, task.measure())


def _finish(work: _Work, state: State, model: Model | None, measured: dict[str, Any]) -> Path:
    config, output, rows = work.config, work.output, work.rows
    inputs: dict[str, Any] = {
        f"dataset-{number}": describe_input(folder, output.folder) for number, folder in enumerate(config.datasets, 1)
    }
    of_model: dict[str, Any] = {}
    if model:
        inputs["base"] = describe_model(model, output.folder)
        of_model = {"model": {"family": model.family.name, "image_size": model.image_size}}
    if config.init:
        reference = resolve(config.init)
        inputs["init"] = describe_reference(reference, identify(reference), output.folder)
    about: dict[str, Any] = {
        "counts": {
            "images": len(rows),
            "patients": len({row.patient for row in rows}),
            "steps": state.step,
            "images_seen": state.step * config.batch_size,
        },
        "environment": describe(model.compute if model else None) | {"processes": work.team.size},
        "hours": round(state.seconds / 3600, 3),
    }
    settings = config.model_dump(mode="json", exclude=PATHS)
    told = alarms(state.evidence)
    write_run_report(output.folder, state.log, state.evidence, told, about | {"config": settings})
    return output.finish(inputs=inputs, notes=told, measured=measured, **about, **of_model)
