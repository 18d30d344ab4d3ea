"""The stage `evaluate`: two image folders in, a report out."""

from collections.abc import Iterable
from pathlib import Path

from synthcxr.config import EvaluateConfig
from synthcxr.devices import describe, pick
from synthcxr.errors import UsageError
from synthcxr.evaluation.content import (
    Content,
    Pair,
    describe_features,
    distances,
    most_alike,
    nearest_pairs,
    pair_row,
)
from synthcxr.evaluation.encoder import Encoder, load_encoder
from synthcxr.evaluation.features import (
    FeatureSet,
    describe_side,
    is_reference,
    is_stored,
    join,
    read_features,
    read_folder,
    read_reference,
    reference_file,
)
from synthcxr.evaluation.measure import FEW, measure
from synthcxr.evaluation.training import Training, find_training
from synthcxr.imagefolder import read_rows
from synthcxr.progress import say
from synthcxr.store import Json, Output, find_manifest, open_output, read_manifest, write_jsonl


def evaluate(config: EvaluateConfig) -> Path:
    """Judge a set by real X-rays and write ``report.json``, ``nearest.jsonl`` and the page.

    Returns the report's folder. Raises UsageError where the call compares a folder with itself or a side does
    not exist, SynthCXRError where a side has no readable image or features of another encoder.
    """
    training = Training((config.training,)) if config.training else find_training(config.synthetic)
    _check(config, training)
    read = [config.synthetic, *(Path(side) for side in (config.real, *training.sources) if not is_reference(str(side)))]
    with open_output(config.out, "report", config.identity(), overwrite=config.overwrite, inputs=read) as output:
        inputs = _describe_inputs(config, training, output.folder)
        if output.finished:
            _check_unchanged(output, inputs)
            say(f"{config.out} is already done.")
            return output.folder
        encoder = load_encoder()
        say("Reading the images on all sides.")
        real, synthetic, trained = _read_sides(config, training, encoder)
        say(f"Comparing {len(synthetic)} synthetic with {len(real)} real images.")
        reason = "" if trained else training.reason
        measured = measure(real, synthetic, trained, no_training=reason, k=config.neighbours, seed=config.seed)
        pairs = nearest_pairs(real, synthetic, trained, measured)
        sides = {"real": real, "synthetic": synthetic, "training": trained}
        about = {name: getattr(encoder, name) for name in ("name", "sha256", "dimension", "preprocessing")}
        content = Content(
            metrics=measured.metrics,
            warnings=find_warnings(real, synthetic, trained, training.gaps),
            sides={name: describe_features(side) if side else None for name, side in sides.items()},
            encoder=about,
            pairs=most_alike(pairs),
            distances=distances(measured),
            threshold=measured.calibration.threshold if measured.calibration else None,
            config=config.identity(),
        )
        rejected = [{"side": name, **row} for name, side in sides.items() if side for row in side.rejected]
        _write(output, content, pairs, rejected, inputs)
        return output.folder


# --- before any work --------------------------------------------------------------------------------------


def _check(config: EvaluateConfig, training: Training) -> None:
    """Raise UsageError for sides that are missing, the same, or of the wrong kind."""
    if config.study:
        read_manifest(config.study, "study")
    sides: list[tuple[str, str | Path, str]] = [
        ("--real", config.real, config.split),
        ("--synthetic", config.synthetic, "all"),
        *(("the training images", source, "train") for source in training.sources),
    ]
    for option, side, split in sides:
        if isinstance(side, str) and is_reference(side):
            reference_file(side)
        elif not is_stored(side):
            read_rows(Path(side), split)
        if option != "--synthetic" and Path(side).resolve() == config.synthetic.resolve():
            raise UsageError(f"{option} and --synthetic are the same folder, {side}: it would be compared with itself.")
        if option == "--real" and side in training.sources and is_reference(str(side)):
            raise UsageError(f"{side} holds the images that the model was trained on; choose others for --real.")
        manifest = find_manifest(Path(side))
        if option != "--synthetic" and manifest and manifest.stem == "set":
            raise UsageError(f"{side} is a set of synthetic images, where {option} needs real ones.")


