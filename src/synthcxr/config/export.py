"""`export`: another form."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcxr.config.base import PLACE, POSITIONAL, Out, StageConfig


class ExportConfig(StageConfig):
    """Write a dataset, a set or a run in another form; its terms of use are said first."""

    folder: Annotated[Path, Field(description="A dataset, a set or a run.", json_schema_extra=POSITIONAL)]
    out: Out
    to: Annotated[
        Literal["imagefolder", "webdataset", "parquet", "dicom", "diffusers-lora", "kohya", "merged"],
        Field(
            description="The form to write: imagefolder, webdataset and parquet of images; dicom of a set; of a run "
            "its LoRA for diffusers, or with the names of kohya, AUTOMATIC1111 and ComfyUI, or a merged model."
        ),
    ]
    privacy_gate: Annotated[
        Path | None,
        Field(
            description="Report of this set (evaluate --questions privacy): nothing is written where it finds "
            "near-copies of training images, or did not look for them."
        ),
    ] = None
    accept_terms: Annotated[
        bool,
        Field(
            description="You have read the terms of use, and they allow what you are about to do.",
            json_schema_extra=PLACE,
        ),
    ] = False
