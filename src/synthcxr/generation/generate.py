"""The stage `generate`: a set of synthetic X-rays, each with its own seed and its provenance inside."""

from pathlib import Path
from typing import Any

from synthcxr import __version__
from synthcxr.config import GenerateConfig
from synthcxr.devices import describe, pick
from synthcxr.errors import SynthCXRError
from synthcxr.generation.mixture import count_mix, tell_mix
from synthcxr.generation.prompts import Wish, read_wishes
from synthcxr.generation.provenance import DISCLAIMER, png_text
from synthcxr.generation.sampler import Request, draw
from synthcxr.imagefolder import write_rows
from synthcxr.images import write_png
from synthcxr.models.registry import Model, describe_model, identify, load, resolve
from synthcxr.progress import say, track
from synthcxr.seeds import row_seed
from synthcxr.store import describe_input, manifest_hash, open_output, sha256_file

SPLIT = "train"


def generate(config: GenerateConfig) -> Path:
    """Draw what the config asks for; images that are there from an earlier call stay as they are."""
    reference = resolve(config.model)
    wishes = read_wishes(config)
    identity = config.identity() | identify(reference)
    if config.prompts:
        identity["prompts_sha256"] = sha256_file(config.prompts)
    if config.like:
        identity["like_sha256"] = manifest_hash(config.like)
    inputs = [path for path in (reference.run or reference.folder, config.prompts, config.like) if path]
    with open_output(config.out, "set", identity, overwrite=config.overwrite, inputs=inputs) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        if mix := count_mix(wish.fields for wish in wishes):
            say(tell_mix(mix, len(wishes)))
        model = load(reference, pick(config.device, config.dtype))
        rows = [_row(config, model, index, wish) for index, wish in enumerate(wishes)]
        _say_what_is_cut(model, rows)
        _draw_missing(config, model, rows)
        write_rows(config.out, SPLIT, rows)
        return output.finish(
            inputs={"model": describe_model(model, config.out)}
            | ({"like": describe_input(config.like, config.out)} if config.like else {}),
            counts={"images": len(rows), "prompts": len({row["text"] for row in rows})},
            environment=describe(model.compute),
            notes=[DISCLAIMER],
            preprocessing=f"8-bit grey, drawn at {rows[0]['width']} px",
            mix=mix,
        )


def _draw_missing(config: GenerateConfig, model: Model, rows: list[dict[str, Any]]) -> None:
    """Draw fixed blocks of indices, a short one padded, so that no resume ever changes what a batch holds."""
    made_by = describe_making(model)
    starts = range(0, len(rows), config.batch_size)
    for start in track(starts, "Drawing batches", len(starts)):
        block = rows[start : start + config.batch_size]
        paths = [config.out / SPLIT / row["file_name"] for row in block]
        if all(path.exists() for path in paths):
            continue
        padded = block + [block[-1]] * (config.batch_size - len(block))
        requests = [Request(row["text"], row["negative_prompt"], row["seed"]) for row in padded]
        try:
            images = draw(
                model,
                requests,
                steps=config.steps,
                guidance=config.guidance,
                scheduler=config.scheduler,
                guidance_start=config.guidance_start,
                guidance_end=config.guidance_end,
                resolution=config.resolution,
            )
        except FloatingPointError as error:
            raise SynthCXRError(
                f"Images {start} to {start + len(block) - 1} are not finite in {model.compute.dtype}: {error} "
                "Try --dtype float32 with another --out."
            ) from error
        for row, path, image in zip(block, paths, images, strict=False):
            if not path.exists():
                write_png(path, image, png_text(row, made_by))


def describe_making(model: Model) -> dict[str, Any]:
    """The part of the provenance that all images of a set share."""
    environment = describe(model.compute)
    return {
        "model": model.reference.name,
        "model_sha256": model.sha256,
        "adapter_sha256": model.adapter_sha256,
        "environment": {"synthcxr": __version__, **environment},
    }


def _row(config: GenerateConfig, model: Model, index: int, wish: Wish) -> dict[str, Any]:
    side = config.resolution or model.image_size
    return {
        "file_name": f"{index:06d}.png",
        "text": wish.text,
        "negative_prompt": config.negative_prompt,
        "seed": row_seed(config.seed, index),
        "index": index,
        "attempt": 0,
        "steps": config.steps,
        "guidance": config.guidance,
        "guidance_start": config.guidance_start,
        "guidance_end": config.guidance_end,
        "scheduler": config.scheduler,
        "width": side,
        "height": side,
        "batch_size": config.batch_size,
        **wish.fields,
    }


def _say_what_is_cut(model: Model, rows: list[dict[str, Any]]) -> None:
    longest = model.family.text_length(model.pipeline)
    for prompt in dict.fromkeys(row["text"] for row in rows):
        if cut := model.family.cut_off(model.pipeline, prompt):
            say(f"The text encoder takes {longest} tokens; of a prompt this is cut: “{cut}”")
