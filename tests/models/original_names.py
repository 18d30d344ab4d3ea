"""A Stable Diffusion pipeline's weights under the names of its publishers' single files (CompVis, Stability AI)."""

import re
from typing import Any

Tensors = dict[str, Any]

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj", "encoder.layers": "transformer.resblocks",
    "embeddings.token_embedding": "token_embedding", "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final",
}  # fmt: skip


def single_file(pipeline: Any, version: int) -> Tensors:
    """All weights of a pipeline; version 1 names the text encoder as transformers does, version 2 as OpenCLIP does."""
    unet, vae, text = (getattr(pipeline, part).state_dict() for part in ("unet", "vae", "text_encoder"))
    layers = pipeline.unet.config.layers_per_block
    held = {f"model.diffusion_model.{_unet(key, layers, unet)}": value for key, value in unet.items()}
    held |= {f"first_stage_model.{_vae(key, vae)}": _as_convolution(key, value) for key, value in vae.items()}
    text = {key.removeprefix("text_model."): value for key, value in text.items()}
    if version == 1:
        held |= {f"cond_stage_model.transformer.text_model.{key}": value for key, value in text.items()}
    else:
        held |= {f"cond_stage_model.model.{key}": value for key, value in _open_clip(text).items()}
    return {key: value.contiguous() for key, value in held.items()}


def _replace(key: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        key = key.replace(old, new)
    return key


def _unet(key: str, layers: int, all_keys: Tensors) -> str:
    if (part := re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", key)) is None:
        if (part := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key)) is not None:
            resnet = part[1] == "resnets"
            return (
                f"middle_block.{2 * int(part[2]) if resnet else 1}.{_replace(part[3], RESNET) if resnet else part[3]}"
            )
        return _replace(key, ENDS)
    side, level, kind, place, rest = part[1], int(part[2]), part[3], int(part[4]), part[5]
    first = level * (layers + 1) + (1 if side == "down" else 0)
    block = f"{'input' if side == 'down' else 'output'}_blocks"
    if kind == "resnets":
        return f"{block}.{first + place}.0.{_replace(rest, RESNET)}"
    if kind == "attentions":
        return f"{block}.{first + place}.1.{rest}"
    if kind == "downsamplers":
        return f"{block}.{first + layers}.0.op.{rest.removeprefix('conv.')}"
    attends = any(name.startswith(f"up_blocks.{level}.attentions") for name in all_keys)
    return f"{block}.{first + layers}.{2 if attends else 1}.{rest}"


def _vae(key: str, all_keys: Tensors) -> str:
    levels = 1 + max(int(found[1]) for name in all_keys if (found := re.match(r"decoder\.up_blocks\.(\d+)", name)))
    key = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", key)
    key = re.sub(r"down_blocks\.(\d+)", r"down.\1", key)
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", key)
    if "mid_block.attentions" in key:
        return _replace(key.replace("mid_block.attentions.0", "mid.attn_1"), ATTENTION)
    names = {"resnets": "block", "downsamplers.0": "downsample", "upsamplers.0": "upsample"}
    return _replace(key, {**names, "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out"})


def _as_convolution(key: str, value: Any) -> Any:
    return value[:, :, None, None] if "attentions" in key and value.dim() == 2 else value


def _open_clip(text: Tensors) -> Tensors:
    import torch

    held: Tensors = {}
    for key, value in text.items():
        if (part := re.match(r"(.*)self_attn\.q_proj\.(\w+)", key)) is not None:
            joined = torch.cat([text[key.replace("q_proj", name)] for name in ("q_proj", "k_proj", "v_proj")])
            held[f"{_replace(part[1], OPEN_CLIP)}attn.in_proj_{part[2]}"] = joined
        elif "k_proj" not in key and "v_proj" not in key:
            held[_replace(key, OPEN_CLIP)] = value
    return held
