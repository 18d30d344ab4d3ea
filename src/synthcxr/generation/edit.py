"""The stage `edit`: a real or synthetic X-ray drawn anew by a prompt, all of it or only a region."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from synthcxr.cleaning.segment import Mask
from synthcxr.config import EditConfig
from synthcxr.data.records import RejectedImageError
from synthcxr.devices import describe, pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.drawing import describe_making
from synthcxr.generation.provenance import (
    DISCLAIMER,
    EDITED,
    REAL,
    SYNTHETIC,
    UNKNOWN,
    png_text,
    read_provenance,
)
from synthcxr.generation.region import Window, box_mask, cells, check_mask, cut, paste, window_for
from synthcxr.generation.sampler import embed, predict
from synthcxr.generation.sheet import write_sheet
from synthcxr.imagefolder import write_rows
from synthcxr.images import Grey, UnreadableImageError, encode_png, read_grey, to_square, write_png
from synthcxr.models.registry import Model, describe_model, identify, load, resolve
from synthcxr.progress import say, track
from synthcxr.seeds import row_seed
from synthcxr.store import (
    Json,
    describe_input,
    find_manifest,
    open_output,
    read_json,
    sha256_bytes,
    sha256_file,
    write_bytes,
)

if TYPE_CHECKING:
    from torch import Tensor

SPLIT = "train"
MASK = "mask.png"
NOT_FREE = (
    "Edited from a chest X-ray that is, or may be, a patient's. An edited image is not free of that patient: treat it "
    "as you treat the X-ray."
)


def edit(config: EditConfig) -> Path:
    """Write a set of edited images, each with its provenance and that of the image it was made from.

    Raises UsageError for an image or a region that cannot be used, SynthCXRError where an edited image is not finite.
    """
    reference = resolve(config.model)
    parent = find_parent(config.image)
    image = read_xray(config.image)
    mask = read_region(config, image)
    drawn_from = {"parent_sha256": parent.sha256, "parent_kind": parent.kind, "mask_sha256": hash_mask(mask)}
    identity = config.identity() | drawn_from | identify(reference)
    inputs = [path for path in (config.image, config.mask, parent.folder, reference.run or reference.folder) if path]
    with open_output(config.out, "set", identity, overwrite=config.overwrite, inputs=inputs) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        model = load(reference, pick(config.device, config.dtype))
        if not model.family.edits:
            raise UsageError(f"edit takes models of Stable Diffusion, not of {model.family.name}.")
        says = DISCLAIMER if parent.kind == SYNTHETIC else EDITED
        told = drawn_from | {"notice": says}
        rows = [_row(config, model, index, image, mask) | told for index in range(config.count)]
        for row in track(rows, "Editing", len(rows)):
            path = config.out / SPLIT / row["file_name"]
            if not path.exists():
                text = png_text(row, describe_making(model)) | {"Description": says}
                write_png(path, edit_image(model, config, image, mask, row["seed"]), text)
        if mask is not None:
            write_bytes(config.out / MASK, encode_png(np.where(mask, 255, 0).astype(np.uint8)))
        write_rows(config.out, SPLIT, rows)
        write_sheet(config.out, [config.out / SPLIT / row["file_name"] for row in rows], says)
        if parent.kind != SYNTHETIC:
            say(NOT_FREE)
        return output.finish(
            inputs={"model": describe_model(model, config.out), "parent": parent.describe(config.out)},
            counts={"images": len(rows), "prompts": 1},
            environment=describe(model.compute),
            notes=[DISCLAIMER if parent.kind == SYNTHETIC else NOT_FREE],
            preprocessing=f"8-bit grey, edited at {model.image_size} px",
            edited_from=parent.kind,
        )


# --- what is edited ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parent:
    """The image that is edited: its file's hash, whether it is real, and the finished folder that vouches for it.

    Its name is not kept: a hospital's file names may tell who a patient is.
    """

    sha256: str
    kind: str
    folder: Path | None = None

    def describe(self, start: Path) -> Json:
        """As a manifest names it; with its folder come the terms of that folder's sources."""
        if self.folder:
            return {**describe_input(self.folder, start), "image_sha256": self.sha256}
        return {"name": f"{self.kind} X-ray", "kind": "image", "image_sha256": self.sha256}


def find_parent(image: Path) -> Parent:
    """What is known of an image: by the folder whose manifest lists it, else by what it says of itself.

    An image of a dataset is real. One that was drawn is synthetic, unless it was itself edited from one that is not.
    """
    if not image.is_file():
        raise UsageError(f"{image} does not exist, or is no file.")
    digest = sha256_file(image)
    for folder in image.resolve().parents[:4]:
        if (manifest := find_manifest(folder)) is not None:
            listed = read_json(manifest).get("files", {}).get(image.resolve().relative_to(folder).as_posix(), {})
            if listed.get("sha256") == digest:
                kind = REAL if manifest.stem == "dataset" else _says_of_itself(image)
                return Parent(digest, kind, folder)
    return Parent(digest, _says_of_itself(image))


def _says_of_itself(image: Path) -> str:
    try:
        said = read_provenance(image)
    except (SynthCXRError, ValueError):  # not drawn here, or no PNG
        return UNKNOWN
    return str(said.get("parent_kind", SYNTHETIC if said.get("synthetic") is True else UNKNOWN))


