"""`demo`: the whole road."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from synthcxr.config.base import Device, Out, Seed, StageConfig


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
