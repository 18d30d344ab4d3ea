"""One config model a stage: its fields are the CLI's options, the Python keywords and what the manifest saves.

A field marked `Positional` is an argument of the command line, one marked `Place` (``out``, ``overwrite``, ``json``)
says where or how to answer and is no part of what the stage computes: it is left out of `identity`.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthcxr.errors import UsageError

POSITIONAL = {"positional": True}
PLACE = {"place": True}

Out = Annotated[Path, Field(description="The folder to write.", json_schema_extra=PLACE)]
Seed = Annotated[int, Field(ge=0, lt=2**63, description="Seed of everything random.")]
Workers = Annotated[int, Field(ge=0, description="Worker processes; 0 takes one a core.", json_schema_extra=PLACE)]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "xpu", "mps"],
    Field(description="Where to compute; auto takes the fastest here."),
]
DType = Annotated[
    Literal["auto", "float32", "float16", "bfloat16"],
    Field(description="Number format; auto fits it to the device."),
]


class StageConfig(BaseModel):
    """What all stages share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overwrite: Annotated[
        bool,
        Field(description="Replace what synthcxr wrote to the output folder before.", json_schema_extra=PLACE),
    ] = False

    def identity(self) -> dict[str, Any]:
        """The config as a manifest saves and compares it: every field that changes what comes out."""
        kept = {
            name
            for name, field in type(self).model_fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("place"))
        }
        return self.model_dump(mode="json", include=kept)

    def as_arguments(self) -> list[str]:
        """The command-line arguments that give this config: what differs from the defaults."""
        arguments: list[str] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.get_default(call_default_factory=True):
                continue
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            flag = "--" + name.replace("_", "-")
            if extra.get("positional"):
                arguments[:0] = map(str, value if isinstance(value, list) else [value])
            elif isinstance(value, bool):
                arguments.append(flag if value else flag.replace("--", "--no-", 1))
            elif isinstance(value, list):
                arguments += [word for one in value for word in (flag, str(one))]
            else:
                arguments += [flag, str(value)]
        return arguments

    @classmethod
    def load(cls, values: dict[str, Any], file: Path | None = None) -> Self:
        """Build a config from a YAML file and options; an option wins. Raises UsageError in plain words."""
        merged = {**(read_yaml(file) if file else {}), **values}
        try:
            return cls(**merged)
        except ValidationError as error:
            raise UsageError(explain(error)) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file of options."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"The config file {file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"The config file {file} must hold options as `name: value` lines.")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def explain(error: ValidationError) -> str:
    """A pydantic error as one line a wrong option."""
    lines = []
    for item in error.errors():
        name = "--" + "-".join(str(part) for part in item["loc"]).replace("_", "-") if item["loc"] else "options"
        if item["type"] == "missing":
            lines.append(f"{name} is needed.")
        elif item["type"] == "extra_forbidden":
            lines.append(f"{name} is not an option of this stage.")
        elif item["type"] == "value_error":
            lines.append(item["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{name}: {item['msg']} (given: {item['input']!r}).")
    return "\n".join(lines)


STRATA = ("sex", "view", "age", "findings")


class PrepareConfig(StageConfig):
    """Turn X-rays and what is known of them into a checked dataset."""

    source_path: Annotated[
        Path, Field(description="Folder of images, or the metadata.csv.", json_schema_extra=POSITIONAL)
    ]
    out: Out
    source: Annotated[
        Literal[
            "auto",
            "dicom",
            "mimic",
            "chexpert",
            "nih",
            "padchest",
            "openi",
            "vindr",
            "siim",
            "kermany",
            "csv",
            "folder",
            "imagefolder",
        ],
        Field(description="How the source is laid out; auto recognises it, and says as what and why."),
    ] = "auto"
    resolution: Annotated[
        int, Field(ge=32, le=4096, multiple_of=8, description="Side of the square images written, in pixels.")
    ] = 256
    crop: Annotated[
        Literal["center", "pad"],
        Field(description="center: short side to the resolution, central square; pad: long side to it, black borders."),
    ] = "center"
    window: Annotated[
        str,
        Field(
            pattern=r"^(auto|percentile|-?\d+(\.\d+)?/\d*[1-9]\d*(\.\d+)?)$",
            description="Grey levels of a DICOM: auto (its own window or table, else percentiles), percentile, or "
            "CENTER/WIDTH in the units of its Window Center.",
        ),
    ] = "auto"
    frames: Annotated[Literal["reject", "first"], Field(description="What becomes of a DICOM of several frames.")] = (
        "reject"
    )
    burned_in: Annotated[
        Literal["off", "flag", "clean", "reject"],
        Field(description="Look for burned-in text: flag it in the row, remove it, or reject the image."),
    ] = "off"
    prompt_style: Annotated[
        Literal["structured", "labels", "findings", "impression", "mixture"],
        Field(
            description="What prompts say: structured (view, age, sex, findings), labels (findings alone), the "
            "report's findings or impression, or a mixture of all, one an image."
        ),
    ] = "structured"
    tokenizer: Annotated[
        str,
        Field(description="Model whose text encoder the prompts are to fit: a name, a diffusers folder or a hub id."),
    ] = "bundled"
    priors: Annotated[
        Literal["drop", "keep"],
        Field(description="Sentences of a report on what is not in the picture, such as earlier images."),
    ] = "drop"
    ids: Annotated[
        Literal["auto", "hash", "keep"],
        Field(
            description="Patient, study and file names: keyed hashes, or as they are; auto keeps only the pseudonyms "
            "of public collections."
        ),
    ] = "auto"
    key: Annotated[
        Path | None,
        Field(
            description="File of the secret key of the hashes, made where it is missing; default: in your home folder.",
            json_schema_extra=PLACE,
        ),
    ] = None
    skip_checks: Annotated[
        list[str], Field(description="Rules of the quality gate to leave out, by name, or all.")
    ] = []
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet"], Field(description="Form in which the dataset is written.")
    ] = "imagefolder"
    stratify: Annotated[
        str | None,
        Field(
            description="Fields (of sex, view, age, findings) whose mix all splits are to have; such a split changes "
            "when images are added."
        ),
    ] = None
    split: Annotated[
        str,
        Field(
            description="Percent of patients for train/validation/test as 60/10/30, by a hash of the patient id; or "
            "official, the publisher's own; auto takes the official one where there is one, else 60/10/30."
        ),
    ] = "auto"
    patient_pattern: Annotated[
        str | None,
        Field(
            description="Regular expression whose first group is the patient, where ids carry more (e.g. '^(P\\d+)')."
        ),
    ] = None
    missing_age: Annotated[
        str | None, Field(description="Age in years, or a range as 1-5, of the rows that state none.")
    ] = None
    name: Annotated[
        str | None, Field(description="Name of the source in rows and reports; default: its folder's name.")
    ] = None
    licence: Annotated[str, Field(description="Licence and terms of the source, kept in every manifest after it.")] = (
        "unknown"
    )
    limit: Annotated[int | None, Field(ge=1, description="Take only the first N images.")] = None
    workers: Workers = 0

    @model_validator(mode="after")
    def _options_make_sense(self) -> Self:
        self.split_percent()
        self.missing_age_range()
        if unknown := [name for name in self.strata() if name not in STRATA]:
            raise ValueError(f"--stratify takes {', '.join(STRATA)}, not {unknown[0]!r}.")
        if self.strata() and self.split == "official":
            raise ValueError("--stratify makes splits of its own; it does not go with --split official.")
        try:
            groups = re.compile(self.patient_pattern or "()").groups
        except re.error as error:
            raise ValueError(f"--patient-pattern is no regular expression: {error}.") from None
        if groups < 1:
            raise ValueError("--patient-pattern needs a group in parentheses: what it matches is the patient.")
        return self

    def missing_age_range(self) -> tuple[int, int] | None:
        """Youngest and oldest, in years, of the rows that state no age."""
        if self.missing_age is None:
            return None
        match = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", self.missing_age)
        youngest, oldest = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not youngest <= oldest <= 120:
            raise ValueError(f"--missing-age must be years or a range as 1-5, not {self.missing_age!r}.")
        return youngest, oldest

    def strata(self) -> list[str]:
        """The fields by which splits are stratified."""
        return [name.strip() for name in (self.stratify or "").split(",") if name.strip()]

    def split_percent(self) -> tuple[int, int, int]:
        """Percent of patients for training, validation and test, where no official split says it."""
        try:
            wanted = "60/10/30" if self.split in ("auto", "official") else self.split
            train, validation, test = (int(part) for part in wanted.split("/"))
        except ValueError:
            raise ValueError(
                f"--split must be auto, official, or three whole percentages as 60/10/30, not {self.split!r}."
            ) from None
        if min(train, validation, test) < 0 or train + validation + test != 100:
            raise ValueError(f"--split must add up to 100, and {self.split!r} does not.")
        return train, validation, test


