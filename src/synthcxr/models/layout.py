"""Stable Diffusion's layout, only small, with random weights: what the bundled model is trained from."""

from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError

IMAGE_SIZE = 256
TEXT_WIDTH = 128

VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": 24,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "sample_size": IMAGE_SIZE,
    "scaling_factor": 1.0,  # measured and set when the autoencoder has been trained
}
UNET: dict[str, Any] = {
    "sample_size": IMAGE_SIZE // 8,
    "in_channels": 24,
    "out_channels": 24,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (64, 128, 256),
    "layers_per_block": 1,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": (2, 4, 8),  # diffusers takes these as numbers of heads: 32 channels each
    "norm_num_groups": 16,
    "use_linear_projection": True,
}
TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 4 * TEXT_WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
    "projection_dim": TEXT_WIDTH,
    "hidden_act": "gelu",
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
}
LAYOUTS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {"vae": VAE, "unet": UNET, "text": TEXT_ENCODER},
    # A hundredth of the work, to try a recipe or test a machine: 64 px, and nothing that one could look at.
    "tiny": {
        "vae": VAE | {"block_out_channels": (8, 8, 32, 64), "norm_num_groups": 4, "sample_size": 64},
        "unet": UNET
        | {
            "sample_size": 8,
            "block_out_channels": (16, 32, 32),
            "attention_head_dim": (2, 2, 2),
            "norm_num_groups": 8,
            "cross_attention_dim": 32,
        },
        "text": TEXT_ENCODER
        | {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "projection_dim": 32},
    },
}


def build(name: str = "small", seed: int = 0) -> Any:
    """A `StableDiffusionPipeline` of a layout with random weights; the same weights for the same seed."""
    if name not in LAYOUTS:
        raise UsageError(f"There is no layout {name!r}; there are {', '.join(f'layout:{known}' for known in LAYOUTS)}.")
    layout = LAYOUTS[name]
    from synthcxr.models.quiet import quiet

    quiet()
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from synthcxr.models.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    ids = {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StableDiffusionPipeline(
            vae=AutoencoderKL(**layout["vae"]),
            unet=UNet2DConditionModel(**layout["unet"]),
            text_encoder=CLIPTextModel(CLIPTextConfig(**layout["text"], **ids)),
            tokenizer=tokenizer,
            scheduler=DDIMScheduler(**SCHEDULER),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def save(pipeline: Any, folder: Path, *, half: bool = True) -> None:
    """Save a pipeline as a diffusers folder that older and newer readers load alike.

    UNet and autoencoder go to float16 where `half` is set, the text encoder stays in float32 (transformers loads
    what it finds, diffusers widens: saved in half, a plain load would mix them). Text-encoder keys get the
    ``text_model.`` prefix, and ``vocab.json`` and ``merges.txt`` lie beside ``tokenizer.json``.
    """
    import torch

    halves = (pipeline.unet, pipeline.vae) if half else ()
    for module in halves:
        module.to(torch.float16)
    try:
        pipeline.save_pretrained(folder, safe_serialization=True)
    finally:
        for module in halves:
            module.to(torch.float32)
    _prefix_text_encoder(folder / "text_encoder" / "model.safetensors")
    _write_older_tokenizer(folder / "tokenizer")


def _prefix_text_encoder(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    prefixed = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in weights.items()}
    save_file(prefixed, path, metadata={"format": "pt"})


def _write_older_tokenizer(folder: Path) -> None:
    import json

    from synthcxr.store import write_bytes

    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    write_bytes(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False).encode())
    write_bytes(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]).encode())


def settle_header(path: Path) -> None:
    """Put the metadata in a safetensors file's header into one order: the library writes it in any, so bytes differ."""
    import json

    from synthcxr.store import write_bytes

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
    write_bytes(path, len(text).to_bytes(8, "little") + text + data[8 + length :])
