"""Layouts with random weights: a small one that the bundled model is trained from, tiny ones, and a full-size one."""

from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError
from synthcxr.models.families import family_of
from synthcxr.store import write_bytes

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
Layout = dict[str, dict[str, Any]]
"""The configs of a pipeline's parts."""
LAYOUTS: dict[str, Layout] = {
    "small": {"vae": VAE, "unet": UNET, "text": TEXT_ENCODER, "scheduler": SCHEDULER},
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
        "scheduler": SCHEDULER,
    },
    # What stabilityai/stable-diffusion-2-1-base publishes in its config.json files, to try a machine at full size.
    "sd21": {
        "vae": {
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": 768,
        },
        "unet": {
            "sample_size": 64,
            "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
            "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
            "block_out_channels": (320, 640, 1280, 1280),
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        "text": {
            "vocab_size": 49408,  # of CLIP; the tokenizer here uses the first of them only
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "projection_dim": 512,
            "hidden_act": "gelu",
        },
        "scheduler": {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
    },
    # Sana as small as the tiny Stable Diffusion: 64 px, latents of 8 × 8, every byte of a prompt a token.
    "tiny-sana": {
        "vae": {
            "latent_channels": 8,
            "attention_head_dim": 8,
            "encoder_block_types": ("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
            "decoder_block_types": ("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
            "encoder_block_out_channels": (8, 16, 16, 32),
            "decoder_block_out_channels": (8, 16, 16, 32),
            "encoder_layers_per_block": (1, 1, 1, 1),
            "decoder_layers_per_block": (1, 1, 1, 1),
            "encoder_qkv_multiscales": ((), (), (), (5,)),
            "decoder_qkv_multiscales": ((), (), (), (5,)),
            "scaling_factor": 0.41407,
        },
        "transformer": {
            "in_channels": 8,
            "out_channels": 8,
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "num_layers": 2,
            "num_cross_attention_heads": 2,
            "cross_attention_head_dim": 16,
            "cross_attention_dim": 32,
            "caption_channels": 32,
            "sample_size": 8,
        },
        "text": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
        },
        "scheduler": {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
    },
}


def build(name: str = "small", seed: int = 0) -> Any:
    """A pipeline of a layout with random weights; the same weights for the same seed."""
    if name not in LAYOUTS:
        raise UsageError(f"There is no layout {name!r}; there are {', '.join(f'layout:{known}' for known in LAYOUTS)}.")
    from synthcxr.models.quiet import quiet

    quiet()
    import torch

    layout = LAYOUTS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build_sana(layout) if "transformer" in layout else _build_stable_diffusion(layout)


def _build_stable_diffusion(layout: Layout) -> Any:
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
    return StableDiffusionPipeline(
        vae=AutoencoderKL(**layout["vae"]),
        unet=UNet2DConditionModel(**layout["unet"]),
        text_encoder=CLIPTextModel(CLIPTextConfig(**(ids | layout["text"]))),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(**layout["scheduler"]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _build_sana(layout: Layout) -> Any:
    from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    from synthcxr.models.tokenizer import build_byte_tokenizer

    tokenizer = build_byte_tokenizer()
    return SanaPipeline(
        vae=AutoencoderDC(**layout["vae"]),
        transformer=SanaTransformer2DModel(**layout["transformer"]),
        text_encoder=Gemma2Model(Gemma2Config(**layout["text"], vocab_size=len(tokenizer))),
        tokenizer=tokenizer,
        scheduler=DPMSolverMultistepScheduler(**layout["scheduler"]),
    )


def save(pipeline: Any, folder: Path, *, half: bool = True) -> None:
    """Save a pipeline as a diffusers folder that older and newer readers load alike.

    All weights go to float16 where `half` is set. The text encoder's config still says float32, to which both libraries
    then widen it: transformers goes by the config, diffusers widens what is its own, and a plain load would mix them.
    """
    import torch

    family = family_of(pipeline)
    halves = (family.network(pipeline), pipeline.vae, pipeline.text_encoder) if half else ()
    for module in halves:
        module.to(torch.float16)
    try:
        pipeline.save_pretrained(folder, safe_serialization=True)
    finally:
        for module in halves:
            module.to(torch.float32)
    config = folder / "text_encoder" / "config.json"
    write_bytes(config, config.read_bytes().replace(b'"float16"', b'"float32"'))
    for config in (folder / "model_index.json", *folder.glob("*/config.json")):
        forget_place(config)
    family.settle(folder)


def forget_place(config: Path) -> None:
    """Take out where a part was loaded from: a path of the machine, by which the same model would get other hashes."""
    import json

    held = json.loads(config.read_bytes())
    if held.pop("_name_or_path", None) is not None:
        write_bytes(config, (json.dumps(held, indent=2) + "\n").encode())


def settle_header(path: Path) -> None:
    """Put the metadata in a safetensors file's header into one order: the library writes it in any, so bytes differ."""
    import json

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
    write_bytes(path, len(text).to_bytes(8, "little") + text + data[8 + length :])
