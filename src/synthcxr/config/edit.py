"""`edit`: an X-ray, a prompt and perhaps a region to a set of edited X-rays."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, POSITIONAL, Device, DType, Out, Seed, StageConfig


class EditConfig(StageConfig):
    """Draw an X-ray, real or synthetic, anew by a prompt: all of it, or only a region, the rest untouched."""

    image: Annotated[Path, Field(description="PNG, JPEG or DICOM.", json_schema_extra=POSITIONAL | PLACE)]
    out: Out
    prompt: Annotated[str, Field(min_length=1, description="What the image, or the region, is to show.")]
    negative_prompt: Annotated[str, Field(description="What guidance steers away from.")] = ""
    strength: Annotated[
        float, Field(gt=0, le=1, description="How much is drawn anew: near 0 almost nothing, 1 all of it.")
    ] = 0.5
    mask: Annotated[
        Path | None,
        Field(
            description="PNG of the image's size, white where it is to change; nothing else does.",
            json_schema_extra=PLACE,
        ),
    ] = None
    box: Annotated[
        str | None, Field(description="Instead of a mask: X,Y,WIDTH,HEIGHT in pixels from the top left.")
    ] = None
    model: Annotated[str, Field(description="Model: a name, a diffusers folder, a hub id, or a run.")] = "bundled"
    count: Annotated[int, Field(ge=1, description="Number of images, each from a seed of its own.")] = 1
    steps: Annotated[int, Field(ge=1, le=1000, description="Sampling steps, of which strength takes its share.")] = 30
    guidance: Annotated[float, Field(ge=0, le=50, description="Classifier-free guidance scale; 1 turns it off.")] = 2.0
    scheduler: Annotated[Literal["ddim", "dpm++", "unipc", "euler"], Field(description="Sampler.")] = "ddim"
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"

    @model_validator(mode="after")
    def _one_region(self) -> Self:
        if self.mask and self.box:
            raise ValueError("Give either --mask or --box, not both.")
        if self.box and not re.fullmatch(r"\s*\d+\s*,\s*\d+\s*,\s*[1-9]\d*\s*,\s*[1-9]\d*\s*", self.box):
            raise ValueError(f"--box {self.box}: give X,Y,WIDTH,HEIGHT in whole pixels, as in 40,60,128,96.")
        if int(self.steps * self.strength) < 1:
            raise ValueError(
                f"--strength {self.strength} of --steps {self.steps} is less than one step: nothing changes."
            )
        return self
