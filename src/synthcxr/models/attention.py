"""Attention in float16 whose scores cannot overflow, on every device. Imports diffusers: import it inside functions.

Queries and keys of Stable Diffusion 2.1 are large enough that their products pass 65,504, the largest float16, and the
softmax then gives NaN; its `upcast_attention` is for that. diffusers heeds it in an implementation that is not the
default one, and not under autocast. The fused kernels of CUDA keep scores in float32 whatever the inputs are; those of
other devices need not.
"""

from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from torch.nn.functional import scaled_dot_product_attention


class SteadyAttention(AttnProcessor2_0):  # type: ignore[misc]
    """That of diffusers; where a transformer block computes in float16, queries, keys and values meet in float32."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend from (n, tokens, channels) to itself, or to `encoder_hidden_states`; the same shape comes out."""
        device = hidden_states.device.type
        working = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_states.dtype
        if working != torch.float16 or attention_mask is not None:  # nothing here is masked
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)  # type: ignore[no-any-return]
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (attn.to_q(hidden_states), attn.to_k(seen), attn.to_v(seen))
        heads = [each.float().unflatten(2, (attn.heads, -1)).transpose(1, 2) for each in projected]
        with torch.autocast(device, enabled=False):
            mixed = scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        out: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed.to(projected[0].dtype)))
        return out


def steady(network: Any, device: torch.device) -> None:
    """Let a network's transformer blocks attend so, unless the device's own kernels do."""
    if device.type == "cuda":
        return
    for block in (module for module in network.modules() if isinstance(module, BasicTransformerBlock)):
        for attention in (block.attn1, block.attn2):
            if attention is not None and type(attention.processor) is AttnProcessor2_0:
                attention.set_processor(SteadyAttention())
