"""`clean`: burned-in text removed."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcxr.config.base import PLACE, POSITIONAL, Out, StageConfig, Workers


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
