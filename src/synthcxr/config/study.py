"""`study`: blinded readings."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, POSITIONAL, Out, Seed, StageConfig


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
