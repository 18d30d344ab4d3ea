"""`clean`: burned-in text removed."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthcxr.config.base import PLACE, POSITIONAL, Out, StageConfig, Workers


class CleanConfig(StageConfig):
    """Remove burned-in text, change nothing else, and keep the proof."""

    folder: Annotated[
        Path,
        Field(description="A dataset, a set, or any folder of PNG, JPEG and DICOM.", json_schema_extra=POSITIONAL),
    ]
    out: Out
    keep: Annotated[
        Literal["auto", "laterality", "nothing"],
        Field(description="Markers that stay: those of the side, or none; auto keeps the side but in a synthetic set."),
    ] = "auto"
    inpainter: Annotated[Literal["telea", "navier-stokes"], Field(description="How the masked strokes are filled.")] = (
        "telea"
    )
    minimum_score: Annotated[
        float,
        Field(
            ge=0, le=1, description="Score (root of the detector's times the recogniser's) from which a line is text."
        ),
    ] = 0.5
    dilation: Annotated[int, Field(ge=0, le=32, description="Pixels by which the strokes' mask grows.")] = 2
    second_reader: Annotated[
        Literal["auto", "off"],
        Field(description="Let Tesseract read the result too; auto does where it is installed."),
    ] = "auto"
    deidentify: Annotated[
        Literal["off", "basic", "characteristics"],
        Field(
            description="DICOM headers: as they are, by the basic profile of PS3.15, or so with sex, age and size."
        ),
    ] = "off"
    key: Annotated[
        Path | None,
        Field(
            description="Secret key of the new ids; default ~/.config/synthcxr/patient.key.", json_schema_extra=PLACE
        ),
    ] = None
    show_removed_text: Annotated[
        bool, Field(description="Keep what was read in proof.jsonl, and show images before in the page.")
    ] = True
    allow_residual: Annotated[
        bool, Field(description="Exit 0 even if images need a review.", json_schema_extra=PLACE)
    ] = False
    limit: Annotated[int | None, Field(ge=1, description="Take only the first N images.")] = None
    workers: Workers = 0