class ExportConfig(StageConfig):
    """Write a dataset or a set in another form; its terms of use are said first."""

    folder: Annotated[Path, Field(description="A dataset or a set.", json_schema_extra=POSITIONAL)]
    out: Out
    to: Annotated[Literal["imagefolder", "webdataset", "parquet"], Field(description="The form to write.")]
    accept_terms: Annotated[
        bool,
        Field(
            description="You have read the terms of use, and they allow what you are about to do.",
            json_schema_extra=PLACE,
        ),
    ] = False


class TrainConfig(StageConfig):
    """Train a model, or a part of one, on a dataset's training patients."""

    datasets: Annotated[list[Path], Field(min_length=1, description="Dataset folders.", json_schema_extra=POSITIONAL)]
    out: Out
    base: Annotated[
        str,
        Field(description="Model to start from: a name, a diffusers folder, a hub id, a run, or layout:small."),
    ] = "bundled"
    method: Annotated[
        Literal["lora", "full", "autoencoder", "encoder"],
        Field(
            description="lora: adapters on the attention; full: UNet and text encoder; autoencoder: the image "
            "autoencoder; encoder: the network whose features the evaluation uses."
        ),
    ] = "lora"
    steps: Annotated[int, Field(ge=1, description="Optimizer steps.")] = 500
    batch_size: Annotated[int, Field(ge=1, description="Images a step.")] = 8
    learning_rate: Annotated[float, Field(gt=0, description="Peak learning rate (AdamW).")] = 1e-4
    schedule: Annotated[
        Literal["constant", "cosine", "decay"],
        Field(description="Learning rate after the warm-up; decay: constant, then down to zero over the last fifth."),
    ] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, description="Steps of linear warm-up.")] = 0
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's weight decay.")] = 0.01
    clip_norm: Annotated[float, Field(gt=0, description="Largest norm of the gradient.")] = 1.0
    rank: Annotated[int, Field(ge=1, description="Rank of the LoRA.")] = 4
    alpha: Annotated[float | None, Field(gt=0, description="LoRA's alpha; default: the rank.")] = None
    train_text_encoder: Annotated[bool, Field(description="LoRA on the text encoder's attention too.")] = False
    min_snr_gamma: Annotated[
        float | None, Field(gt=0, description="Gamma of min-SNR loss weights (arXiv:2303.09556).")
    ] = None
    time_sampling: Annotated[
        Literal["uniform", "logit-normal"],
        Field(description="Which noise levels are trained: all alike, or those in the middle more (arXiv:2403.03206)."),
    ] = "uniform"
    prompt_dropout: Annotated[float, Field(ge=0, le=1, description="Share of prompts replaced by the empty one.")] = 0.1
    field_dropout: Annotated[
        float,
        Field(ge=0, le=1, description="Share of age, sex, view and findings left out of written prompts (full)."),
    ] = 0.0
    ema_decay: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Decay of the weights' moving average; 0: none (full, autoencoder, encoder).",
        ),
    ] = 0.0
    latent_variants: Annotated[
        int,
        Field(
            ge=1,
            description="Crops of each image encoded once and cached: small shift, scale and contrast, never a flip.",
        ),
    ] = 1
    crop_size: Annotated[
        int | None,
        Field(ge=32, multiple_of=8, description="Train the autoencoder on random crops of this size."),
    ] = None
    ssim_weight: Annotated[
        float, Field(ge=0, description="Weight of 1 - MS-SSIM beside the pixel terms (autoencoder).")
    ] = 0.0
    adversarial_weight: Annotated[
        float,
        Field(ge=0, description="Strength of a patch discriminator beside all other terms; 0: none (autoencoder)."),
    ] = 0.0
    adversarial_from: Annotated[int, Field(ge=0, description="Step from which the discriminator takes part.")] = 0
    init: Annotated[
        str | None,
        Field(
            description="Model whose trained weights to start from wherever their shapes fit the base's, as when the "
            "base has another autoencoder or vocabulary (full, autoencoder)."
        ),
    ] = None
    checkpoint_every: Annotated[int, Field(ge=1, description="Steps between checkpoints.", json_schema_extra=PLACE)] = (
        250
    )
    sample_every: Annotated[int, Field(ge=0, description="Steps between sample sheets; 0: one at the end.")] = 250
    sample_steps: Annotated[int, Field(ge=1, description="Sampling steps of the sheets.")] = 20
    max_hours: Annotated[
        float | None,
        Field(
            gt=0,
            description="Stop with a checkpoint after so long; the same command goes on.",
            json_schema_extra=PLACE,
        ),
    ] = None
    limit: Annotated[int | None, Field(ge=1, description="Train on only the first N images.")] = None
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"