def read_xray(path: Path) -> Grey:
    """A PNG, JPEG or DICOM as a viewer shows it. Raises UsageError with the reason where it cannot be read."""
    from synthcxr.data.dicom.display import make_square, to_grey_levels
    from synthcxr.data.dicom.file import HEAD_BYTES, open_dataset, recognise
    from synthcxr.data.dicom.header import pixel_aspect
    from synthcxr.data.dicom.pixels import read_stored_values

    try:
        with path.open("rb") as file:
            if not recognise(file.read(HEAD_BYTES)):
                return read_grey(path)
        dataset, notes = open_dataset(path), list[str]()
        grey = to_grey_levels(dataset, read_stored_values(dataset, "first", notes), "auto", notes)
        return make_square(grey, pixel_aspect(dataset, None, notes), None)[0]
    except (RejectedImageError, UnreadableImageError, OSError) as error:
        raise UsageError(f"{path} cannot be edited: {error}") from error


def read_region(config: EditConfig, image: Grey) -> Mask | None:
    """Where the image may change, or None for all of it. Raises UsageError for a region that makes no sense."""
    height, width = image.shape
    if config.box:
        return box_mask(config.box, (height, width))
    if config.mask is None:
        return None
    try:
        return check_mask(read_grey(config.mask), (height, width))
    except UnreadableImageError as error:
        raise UsageError(f"--mask: {error}") from error


def hash_mask(mask: Mask | None) -> str | None:
    """SHA-256 of a mask's shape and pixels."""
    return None if mask is None else sha256_bytes(json.dumps(mask.shape).encode() + np.packbits(mask).tobytes())


# --- drawing ----------------------------------------------------------------------------------------------


def edit_image(model: Model, config: EditConfig, image: Grey, mask: Mask | None, seed: int) -> Grey:
    """One edited image: at the model's size without a mask, at the image's own with one.

    Raises SynthCXRError where what is drawn is not finite.
    """
    side = model.image_size
    try:
        if mask is None:
            return redraw(model, to_square(image, side), seed, config)
        window: Window = window_for((image.shape[0], image.shape[1]), mask)
        free = cells(mask, window, side // model.pipeline.vae_scale_factor)
        return paste(image, redraw(model, cut(image, window, side), seed, config, free), window, mask)
    except FloatingPointError as error:
        raise SynthCXRError(
            f"The edited image is not finite: {error} Try --dtype float32 with another --out."
        ) from error


class Redrawing(Protocol):
    """How an image is drawn anew: the fields of `EditConfig` of these names."""

    @property
    def prompt(self) -> str: ...  # noqa: D102
    @property
    def negative_prompt(self) -> str: ...  # noqa: D102
    @property
    def strength(self) -> float: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def guidance(self) -> float: ...  # noqa: D102
    @property
    def scheduler(self) -> str: ...  # noqa: D102


def redraw(model: Model, square: Grey, seed: int, config: Redrawing, free: Mask | None = None) -> Grey:
    """A square of the model's size, noised up to `strength` of the way and drawn from there (SDEdit, arXiv:2108.01073).

    The numbers are those of diffusers' StableDiffusionImg2ImgPipeline with ``Generator("cpu").manual_seed(seed)``. With
    `free` (cells, cells) only these latent cells are drawn: after every step the others are set to the known image at
    that step's noise (Blended Latent Diffusion, arXiv:2206.02779, algorithm 1).
    """
    import torch

    pipeline, compute, family = model.pipeline, model.compute, model.family
    sampler = family.make_scheduler(pipeline, config.scheduler)
    sampler.set_timesteps(config.steps, device=compute.device)
    first = (config.steps - int(config.steps * config.strength)) * sampler.order
    times = sampler.timesteps[first:]
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(first)
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        known, noise = _encode(model, square, generator)
        text = embed(model, [config.prompt])
        without = embed(model, [config.negative_prompt]) if config.guidance != 1 else None
        latents = sampler.add_noise(known, noise, times[:1])
        held = None if free is None else ~torch.from_numpy(free).to(compute.device)
        beside = None if free is None else family.surroundings(pipeline, square, free)
        for number, time in enumerate(times):
            scaled = sampler.scale_model_input(latents, time)
            scaled = scaled if beside is None else torch.cat([scaled, beside], dim=1)
            prediction = predict(model, scaled, time, text, without, config.guidance, 0.0)
            latents = sampler.step(prediction.float(), time, latents, return_dict=False)[0]
            if held is not None:
                rest = times[number + 1 : number + 2]
                latents = torch.where(held, sampler.add_noise(known, noise, rest) if len(rest) else known, latents)
        drawn: Grey = family.decode_latents(pipeline, latents)[0]
        return drawn


def _encode(model: Model, square: Grey, generator: Any) -> "tuple[Tensor, Tensor]":
    """Latents of an image, drawn from the autoencoder's posterior, and noise of their shape, in diffusers' order."""
    import torch

    mean, deviation = (part.float() for part in model.family.encode_images(model.pipeline, square[None]))
    draws = [torch.randn(mean.shape, generator=generator).to(mean.device) for _ in range(2)]
    return mean + deviation * draws[0], draws[1]


def _row(config: EditConfig, model: Model, index: int, image: Grey, mask: Mask | None) -> Json:
    side = model.image_size
    height, width = (side, side) if mask is None else image.shape
    return {
        "file_name": f"{index:06d}.png",
        "text": config.prompt,
        "negative_prompt": config.negative_prompt,
        "seed": row_seed(config.seed, index),
        "index": index,
        "attempt": 0,
        "steps": config.steps,
        "guidance": config.guidance,
        "scheduler": config.scheduler,
        "strength": config.strength,
        "width": width,
        "height": height,
        "batch_size": 1,
        "model_sha256": model.sha256,
        "adapter_sha256": model.adapter_sha256,
        "synthetic": True,
        "mask_file": None if mask is None else MASK,
    }
