"""`generate`: a model and prompts to a set."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, Device, DType, Out, Seed, StageConfig, Workers

LCM_STEPS = 50
"""The steps that latent consistency models are distilled from (arXiv:2310.04378): the most that the sampler takes."""


class GenerateConfig(StageConfig):
    """Draw a set of synthetic X-rays, each with its own seed and its provenance inside."""

    stage: ClassVar[str] = "generate"

    preset: Annotated[
        Literal["original", "fast", "preview"] | None,
        Field(
            description="original: 75 steps, guidance 4, as plain diffusers draws; fast: a better solver, fewer steps; "
            "preview: 8 unguided steps of a few-step student, the bundled model's or your own. Other options win."
        ),
    ] = None
    model: Annotated[str, Field(description="Model: a name, a diffusers folder, a hub id, or a run.")] = "bundled"
    prompt: Annotated[
        str | None,
        Field(description="One prompt for all images, or a template with {view}, {age}, {sex}, {finding} to fill in."),
    ] = None
    prompts: Annotated[
        Path | None, Field(description="File of prompts: .txt (one a line), .csv or .jsonl (column text).")
    ] = None
    like: Annotated[
        Path | None,
        Field(description="Dataset whose training split's mix of age, sex, view, findings and shapes to draw."),
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
    guidance_rescale: Annotated[
        float,
        Field(ge=0, le=1, description="How far guided steps are brought back to the contrast of unguided ones."),
    ] = 0.0
    scheduler: Annotated[
        Literal["ddim", "dpm++", "unipc", "euler", "lcm"] | None,
        Field(
            description="Sampler; default: ddim for Stable Diffusion, dpm++ for Sana; lcm is for few-step models "
            "(latent consistency)."
        ),
    ] = None
    resolution: Annotated[
        int | None,
        Field(
            ge=32,
            le=2048,
            multiple_of=8,
            description="Side of the squares in pixels; default: the model's own. --like a dataset of buckets: of the "
            "square that these have as many pixels as.",
        ),
    ] = None
    size: Annotated[
        str | None, Field(pattern=r"^\d+x\d+$", description="WIDTHxHEIGHT in pixels, as 448x576, for all images alike.")
    ] = None
    accept: Annotated[
        list[str] | None,
        Field(
            min_length=1,
            description="Rules that an image must pass, or it is drawn again: view, sex, age, finding, blank, text, "
            "copy, or all.",
        ),
    ] = None
    attempts: Annotated[
        int, Field(ge=1, le=100, description="With --accept: drawings of an image at most, the first included.")
    ] = 4
    keep_rejected: Annotated[
        bool, Field(description="With --accept: keep what was rejected under rejected/, provenance and all.")
    ] = False
    out: Out
    batch_size: Annotated[int, Field(ge=1, le=256, description="Images drawn at once.")] = 8
    workers: Workers = 1
    max_hours: Annotated[
        float | None,
        Field(gt=0, description="Stop cleanly after so long; the same command goes on.", json_schema_extra=PLACE),
    ] = None
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """`size`, in the order of arrays."""
        if self.size is None:
            return None
        width, height = map(int, self.size.split("x"))
        return height, width

    @model_validator(mode="after")
    def _a_size_that_can_be(self) -> Self:
        if self.size is not None and self.resolution is not None:
            raise ValueError("Give --resolution for squares or --size for another shape, not both.")
        if any(side % 8 or not 32 <= side <= 2048 for side in self.height_and_width or ()):
            raise ValueError(f"--size {self.size}: sides are multiples of 8, from 32 to 2048.")
        return self

    @model_validator(mode="after")
    def _one_source_of_prompts(self) -> Self:
        if sum(given is not None for given in (self.prompt, self.prompts, self.like)) != 1:
            raise ValueError("Give either --prompt TEXT or --prompts FILE or --like DATASET, one of the three.")
        if self.balance is not None and self.like is None:
            raise ValueError("--balance makes the mix of --like DATASET even; give that too.")
        if self.keep_rejected and self.accept is None:
            raise ValueError("--keep-rejected keeps what --accept rejects; give that too.")
        return self

    @model_validator(mode="before")
    @classmethod
    def _preview_by_the_student(cls, values: Any) -> Any:
        if (
            isinstance(values, dict)
            and values.get("preset") == "preview"
            and values.get("model", "bundled") == "bundled"
        ):
            return {**values, "model": "bundled-few-step"}
        return values

    @model_validator(mode="after")
    def _sampling_that_can_be(self) -> Self:
        if self.guidance_start > self.guidance_end:
            raise ValueError(
                f"--guidance-start {self.guidance_start} lies after --guidance-end {self.guidance_end}; "
                "they are shares of the steps, the first before the second."
            )
        if self.scheduler == "lcm" and self.steps > LCM_STEPS:
            raise ValueError(f"--scheduler lcm takes at most {LCM_STEPS} --steps; 4 to 8 are what it is made for.")
        return self