class GenerateConfig(StageConfig):
    """Draw a set of synthetic X-rays, each with its own seed and its provenance inside."""

    model: Annotated[str, Field(description="Model: a name, a diffusers folder, a hub id, or a run.")] = "bundled"
    prompt: Annotated[str | None, Field(description="One prompt for all images.")] = None
    prompts: Annotated[
        Path | None, Field(description="File of prompts: .txt (one a line), .csv or .jsonl (column text).")
    ] = None
    negative_prompt: Annotated[str, Field(description="What guidance steers away from.")] = ""
    count: Annotated[int | None, Field(ge=1, description="Number of images; default: one a prompt.")] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="Sampling steps.")] = 30
    guidance: Annotated[float, Field(ge=0, le=50, description="Classifier-free guidance scale; 1 turns it off.")] = 2.0
    guidance_start: Annotated[
        float, Field(ge=0, le=1, description="Share of the steps after which guidance begins.")
    ] = 0.0
    guidance_end: Annotated[float, Field(ge=0, le=1, description="Share of the steps after which it ends.")] = 1.0
    scheduler: Annotated[Literal["ddim", "dpm++", "unipc", "euler"], Field(description="Sampler.")] = "ddim"
    resolution: Annotated[
        int | None,
        Field(ge=32, le=2048, multiple_of=8, description="Side in pixels; default: the model's own."),
    ] = None
    out: Out
    batch_size: Annotated[int, Field(ge=1, le=256, description="Images drawn at once.")] = 8
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> Self:
        if (self.prompt is None) == (self.prompts is None):
            raise ValueError("Give either --prompt TEXT or --prompts FILE.")
        return self


