"""`train`: datasets and a base to a run; `estimate`: what that would take."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, POSITIONAL, Device, DType, Out, Seed, StageConfig


class TrainOptions(StageConfig):
    """What a training is."""

    stage: ClassVar[str] = "train"

    datasets: Annotated[list[Path], Field(min_length=1, description="Dataset folders.", json_schema_extra=POSITIONAL)]
    base: Annotated[
        str,
        Field(description="Model to start from: a name, a diffusers folder, a hub id, a run, or layout:small."),
    ] = "bundled"
    preset: Annotated[
        Literal["original", "fast", "quality"] | None,
        Field(
            description="Options that belong together; a file of them ships for each, and any option beside it wins."
        ),
    ] = None
    method: Annotated[
        Literal["lora", "full", "autoencoder", "encoder"],
        Field(
            description="lora: adapters on the attention; full: UNet and text encoder (Sana: the transformer); "
            "autoencoder: the image autoencoder; encoder: the network whose features the evaluation uses."
        ),
    ] = "lora"
    steps: Annotated[int, Field(ge=1, description="Optimizer steps.")] = 500
    epochs: Annotated[
        float | None, Field(gt=0, description="Passes over the training images, in place of --steps.")
    ] = None
    batch_size: Annotated[int, Field(ge=1, description="Images a step, over all passes and all processes.")] = 8
    accumulate: Annotated[
        int, Field(ge=1, description="Passes of each process a step: less memory, the same step (not for encoder).")
    ] = 1
    compile: Annotated[
        bool,
        Field(description="Compile the UNet or transformer first (torch.compile): for long runs on GPUs (lora, full)."),
    ] = False
    gradient_checkpointing: Annotated[
        bool, Field(description="Compute activations twice instead of keeping them: less memory, slower (lora, full).")
    ] = False
    learning_rate: Annotated[float, Field(gt=0, description="Peak learning rate (AdamW).")] = 1e-4
    schedule: Annotated[
        Literal["constant", "cosine", "decay"],
        Field(description="Learning rate after the warm-up; decay: constant, then down to zero over the last fifth."),
    ] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, description="Steps of linear warm-up.")] = 0
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's weight decay.")] = 0.01
    beta2: Annotated[float, Field(gt=0, lt=1, description="AdamW's memory of squared gradients.")] = 0.99
    clip_norm: Annotated[float, Field(gt=0, description="Largest norm of the gradient.")] = 1.0
    rank: Annotated[int, Field(ge=1, description="Rank of the LoRA.")] = 4
    alpha: Annotated[float | None, Field(gt=0, description="LoRA's alpha; default: the rank.")] = None
    dora: Annotated[
        bool, Field(description="DoRA: the adapter turns weights and scales them apart (arXiv:2402.09353).")
    ] = False
    rslora: Annotated[
        bool, Field(description="rsLoRA: alpha over the root of the rank instead of the rank (arXiv:2312.03732).")
    ] = False
    lora_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of the LoRA's inputs set to zero.")] = 0.0
    targets: Annotated[
        list[str],
        Field(
            description="Layers of the UNet or transformer that take LoRA, by the end of their names (e.g. to_q, "
            "proj_in, ff.net.2); default: the attention's four.",
        ),
    ] = []
    train_text_encoder: Annotated[bool, Field(description="LoRA on the text encoder's attention too.")] = False
    student_steps: Annotated[
        int | None,
        Field(
            ge=1,
            le=64,
            description="Train a few-step student: to draw in so many steps, without guidance, what the base draws by "
            "the options that follow (lora, full).",
        ),
    ] = None
    teacher_steps: Annotated[int, Field(ge=2, description="Steps of the base's own draws; a multiple of it.")] = 48
    teacher_guidance: Annotated[float, Field(ge=0, le=50, description="Guidance of the base's own draws.")] = 1.5
    teacher_scheduler: Annotated[
        Literal["ddim", "dpm++", "unipc", "euler"], Field(description="Sampler of the base's own draws.")
    ] = "unipc"
    teacher_draws: Annotated[
        int, Field(ge=16, description="Images that the base draws for its student, at prompts of the dataset.")
    ] = 512
    min_snr_gamma: Annotated[
        float | None, Field(gt=0, description="Gamma of min-SNR loss weights (arXiv:2303.09556).")
    ] = None
    offset_noise: Annotated[
        float,
        Field(ge=0, description="Strength of noise that is one value a channel, for darker and brighter images."),
    ] = 0.0
    time_sampling: Annotated[
        Literal["uniform", "logit-normal"],
        Field(description="Which noise levels are trained: all alike, or those in the middle more (arXiv:2403.03206)."),
    ] = "uniform"
    time_shift: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="Above 1 trains the noisy levels more, where anatomy is settled (arXiv:2403.03206, eq. 23).",
        ),
    ] = 1.0
    prompt_dropout: Annotated[float, Field(ge=0, le=1, description="Share of prompts replaced by the empty one.")] = 0.1
    field_dropout: Annotated[
        float,
        Field(ge=0, le=1, description="Share of age, sex, view and findings left out of written prompts (full)."),
    ] = 0.0
    word_weight: Annotated[
        float,
        Field(
            ge=0,
            description="Weight of a second loss: a prompt's embedding must tell its words, so that those whose signs "
            "in the images are faint are not forgotten (full, or lora with --train-text-encoder).",
        ),
    ] = 0.0
    dropout: Annotated[
        float,
        Field(ge=0, lt=1, description="Share of activations set to zero inside the UNet's residual blocks."),
    ] = 0.0
    ema_decay: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Decay of the weights' moving average, which the run ends with; 0: none.",
        ),
    ] = 0.0
    latent_variants: Annotated[
        int,
        Field(
            ge=1,
            description="Crops of each image encoded once and cached: small shift, scale and contrast, never a flip.",
        ),
    ] = 1
    crop_size: Annotated[
        int | None,
        Field(ge=32, multiple_of=8, description="Train the autoencoder on random crops of this size."),
    ] = None
    latents: Annotated[
        Literal["learned", "principal"],
        Field(
            description="What images are encoded to: learned with the decoder, or the principal components of squares "
            "of training images, so that only the decoder is trained (autoencoder)."
        ),
    ] = "learned"
    ssim_weight: Annotated[
        float, Field(ge=0, description="Weight of 1 - MS-SSIM beside the pixel terms (autoencoder).")
    ] = 0.0
    adversarial_weight: Annotated[
        float,
        Field(ge=0, description="Strength of a patch discriminator beside all other terms; 0: none (autoencoder)."),
    ] = 0.0
    adversarial_from: Annotated[int, Field(ge=0, description="Step from which the discriminator takes part.")] = 0
    init: Annotated[
        str | None,
        Field(
            description="Model whose trained weights to start from wherever their shapes fit the base's, as when the "
            "base has another autoencoder or vocabulary (full, autoencoder)."
        ),
    ] = None
    validate_every: Annotated[
        int, Field(ge=0, description="Steps between looks at held-out patients, written to evidence.jsonl; 0: none.")
    ] = 0
    judge_images: Annotated[
        int,
        Field(
            ge=0,
            description="Images drawn at each look for a Fréchet distance and near-copies (lora, full); 0: none.",
        ),
    ] = 0
    best: Annotated[
        Literal["loss", "distance"] | None,
        Field(description="End with the weights whose held-out loss, or Fréchet distance, was lowest (lora, full)."),
    ] = None
    patience: Annotated[
        int | None, Field(ge=1, description="With --best: stop after so many looks without a better one.")
    ] = None
    cache: Annotated[
        Path | None,
        Field(
            description="Folder of encoded images and prompts that runs on the same data and base share; default: each "
            "run encodes its own, and removes them in the end (lora, full).",
            json_schema_extra=PLACE,
        ),
    ] = None
    checkpoint_every: Annotated[int, Field(ge=1, description="Steps between checkpoints.", json_schema_extra=PLACE)] = (
        250
    )
    keep: Annotated[int, Field(ge=1, description="Newest checkpoints kept.", json_schema_extra=PLACE)] = 2
    sample_every: Annotated[int, Field(ge=0, description="Steps between sample sheets; 0: one at the end.")] = 250
    sample_steps: Annotated[int, Field(ge=1, description="Sampling steps of the sheets.")] = 20
    track: Annotated[
        Literal["tensorboard", "wandb"] | None,
        Field(description="Send the log and the evidence there as well (extra `track`).", json_schema_extra=PLACE),
    ] = None
    max_hours: Annotated[
        float | None,
        Field(
            gt=0,
            description="Stop with a checkpoint after so long; the same command goes on.",
            json_schema_extra=PLACE,
        ),
    ] = None
    limit: Annotated[int | None, Field(ge=1, description="Train on only the first N images.")] = None
    seed: Seed = 0
    device: Device = "auto"
    dtype: DType = "auto"

    @model_validator(mode="after")
    def _evidence_that_can_be_had(self) -> Self:
        draws = self.method in ("lora", "full")
        if (self.judge_images or self.best) and not draws:
            raise ValueError(f"--judge-images and --best are for --method lora and full, not {self.method}.")
        if (self.judge_images or self.best) and not self.validate_every:
            raise ValueError("--judge-images and --best need --validate-every, which says how often to look.")
        if self.judge_images == 1 or (self.best == "distance" and not self.judge_images):
            raise ValueError("A Fréchet distance needs --judge-images of some hundred (at least 2).")
        if self.patience and not self.best:
            raise ValueError("--patience needs --best, which says what better is.")
        if self.student_steps and not draws:
            raise ValueError(f"--student-steps is for --method lora and full, not {self.method}.")
        if self.student_steps and self.teacher_steps % self.student_steps:
            raise ValueError(f"--teacher-steps {self.teacher_steps} is no multiple of --student-steps.")
        if self.accumulate > 1 and self.method == "encoder":
            raise ValueError("--method encoder compares the images of a whole batch; it takes no --accumulate.")
        return self


class TrainConfig(TrainOptions):
    """Train a model, or a part of one, on a dataset's training patients."""

    out: Out


class EstimateConfig(TrainOptions):
    """Say what memory and time a training would take on this machine: a few of its steps are tried, nothing is kept."""
