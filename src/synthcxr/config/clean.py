"""`clean`: burned-in text removed."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

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
    keep: Annotated[
        list[Literal["laterality", "position", "identifier", "other", "marker", "nothing"]] | None,
        Field(
            description="Kinds of text that stay: laterality (L, R), position (AP, PORTABLE), identifier, other, "
            "marker (solid shapes), or nothing. Default: laterality in real X-rays, nothing in a synthetic set.",
        ),
    ] = None
    leave: Annotated[
        list[str],
        Field(description="Text that stays: FILE=X,Y leaves what lies at this point of this image. Once a text."),
    ] = []
    allow_residual: Annotated[
        bool, Field(description="Exit 0 even if text can still be read somewhere.", json_schema_extra=PLACE)
    ] = False
    limit: Annotated[int | None, Field(ge=1, description="Take only the first N images.")] = None
    workers: Workers = 0

    @field_validator("leave")
    @classmethod
    def _are_points(cls, leave: list[str]) -> list[str]:
        for words in leave:
            _point(words)
        return leave

    def points_to_leave(self, file_name: str) -> list[tuple[float, float]]:
        """Points (x, y) of an image whose text stays."""
        points = map(_point, self.leave)
        return [(x, y) for name, x, y in points if name == file_name]


def _point(words: str) -> tuple[str, float, float]:
    try:
        name, _, point = words.rpartition("=")
        x, y = (float(part) for part in point.split(","))
        if not name:
            raise ValueError
    except ValueError:
        raise ValueError(f"--leave {words}: give FILE=X,Y, as in 000012.png=40,60.") from None
    return name, x, y
