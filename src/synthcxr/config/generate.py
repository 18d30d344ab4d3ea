"""`generate`: a model and prompts to a set."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import Device, DType, Out, Seed, StageConfig


class GenerateConfig(StageConfig):
    """Draw a set of synthetic X-rays, each with its own seed and its provenance inside."""

    model: Annotated[str, Field(description="Model: a name, a diffusers folder, a hub id, or a run.")] = "bundled"
    prompt: Annotated[str | None, Field(description="One prompt for all images.")] = None
    prompts: Annotated[
        Path | None, Field(description="File of prompts: .txt (one a line), .csv or .jsonl (column text).")
    ] = None
    negative_prompt: Annotated[str, Field(description="What guidance steers away from.")] = ""
    count: Annotated[int | None, Field(ge=1, description="Number of images; default: one a prompt.")] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="Sampling steps.")] = 30
    guidance: Annotated[float, Field(ge=0, le=50, description="Classifier-free guidance scale; 1 turns it off.")] = 2.0
    guidance_start: Annotated[
        float, Field(ge=0, le=1, description="Share of the steps after which guidance begins.")
    ] = 0.0
    guidance_end: Annotated[float, Field(ge=0, le=1, description="Share of the steps after which it ends.")] = 1.0
    scheduler: Annotated[Literal["ddim", "dpm++", "unipc", "euler"], Field(description="Sampler.")] = "ddim"
    resolution: Annotated[
        int | None,
        Field(ge=32, le=2048, multiple_of=8, description="Side in pixels; default: the model's own."),
    ] = None
    out: Out
    batch_size: Annotated[int, Field(ge=1, le=256, description="Images drawn at once.")] = 8
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> Self:
        if (self.prompt is None) == (self.prompts is None):
            raise ValueError("Give either --prompt TEXT or --prompts FILE.")
        return self
