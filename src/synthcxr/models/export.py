"""A run in the forms that other programs read: a LoRA of diffusers, a LoRA with kohya's names, a merged model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr.config import ExportConfig
from synthcxr.devices import describe, pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models import layout
from synthcxr.models.card import write_card
from synthcxr.models.families import FAMILIES
from synthcxr.models.families.base import Family
from synthcxr.models.registry import ADAPTER_FILE, REGISTRY, load, resolve
from synthcxr.store import Json, Output, describe_input, verify, write_bytes

if TYPE_CHECKING:
    from torch import Tensor

Adapter = dict[str, "Tensor"]

DENOISING = ("lora", "full")
"""Methods whose runs draw images by themselves."""

LOAD_BASE = """\
from diffusers import DiffusionPipeline
{imports}
pipeline = DiffusionPipeline.from_pretrained({base})  # {about}
pipeline.load_lora_weights("{folder}", weight_name="{file}")
image = pipeline("PA chest X-ray", {call}).images[0]"""
LOAD_MERGED = """\
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("model")
image = pipeline("PA chest X-ray", {call}).images[0]"""


def write_diffusers_lora(config: ExportConfig, output: Output, run: Json) -> None:
    """The run's adapter, byte for byte, as `load_lora_weights` of diffusers and ``--model`` take it."""
    source = _adapter_of(config, run)
    write_bytes(output.folder / "adapter" / ADAPTER_FILE, source.read_bytes())
    about = f"A LoRA for a {_family(run).name} base, in the form of diffusers and peft."
    _finish(config, output, run, about, _load_base(run, "adapter", ADAPTER_FILE))


def write_kohya(config: ExportConfig, output: Output, run: Json) -> None:
    """The adapter as one file with kohya's names, as AUTOMATIC1111, ComfyUI and diffusers read it.

    Raises UsageError for DoRA: readers of these names disagree on the axis of its magnitudes.
    """
    if not _family(run).kohya:
        raise UsageError(
            f"{config.folder} is a LoRA of {_family(run).name}, for which kohya has no names. Export it with --to "
            "diffusers-lora or merged."
        )
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(_adapter_of(config, run), "pt") as file:
        held = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (a safetensors file is no dict)
    if any("lora_magnitude_vector" in key for key in weights):
        raise UsageError(
            f"{config.folder} is a DoRA. Programs that read kohya's names do not agree on how its magnitudes are "
            "applied, so it would draw other images in some of them. Export it with --to merged or diffusers-lora."
        )
    renamed = to_kohya(weights, lambda part, rank: kohya_alpha(held, part, rank))
    name = f"{config.folder.resolve().name}.safetensors"
    save_file(renamed, output.folder / name, metadata=_kohya_metadata(config, run, renamed))
    layout.settle_header(output.folder / name)
    about = "A LoRA for a Stable Diffusion base, with the key names of kohya-ss, AUTOMATIC1111 and ComfyUI."
    _finish(config, output, run, about, _load_base(run, ".", name))


def write_merged(config: ExportConfig, output: Output, run: Json) -> None:
    """A whole model as a diffusers folder in ``model/``: the base with the adapter in its weights.

    A run that holds a model is copied as it is. The merged weights stay in float32: rounded to half, what a small
    adapter changes would be lost in part.
    """
    _check(config, run, DENOISING)
    model = output.folder / "model"
    if (config.folder / "model").is_dir():
        shutil.copytree(config.folder / "model", model, dirs_exist_ok=True)
    else:
        layout.save(load(str(config.folder), pick("cpu", "float32")).pipeline, model, half=False)
    _finish(
        config,
        output,
        run,
        "A text-to-image model as a diffusers folder, whole in itself.",
        LOAD_MERGED.format(call=_call(run)),
    )


# --- kohya's names ----------------------------------------------------------------------------------------


def kohya_alpha(held: Json, part: str, rank: int) -> float:
    """The alpha that gives the adapter's scale by kohya's rule (scale = alpha / rank), rank-stabilised or not.

    `held` is peft's metadata of the adapter, with keys like ``unet.lora_alpha``. A rank-stabilised LoRA
    (arXiv:2312.03732) has the scale alpha / √rank.
    """
    alpha = float(held[f"{part}.lora_alpha"])
    return alpha * rank**0.5 if held.get(f"{part}.use_rslora") else alpha


def to_kohya(weights: Adapter, alpha: Callable[[str, int], float]) -> Adapter:
    """A peft adapter (``unet.…lora_A.weight``) under kohya's names, with an alpha for every layer.

    diffusers' converter does the renaming. It takes every alpha for the rank, gives the only text encoder the name
    that SDXL's first one has, and leaves out ``text_model``, which newer transformers have no more; these three are
    put right here. `alpha` is called with the part (``unet`` or ``text_encoder``) and the layer's rank.
    """
    import torch
    from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya

    older = {_with_text_model(key): value.contiguous() for key, value in weights.items()}
    converted = convert_state_dict_to_kohya(older)
    renamed = {}
    for key, value in converted.items():
        layer, _, kind = key.partition(".")
        part = "text_encoder" if layer.startswith("lora_te1_") else "unet"
        if kind == "alpha":
            rank = int(converted[f"{layer}.lora_down.weight"].shape[0])
            value = torch.tensor(alpha(part, rank), dtype=torch.float32)  # noqa: PLW2901
        renamed[f"{layer.replace('lora_te1_', 'lora_te_', 1)}.{kind}"] = value
    return renamed


