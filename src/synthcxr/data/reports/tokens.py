"""How many tokens a prompt takes, by a model's own tokenizer, without loading the model or transformers."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from synthcxr.errors import SynthCXRError
from synthcxr.models import sources
from synthcxr.models.registry import resolve


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens, start and end included; `limit` is the most that the text encoder takes. Goes to workers whole."""

    folder: Path
    limit: int

    def __call__(self, text: str) -> int:
        """The number of tokens of a text, nothing cut off."""
        return len(_tokenizer(self.folder).encode(text).ids)


def token_counter(model: str = "bundled") -> TokenCounter:
    """The counter of a model reference's first tokenizer. Raises UsageError or SynthCXRError where there is none."""
    reference = resolve(model)
    model_folder = reference.folder or sources.fetch(reference.name, reference.sources, sources.SETTINGS)
    folder = model_folder / "tokenizer"
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SynthCXRError(f"The tokenizer in {folder} cannot be read: {error}") from error
    longest = settings.get("model_max_length")
    counter = TokenCounter(folder, int(longest) if longest and longest < 10_000 else 77)
    counter("chest")  # fails here, in the parent process, rather than in each worker
    return counter


@cache
def _tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder: ``tokenizer.json``, or the older ``vocab.json`` and ``merges.txt`` by transformers."""
    try:
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_truncation()
            tokenizer.no_padding()
            return tokenizer
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except Exception as error:  # both libraries raise bare exceptions of their own
        raise SynthCXRError(f"The tokenizer in {folder} cannot be loaded: {error}") from error
