"""`evaluate`: real and synthetic images to a report."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcxr.config.base import PLACE, Device, Out, Seed, StageConfig


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
