"""The stage `evaluate`: two image folders in, a report out."""

from collections.abc import Iterable
from pathlib import Path

from synthcxr.config import EvaluateConfig
from synthcxr.config.evaluate import QUESTIONS
from synthcxr.devices import describe, pick
from synthcxr.errors import UsageError
from synthcxr.evaluation.asking import Asked, ask
from synthcxr.evaluation.content import Content, describe_features, nearest_rows
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.extractors import open_extractor
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
from synthcxr.evaluation.labelling import bundled_labeller, open_labeller
from synthcxr.evaluation.measure import FEW
from synthcxr.evaluation.published import keep_statistics
from synthcxr.evaluation.statistics_file import read_statistics
from synthcxr.evaluation.training import Training, find_model, find_training, given_training
from synthcxr.evaluation.usefulness import Lineage
from synthcxr.imagefolder import SPLITS, read_rows
from synthcxr.models.registry import describe_reference, identify, resolve
from synthcxr.progress import say
from synthcxr.report.story import read_story
from synthcxr.store import Json, Output, find_manifest, open_output, read_manifest, sha256_file, write_jsonl


def evaluate(config: EvaluateConfig) -> Path:
    """Judge a set by real X-rays and write ``report.json``, ``nearest.jsonl`` and the page.

    Returns the report's folder. Raises UsageError where the call compares a folder with itself or a side does
    not exist, SynthCXRError where a side has no readable image or features of another encoder.
    """
    training = find_training(config.synthetic)
    if config.training:
        training = given_training(config.training, training)
    _check(config, training)
    read = [
        config.synthetic,
        *config.compare,
        *(Path(side) for side in (config.real, *training.sources) if not is_reference(str(side))),
    ]
    with open_output(config.out, "report", config.identity(), overwrite=config.overwrite, inputs=read) as output:
        inputs = _describe_inputs(config, training, output.folder)
        if output.finished:
            _check_unchanged(output, inputs)
            say(f"{config.out} is already done.")
            return output.folder
        asked = _read(config, training)
        real, synthetic, trained = asked.real, asked.synthetic, asked.training
        answers = [ask(question, asked) for question in config.asked]
        if asked.others:
            answers.append(ask("comparison", asked))
        sides = {"real": real, "synthetic": synthetic, "training": trained}
        about = {name: getattr(asked.encoder, name) for name in ("name", "sha256", "dimension", "preprocessing")}
        content = Content(
            answers=answers,
            unasked=[name for name in QUESTIONS if name not in config.asked],
            warnings=find_warnings(real, synthetic, trained, training.gaps) + _cleaned_unlike(config),
            sides={name: describe_features(side) if side else None for name, side in sides.items()},
            encoder=about,
            config=config.identity(),
        )
        if config.keep_statistics:
            both = {"real": real, "synthetic": synthetic}
            keep_statistics(output.folder, both, asked.extractors, config.batch_size, config.device)
        every = [*asked.sides().items(), *((f"compare {each.name}", each) for each in asked.others)]
        rejected = [{"side": name, **row} for name, side in every for row in side.rejected]
        _write(output, content, nearest_rows(real, synthetic, trained), rejected, inputs)
        return output.folder


# --- before any work --------------------------------------------------------------------------------------


def _check(config: EvaluateConfig, training: Training) -> None:
    """Raise UsageError for sides that are missing, the same, or of the wrong kind."""
    if config.study:
        read_manifest(config.study, "study")
    sides: list[tuple[str, str | Path, str]] = [
        ("--real", config.real, config.split),
        ("--synthetic", config.synthetic, "all"),
        *(("--compare", other, "all") for other in config.compare),
        *(("the training images", source, "train") for source in training.sources),
    ]
    if config.classifier and not config.classifier.is_file():
        raise UsageError(f"--classifier {config.classifier} does not exist.")
    if config.model:
        resolve(config.model)
    for file in config.statistics:
        read_statistics(file)
    for option, side, split in sides:
        if option != "--synthetic" and Path(side).resolve() == config.synthetic.resolve():
            raise UsageError(f"{option} and --synthetic are the same folder, {side}: it would be compared with itself.")
        if isinstance(side, str) and is_reference(side):
            reference_file(side)
        elif not is_stored(side):
            read_rows(Path(side), split)
        if option == "--real" and side in training.sources and is_reference(str(side)):
            raise UsageError(f"{side} holds the images that the model was trained on; choose others for --real.")
        manifest = find_manifest(Path(side))
        if option not in ("--synthetic", "--compare") and manifest and manifest.stem == "set":
            raise UsageError(f"{side} is a set of synthetic images, where {option} needs real ones.")