class CleanConfig(StageConfig):
    """Remove burned-in text, change nothing else, and keep the proof."""

    folder: Annotated[
        Path, Field(description="A dataset, a set, or any folder of images.", json_schema_extra=POSITIONAL)
    ]
    out: Out
    inpainter: Annotated[Literal["telea", "navier-stokes"], Field(description="How the masked strokes are filled.")] = (
        "telea"
    )
    minimum_score: Annotated[
        float,
        Field(
            ge=0, le=1, description="Score (root of the detector's times the recogniser's) from which a box is text."
        ),
    ] = 0.6
    dilation: Annotated[int, Field(ge=0, le=32, description="Pixels by which the strokes' mask grows.")] = 2
    allow_residual: Annotated[
        bool, Field(description="Exit 0 even if text can still be read somewhere.", json_schema_extra=PLACE)
    ] = False
    limit: Annotated[int | None, Field(ge=1, description="Take only the first N images.")] = None
    workers: Workers = 0


class EvaluateConfig(StageConfig):
    """Say how realistic and varied a set is, each figure with its N and interval."""

    real: Annotated[
        str,
        Field(description="Dataset (its test split is used) or reference:NAME, features that ship with the package."),
    ]
    synthetic: Annotated[Path, Field(description="Set to judge.")]
    training: Annotated[
        Path | None,
        Field(description="Dataset of the training images, for nearest neighbours; default: from the lineage."),
    ] = None
    split: Annotated[
        Literal["test", "validation", "train", "all"],
        Field(description="Split of the real dataset to judge against."),
    ] = "test"
    study: Annotated[Path | None, Field(description="Reader study to show in the report.")] = None
    show_removed_text: Annotated[
        bool, Field(description="Show cleaned images in the report as they were before, text and all.")
    ] = False
    neighbours: Annotated[int, Field(ge=1, le=50, description="k of precision, recall, density and coverage.")] = 5
    out: Out
    batch_size: Annotated[
        int, Field(ge=1, description="Images through the encoder at once.", json_schema_extra=PLACE)
    ] = 32
    seed: Seed = 0
    device: Device = "auto"


