"""A second loss of the text encoder: what it makes of a prompt must tell the words that it was given.

A text encoder that learns from few images forgets words whose sign in them is faint, such as a person's sex: two
prompts become one, and a denoiser cannot learn what it is not told.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synthcxr.seeds import seed_for

if TYPE_CHECKING:
    from torch import Tensor, nn

RAREST = 0.005
"""Words of a smaller share of the prompts are not asked for."""


class WordReader:
    """Reads from the mean of a prompt's embeddings which words it has.

    Each word has a direction of length 1 there, so that to be read it has to move the embeddings themselves.
    """

    def __init__(self, pipeline: Any, prompts: Sequence[str], seed: int) -> None:
        import torch

        self.tokenizer = pipeline.tokenizer
        counts = Counter(token for ids in self._tokens(prompts) for token in ids)
        often = range(max(1, round(RAREST * len(prompts))), len(prompts))
        self.places = {token: place for place, token in enumerate(sorted(t for t, n in counts.items() if n in often))}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "words"))
            encoder = pipeline.text_encoder
            self.directions: nn.Linear = torch.nn.Linear(encoder.config.hidden_size, len(self.places)).to(
                encoder.device
            )

    def _tokens(self, prompts: Sequence[str]) -> list[set[int]]:
        return [set(ids) for ids in self.tokenizer(list(prompts), truncation=True).input_ids]

    def loss(self, embeddings: "Tensor", prompts: Sequence[str]) -> "Tensor":
        """Mean cross-entropy of every word's presence, from embeddings (n, tokens, width)."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, linear, normalize

        wanted = torch.zeros(len(prompts), len(self.places), device=embeddings.device)
        for row, tokens in enumerate(self._tokens(prompts)):
            wanted[row, [self.places[token] for token in tokens if token in self.places]] = 1
        middle = embeddings.float().mean(dim=1)
        read = linear(middle, normalize(self.directions.weight.float()), self.directions.bias.float())
        return binary_cross_entropy_with_logits(read, wanted)