def _describe_inputs(config: EvaluateConfig, training: Training, start: Path) -> Json:
    inputs = {"real": describe_side(config.real, start), "synthetic": describe_side(config.synthetic, start)}
    for i, other in enumerate(config.compare, 1):
        inputs[f"compare_{i}"] = describe_side(other, start)
    if config.study:
        inputs["study"] = describe_side(config.study, start)
    if config.classifier:
        inputs["classifier"] = {
            "name": config.classifier.name,
            "kind": "classifier",
            "sha256": sha256_file(config.classifier),
        }
    if config.model:
        model = resolve(config.model)
        inputs["model"] = describe_reference(model, identify(model), start)
    for file in config.statistics:
        inputs[f"statistics_{file.stem}"] = {"name": file.name, "kind": "statistics", "sha256": sha256_file(file)}
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


def _read(config: EvaluateConfig, training: Training) -> Asked:
    """Read all sides, and open what judges them."""
    encoder = load_encoder()

    def read(side: str | Path, split: str) -> FeatureSet:
        if isinstance(side, str) and is_reference(side):
            return read_reference(side, encoder)
        if is_stored(side):
            return read_features(Path(side), Path(side).parent.name, encoder)
        return read_folder(Path(side), split, encoder, config.batch_size, config.device)

    labeller = bundled_labeller(encoder)
    if config.classifier:
        labeller = open_labeller(config.classifier, config.batch_size, config.device)
    extractors = tuple(open_extractor(name) for name in config.extractors if name != "bundled")
    say("Reading the images on all sides.")
    trained = [read(source, "train") for source in training.sources]
    joined = join(trained) if trained else None
    real = read(config.real, config.split)
    teaches = "usefulness" in config.asked and real.split in SPLITS[1:]
    model, no_model = (resolve(config.model), "") if config.model else find_model(config.synthetic)
    asked = Asked(
        config=config,
        encoder=encoder,
        labeller=labeller,
        extractors=extractors,
        real=real,
        synthetic=read(config.synthetic, "all"),
        others=tuple(read(other, "all") for other in config.compare),
        training=joined,
        no_training="" if joined else training.reason,
        real_train=read(config.real, "train") if teaches and (Path(config.real) / "train").is_dir() else None,
        lineage=Lineage.of(joined, training.gaps),
        model=model,
        no_model=no_model,
    )
    say(f"Comparing {len(asked.synthetic)} synthetic with {len(asked.real)} real images.")
    return asked


def _cleaned_unlike(config: EvaluateConfig) -> list[str]:
    """Whether burned-in text was removed on one side alone."""
    if is_reference(config.real):
        return []
    cleaned = {side: bool(read_story(side).of("clean")) for side in (Path(config.real), config.synthetic)}
    if len(set(cleaned.values())) == 1:
        return []
    name = next(side.name for side, done in cleaned.items() if done)
    return [f"Burned-in text was removed on one side alone ({name}): that counts as a difference between the images."]


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
    if real.sizes and synthetic.sizes and {*map(min, real.sizes)} != {*map(min, synthetic.sizes)}:
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


def _write(output: Output, content: Content, nearest: list[Json], rejected: list[Json], inputs: Json) -> None:
    from synthcxr.report.html import write_report

    write_jsonl(output.folder / "nearest.jsonl", nearest)
    if rejected:
        write_jsonl(output.folder / "rejected.jsonl", rejected)
    for answer in content.answers:
        for name, rows in answer.files.items():
            write_jsonl(output.folder / name, rows)
    write_report(output.folder, content)
    counts = {f"{name}_images": side["n"] for name, side in content.sides.items() if side}
    output.finish(
        inputs=inputs,
        counts=counts | {"rejected": len(rejected)},
        environment=describe(pick(str(output.config["device"]), "float32")),
        notes=content.warnings,
        questions=[
            {"question": each.question, "verdict": each.verdict, "warnings": list(each.warnings)}
            for each in content.answers
        ],
        metrics=content.metrics,
        sides=content.sides,
        encoder=content.encoder,
    )