class StudyNewConfig(StageConfig):
    """Set up a blinded reading of real and synthetic images."""

    real: Annotated[Path, Field(description="Dataset or folder of real images (of a dataset, its test split).")]
    synthetic: Annotated[Path, Field(description="Set or folder of synthetic images.")]
    count: Annotated[int, Field(ge=1, description="Images of each kind.")] = 50
    out: Out
    seed: Seed = 0


class StudyImportConfig(StageConfig):
    """Take in readers' answers: to a study, or as a study of its own."""

    answers: Annotated[
        Path,
        Field(
            description="CSV: reader,image,truth,answer[,confidence][,seconds], with the words real and synthetic.",
            json_schema_extra=POSITIONAL,
        ),
    ]
    study: Annotated[Path | None, Field(description="Study to add them to; a planned one knows the truth itself.")] = (
        None
    )
    out: Annotated[
        Path | None,
        Field(description="Folder to make of answers that belong to no study.", json_schema_extra=PLACE),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.study is None) == (self.out is None):
            raise ValueError("Give either --study DIR (a study that exists) or --out DIR (a new one).")
        if self.study is not None and self.overwrite:
            raise ValueError("--overwrite would replace the study; with --study, answers are only added.")
        return self


class StudyAnalyzeConfig(StageConfig):
    """Say how well readers told synthetic images from real ones."""

    study: Annotated[Path, Field(description="Study with answers.", json_schema_extra=POSITIONAL)]


class DemoConfig(StageConfig):
    """The whole road in minutes, on nothing but the package."""

    out: Out = Path("demo")
    data: Annotated[
        Path | None,
        Field(description="Folder of real X-rays to use instead of images drawn by the bundled model."),
    ] = None
    count: Annotated[int, Field(ge=8, le=512, description="Images drawn for the set.")] = 48
    steps: Annotated[int, Field(ge=1, description="LoRA steps.")] = 30
    seed: Seed = 0
    device: Device = "auto"