def _with_text_model(key: str) -> str:
    start = "text_encoder."
    if key.startswith(start) and not key.startswith(f"{start}text_model."):
        return f"{start}text_model.{key.removeprefix(start)}"
    return key


def _kohya_metadata(config: ExportConfig, run: Json, weights: Adapter) -> dict[str, str]:
    """What kohya's trainer writes into its files (``ss_…``, all of it text), as far as it applies."""
    trained = run["config"]
    ranks = {int(value.shape[0]) for key, value in weights.items() if key.endswith(".lora_down.weight")}
    alphas = {float(value) for key, value in weights.items() if key.endswith(".alpha")}
    base = _base(run)
    return {
        "ss_base_model_version": _base_version(config.folder) or base["name"],
        "ss_sd_model_name": base["name"],
        "ss_network_module": "networks.lora",
        "ss_network_dim": _one(ranks),
        "ss_network_alpha": _one(alphas),
        "ss_output_name": config.folder.resolve().name,
        "ss_steps": str(run["counts"]["steps"]),
        "ss_learning_rate": str(trained["learning_rate"]),
        "ss_seed": str(trained["seed"]),
        "ss_num_train_images": str(run["counts"]["images"]),
        "synthcxr_base_sha256": str(base["sha256"]),
    }


def _one(values: set[int] | set[float]) -> str:
    return str(values.pop()) if len(values) == 1 else "Dynamic"


def _base_version(folder: Path) -> str | None:
    """Kohya's word for the base's generation by the width of its text embeddings; None for other widths."""
    base = resolve(str(folder)).folder
    path = base / "unet" / "config.json" if base else None
    if base is None or path is None or not path.is_file():
        return None
    width = json.loads(path.read_bytes()).get("cross_attention_dim")
    version = {768: "sd_v1", 1024: "sd_v2"}.get(width)
    scheduler = base / "scheduler" / "scheduler_config.json"
    predicts = json.loads(scheduler.read_bytes()).get("prediction_type") if scheduler.is_file() else None
    return f"{version}_v" if version and predicts == "v_prediction" else version


# --- what all forms share ---------------------------------------------------------------------------------


def _check(config: ExportConfig, run: Json, methods: tuple[str, ...]) -> None:
    """Refuse a run that has not what the form needs, or whose files are not those that its manifest lists."""
    method = run["config"].get("method")
    if method is None:
        raise UsageError(f"{config.folder} was itself exported; export the run that it came from.")
    if method not in methods:
        raise UsageError(
            f"{config.folder} is a run of --method {method}; --to {config.to} takes one of --method "
            f"{' or '.join(methods)}."
        )
    if problems := verify(config.folder):
        raise SynthCXRError(f"{config.folder} is not what its manifest says: {problems[0]} Nothing was exported.")


def _adapter_of(config: ExportConfig, run: Json) -> Path:
    _check(config, run, ("lora",))
    return config.folder / "adapter" / ADAPTER_FILE


def _base(run: Json) -> Json:
    """Name, licence and hash of the model that a run started from; a folder by its name, never by its place."""
    entry: Json = run["inputs"]["base"]
    name = entry.get("name") or Path(entry["path"]).name
    licence = REGISTRY[name].licence if name in REGISTRY else "not known here; ask where you had it from"
    return {"name": name, "licence": licence, "sha256": entry.get("model_sha256")}


def _family(run: Json) -> Family:
    """The family of the model that a run trained; runs that do not say were all of the first."""
    name = run.get("model", {}).get("family", FAMILIES[0].name)
    found = next((family for family in FAMILIES if family.name == name), None)
    if found is None:
        raise SynthCXRError(f"The run is of a model of {name}, which this version of synthcxr does not know.")
    return found


def _call(run: Json) -> str:
    return _family(run).call.format(side=run.get("model", {}).get("image_size"))


def _load_base(run: Json, folder: str, file: str) -> str:
    name, imports, about = _base(run)["name"], "", "the base with the SHA-256 below"
    base = repr(name).replace("'", '"')
    if name == "bundled":
        base, imports = "BUNDLED", "from synthcxr.models.registry import BUNDLED\n"
    elif name in REGISTRY:
        first, *mirrors = REGISTRY[name].sources
        base, about = f'"{first}"', " or ".join([about, *mirrors])
    return LOAD_BASE.format(imports=imports, base=base, about=about, folder=folder, file=file, call=_call(run))


def _finish(config: ExportConfig, output: Output, run: Json, about: str, usage: str) -> None:
    """Write the card and the manifest: a run whose input is the run that was exported."""
    card = write_card(config.folder.resolve().name, about, run, _base(run), usage)
    write_bytes(output.folder / "README.md", card.encode())
    inputs: dict[str, Any] = {"run": describe_input(config.folder, output.folder)}
    if config.to != "merged":  # the base is still needed: named as the run names it, seen from here
        base = dict(run["inputs"]["base"])
        if "path" in base:
            place = (config.folder / base["path"]).resolve()
            base |= {"path": describe_input(place, output.folder)["path"]}
        inputs["base"] = base
    output.finish(inputs=inputs, counts=run["counts"], environment=describe(), notes=run.get("notes", []))
