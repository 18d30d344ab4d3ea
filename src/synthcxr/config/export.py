"""`export`: another form."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcxr.config.base import PLACE, POSITIONAL, Out, StageConfig


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