def _describe_inputs(config: EvaluateConfig, training: Training, start: Path) -> Json:
    inputs = {"real": describe_side(config.real, start), "synthetic": describe_side(config.synthetic, start)}
    if config.study:
        inputs["study"] = describe_side(config.study, start)
    for i, source in enumerate(training.sources):
        inputs[f"training_{i + 1}" if len(training.sources) > 1 else "training"] = describe_side(source, start)
    return inputs


def _check_unchanged(output: Output, inputs: Json) -> None:
    held = read_manifest(output.folder)["inputs"]
    changed = sorted(role for role in held.keys() | inputs.keys() if held.get(role) != inputs.get(role))
    if changed:
        raise UsageError(
            f"{output.folder} holds the report of other inputs ({', '.join(changed)} changed since). "
            "Choose another --out, or --overwrite to replace it."
        )


# --- the work ---------------------------------------------------------------------------------------------


def _read_sides(
    config: EvaluateConfig, training: Training, encoder: Encoder
) -> tuple[FeatureSet, FeatureSet, FeatureSet | None]:
    def read(side: str | Path, split: str) -> FeatureSet:
        if isinstance(side, str) and is_reference(side):
            return read_reference(side, encoder)
        if is_stored(side):
            return read_features(Path(side), Path(side).parent.name, encoder)
        return read_folder(Path(side), split, encoder, config.batch_size, config.device)

    real, synthetic = read(config.real, config.split), read(config.synthetic, "all")
    trained = [read(source, "train") for source in training.sources]
    return real, synthetic, join(trained) if trained else None


def find_warnings(
    real: FeatureSet, synthetic: FeatureSet, training: FeatureSet | None, gaps: Iterable[str] = ()
) -> list[str]:
    """What a reader of the figures has to know, in plain sentences."""
    found = []
    for side, name in ((real, "real"), (synthetic, "synthetic")):
        if len(side) < FEW:
            found.append(f"There are only {len(side)} {name} images; below {FEW} every value depends on their number.")
        if any(height != width for height, width in side.sizes):
            found.append(f"Some {name} images are not square; of these the central square was judged.")
        if len(side.sizes) > 1:
            found.append(f"The {name} images are of {len(side.sizes)} different sizes.")
        if side.rejected:
            found.append(f"{len(side.rejected)} {name} images could not be read; see rejected.jsonl.")
    if real.split == "train":
        found.append("The real side is a training split: a model that copies its training images looks good by it.")
    if real.preprocessing != synthetic.preprocessing:
        found.append(f"The sides were preprocessed differently: {real.preprocessing!r}, {synthetic.preprocessing!r}.")
    if real.sizes and synthetic.sizes and real.sizes != synthetic.sizes:
        found.append(
            f"The sides differ in resolution: real {_sizes(real)}, synthetic {_sizes(synthetic)}. "
            "A difference in sharpness counts as a difference between the images."
        )
    if training is None:
        return found
    if real.crop and training.crop and real.crop != training.crop:
        found.append(f"The real images were squared by {real.crop!r}, the training images by {training.crop!r}.")
    shared = {key for key in real.keys if key} & {key for key in training.keys if key}
    if shared:
        found.append(f"{len(shared)} patients of the real side are in the training images, too.")
    if training.rejected:
        found.append(f"{len(training.rejected)} training images could not be read; see rejected.jsonl.")
    return found + [f"Not all training images are known: {gap}" for gap in gaps]


def _sizes(side: FeatureSet) -> str:
    return ", ".join(f"{width}×{height}" for height, width in sorted(side.sizes)[:3])


# --- the folder -------------------------------------------------------------------------------------------


def _write(output: Output, content: Content, pairs: list[Pair], rejected: list[Json], inputs: Json) -> None:
    from synthcxr.report.html import write_report

    write_jsonl(output.folder / "nearest.jsonl", map(pair_row, pairs))
    if rejected:
        write_jsonl(output.folder / "rejected.jsonl", rejected)
    write_report(output.folder, content)
    counts = {f"{name}_images": side["n"] for name, side in content.sides.items() if side}
    output.finish(
        inputs=inputs,
        counts=counts | {"rejected": len(rejected)},
        environment=describe(pick(str(output.config["device"]), "float32")),
        notes=content.warnings,
        metrics=content.metrics,
        sides=content.sides,
        encoder=content.encoder,
    )
