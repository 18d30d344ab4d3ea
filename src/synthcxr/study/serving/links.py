"""One secret link a reader, and one for whoever runs the study. The study keeps their SHA-256 alone."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthcxr.store import read_json, sha256_bytes, write_json

LINKS = "key/links.json"
TOKEN_BYTES = 24
"""192 bits: not to be guessed."""


@dataclass(frozen=True)
class Tokens:
    """The secrets themselves, which are said once: the owner's, and each reader's."""

    owner: str
    readers: dict[str, str]


@dataclass(frozen=True)
class Links:
    """Whose link a token is, by its hash."""

    owner: str
    readers: dict[str, str]
    """SHA-256 to reader."""

    def reader(self, token: str) -> str | None:
        """The reader whose secret this is, or None."""
        return self.readers.get(sha256_bytes(token.encode()))

    def is_owner(self, token: str) -> bool:
        """Whether this is the owner's secret."""
        return sha256_bytes(token.encode()) == self.owner


def make_links(folder: Path, readers: Sequence[str]) -> Tokens:
    """Draw new secrets and write their hashes; links that were given out before open nothing any more."""
    tokens = Tokens(secrets.token_urlsafe(TOKEN_BYTES), {name: secrets.token_urlsafe(TOKEN_BYTES) for name in readers})
    hashes = {name: sha256_bytes(token.encode()) for name, token in tokens.readers.items()}
    write_json(folder / LINKS, {"owner": sha256_bytes(tokens.owner.encode()), "readers": hashes})
    return tokens


def read_links(folder: Path) -> Links | None:
    """The links of a study, or None where none were made yet."""
    if not (folder / LINKS).is_file():
        return None
    saved = read_json(folder / LINKS)
    return Links(saved["owner"], {digest: name for name, digest in saved["readers"].items()})
