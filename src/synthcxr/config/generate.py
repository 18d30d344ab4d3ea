"""`generate`: a model and prompts to a set."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import Device, DType, Out, Seed, StageConfig


class GenerateConfig(StageConfig):
    """Draw a set of synthetic X-rays, each with its own seed and its provenance inside."""

    model: Annotated[str, Field(description="Model: a name, a diffusers folder, a hub id, or a run.")] = "bundled"
    prompt: Annotated[
        str | None,
        Field(description="One prompt for all images, or a template with {view}, {age}, {sex}, {finding} to fill in."),
    ] = None
    prompts: Annotated[
        Path | None, Field(description="File of prompts: .txt (one a line), .csv or .jsonl (column text).")
    ] = None
    like: Annotated[
        Path | None, Field(description="Dataset whose training split's mix of age, sex, view and findings to draw.")
    ] = None
    balance: Annotated[
        str | None,
        Field(description="With --like: fields to make even, of age, sex, view and findings, as in findings,sex."),
    ] = None
    view: Annotated[
        list[str] | None, Field(min_length=1, description="Views for the template, or to keep of --like.")
    ] = None
    age: Annotated[
        list[str] | None, Field(min_length=1, description="Ages likewise: years, or ranges such as 60-69.")
    ] = None
    sex: Annotated[list[str] | None, Field(min_length=1, description="Sexes likewise: F or M.")] = None
    finding: Annotated[list[str] | None, Field(min_length=1, description="Findings likewise.")] = None
    negative_prompt: Annotated[str, Field(description="What guidance steers away from.")] = ""
    count: Annotated[
        int | None,
        Field(ge=1, description="Number of images; default: one a prompt, a cell of the grid, or a row of --like."),
    ] = None
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
        if sum(given is not None for given in (self.prompt, self.prompts, self.like)) != 1:
            raise ValueError("Give either --prompt TEXT or --prompts FILE or --like DATASET, one of the three.")
        if self.balance is not None and self.like is None:
            raise ValueError("--balance makes the mix of --like DATASET even; give that too.")
        return self
