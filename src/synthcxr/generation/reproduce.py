"""Drawing an image again from what it says of itself, and saying how far the two are apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.generation.drawing import Artist, Job, Sampling, describe_making
from synthcxr.generation.provenance import png_text, read_provenance
from synthcxr.images import encode_png, read_grey
from synthcxr.models.registry import REGISTRY, Reference, resolve
from synthcxr.store import Json, find_manifest, read_json

NEEDED = (
    *("text", "negative_prompt", "seed", "steps", "guidance", "scheduler"),
    *("width", "height", "batch_size", "model_sha256"),
)
MADE_BY = ("model", "model_sha256", "adapter_sha256", "run_manifest_sha256", "environment")
SAME_LEVELS = 1
"""Grey levels that the same image may differ by on another device, batch size or number of threads."""


@dataclass(frozen=True)
class Reproduction:
    """How the image drawn again compares with the one that is there.

    `equal_bytes` is of the whole files, `grey_levels` the largest difference of a pixel, `differs` what is not as it
    was then: (name, then, now).
    """

    equal_bytes: bool
    grey_levels: int
    differs: tuple[tuple[str, Any, Any], ...]

    @property
    def same(self) -> bool:
        """Whether it is the same image, as the design defines it."""
        return self.equal_bytes or self.grey_levels <= SAME_LEVELS

    def to_json(self) -> Json:
        """For machines."""
        differs = [{"what": what, "then": then, "now": now} for what, then, now in self.differs]
        return {
            "same": self.same,
            "equal_bytes": self.equal_bytes,
            "grey_levels": self.grey_levels,
            "differs": differs,
        }

    def in_words(self) -> str:
        """For people: the verdict, and a line for each thing that differs."""
        if self.equal_bytes:
            verdict = "Equal bytes."
        elif self.same:
            verdict = "Equal pixels." if self.grey_levels == 0 else f"Equal within {self.grey_levels} grey level."
        else:
            verdict = f"Not the same: up to {self.grey_levels} grey levels apart."
        lines = [f"{what} differs: then {then}, now {now}" for what, then, now in self.differs]
        if not lines and not self.same:
            lines = ["Model, versions, device and threads are the same: the image was changed after it was drawn."]
        return "\n".join([verdict, *lines])


def reproduce(image: Path, model: str | None = None) -> Reproduction:
    """Draw a PNG of a set again, with the model given or the one that it names, and compare.

    It is drawn at its own place of a batch of the size it was drawn in, with as many threads, so on the same machine
    and versions its bytes come out again. Raises UsageError where it says too little, or its model is not found.
    """
    import torch

    said = read_provenance(image)
    if "parent_sha256" in said:
        raise UsageError(f"{image} was edited from another image; the same `synthcxr edit` command makes it again.")
    if missing := [name for name in NEEDED if name not in said]:
        raise UsageError(f"{image} does not say its {', '.join(missing)}, so it cannot be drawn again.")
    then = read_grey(image)
    environment = said.get("environment", {})
    job = Job(
        _find_model(image, said, model),
        _sampling(said),
        int(said["batch_size"]),
        _device(environment),
        environment.get("dtype", "float32"),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(int(environment.get("threads", threads)))
    try:
        place = int(said.get("place", said.get("index", 0))) % job.batch_size
        row = {name: value for name, value in said.items() if name not in MADE_BY}
        drawn = Artist(job).draw([row] * (place + 1))[place]
        made_by = describe_making(drawn.model)
    finally:
        torch.set_num_threads(threads)
    differs = _differences(said, made_by)
    if drawn.image is None or drawn.image.shape != then.shape:
        return Reproduction(False, 255, differs)
    levels = int(np.abs(drawn.image.astype(int) - then).max())
    equal = image.read_bytes() == encode_png(drawn.image, png_text(row, made_by))
    return Reproduction(equal, levels, differs)


def _sampling(said: Json) -> Sampling:
    return Sampling(
        steps=said["steps"],
        guidance=said["guidance"],
        scheduler=said["scheduler"],
        guidance_start=said.get("guidance_start", 0.0),
        guidance_end=said.get("guidance_end", 1.0),
        guidance_rescale=said.get("guidance_rescale", 0.0),
    )


def _device(environment: Json) -> str:
    """The kind of device that it was drawn on, or the best here where there is none of that kind."""
    try:
        return pick(environment.get("device", "auto")).device.type
    except UsageError:
        return pick().device.type


def _find_model(image: Path, said: Json, given: str | None) -> Reference:
    """The model given, else the one that the image's set leads to, else the one of its name."""
    if given is not None:
        return resolve(given)
    manifest = find_manifest(image.resolve().parent.parent)
    if manifest is not None and (entry := read_json(manifest).get("inputs", {}).get("model", {})).get("path"):
        folder = (manifest.parent / entry["path"]).resolve()
        if folder.exists():
            return resolve(str(folder))
    if said.get("model") in REGISTRY:
        return resolve(said["model"])
    raise UsageError(
        f"{image} was drawn by {said.get('model')} (SHA-256 {said['model_sha256'][:12]}…), which is not found here. "
        "Say where it is: --model NAME, a diffusers folder, or a run."
    )


def _differences(then: Json, now: Json) -> tuple[tuple[str, Any, Any], ...]:
    flat_then, flat_now = _flat(then), _flat(now)
    return tuple(
        (what, flat_then.get(what), flat_now.get(what))
        for what in sorted(flat_then.keys() | flat_now.keys())
        if flat_then.get(what) != flat_now.get(what)
    )


def _flat(made: Json) -> Json:
    """What can make images differ: the hashes of model and adapter, versions, device, number format, threads."""
    environment = dict(made.get("environment", {}))
    libraries = environment.pop("libraries", {})
    hashes = {name.replace("_", " "): made.get(name) for name in ("model_sha256", "adapter_sha256")}
    return {**hashes, **environment, **libraries}
