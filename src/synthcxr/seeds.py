"""Seeds from whatever names a random choice, the same on every machine."""

import hashlib


def seed_for(*parts: object) -> int:
    """A seed of 63 bits: the first bits of SHA-256 of the parts, joined by slashes."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def row_seed(set_seed: int, index: int, attempt: int = 0) -> int:
    """The seed of image `index` of a set at its `attempt`: no two rows or sets share one by accident.

    ``torch.Generator("cpu").manual_seed(row_seed(...))`` in plain diffusers draws the same noise.
    """
    return seed_for(set_seed, index, attempt)
