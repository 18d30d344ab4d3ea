"""`evaluate`: real and synthetic images to a report."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, Device, Out, Seed, StageConfig

Question = Literal["realism", "faithfulness", "usefulness", "privacy", "artifacts", "anatomy", "fairness"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
"""What a report can answer, in its order."""
Choice = Literal["all", Question]
LONG: tuple[Question, ...] = ("usefulness",)
"""Questions that take many minutes: answered where they are asked by name, or with all."""


class EvaluateConfig(StageConfig):
    """Say how real and private a set is and whether it shows what was asked, each figure with N and interval."""

    real: Annotated[
        str,
        Field(description="Dataset (its test split is used) or reference:NAME, features that ship with the package."),
    ]
    synthetic: Annotated[Path, Field(description="Set to judge.")]
    questions: Annotated[
        list[Choice],
        Field(
            min_length=1,
            description="Questions to answer, one an option, or all; default: all but usefulness, which trains "
            "classifiers.",
        ),
    ] = [name for name in QUESTIONS if name not in LONG]
    compare: Annotated[
        list[Path],
        Field(description="Further sets to compare --synthetic with, by the same real patients; one an option."),
    ] = []
    training: Annotated[
        Path | None,
        Field(description="Dataset of the training images, for nearest neighbours; default: from the lineage."),
    ] = None
    model: Annotated[
        str | None,
        Field(
            description="Model that drew the set: a run's folder, or a model's name; it is asked for its losses on its "
            "training images. Default: from the lineage."
        ),
    ] = None
    classifier: Annotated[
        Path | None,
        Field(
            description="TorchScript or ONNX file that says what is seen, with NAME.json beside it (labels, side), "
            "instead of the bundled classifiers."
        ),
    ] = None
    extractors: Annotated[
        list[str],
        Field(
            description="Further features to measure distances on: inception (FID), rad-dino, or NAME=PATH with "
            "weights on this machine."
        ),
    ] = []
    statistics: Annotated[
        list[Path],
        Field(description="Statistics files (.npz, as pytorch-fid and clean-fid write them) to measure distances to."),
    ] = []
    keep_statistics: Annotated[
        bool, Field(description="Write such files of both sides, for every one of --extractors, into the report.")
    ] = False
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

    @model_validator(mode="after")
    def _features_for_statistics(self) -> Self:
        if (self.statistics or self.keep_statistics) and not self.extractors:
            raise ValueError("Statistics files are of an extractor's features: name it with --extractors.")
        return self

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions to answer, in the report's order."""
        return tuple(name for name in QUESTIONS if name in self.questions or "all" in self.questions)
