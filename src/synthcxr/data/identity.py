"""Ids that say nothing: keyed hashes, the key that makes them, and the list that leads back, both outside the dataset.

Whoever has the key and a list of ids can tell which patient a pseudonym is. So the key is no part of any dataset, and
two datasets made with one key give a patient the same pseudonym, those of two keys never.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from synthcxr.errors import UsageError
from synthcxr.store import atomic_writer, settings_folder

KEY_BYTES = 32
PSEUDONYM_DIGITS = 20
"""Hexadecimal digits of a pseudonym: 80 bits, so that among 100 million ids two meet once in 240 million times."""


def key_file(path: Path | None) -> Path:
    """Where the key lies: as told, else ``~/.config/synthcxr/patient.key`` (or under ``XDG_CONFIG_HOME``)."""
    if path is not None:
        return path.expanduser()
    return settings_folder() / "patient.key"


def load_key(path: Path | None, out: Path) -> bytes:
    """The secret key, made where it is missing, readable by its owner alone.

    Raises UsageError where the key would lie in the dataset `out`, is no key, or can be read by everyone.
    """
    file = key_file(path)
    if file.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"--key {file} lies inside the dataset {out}, where everyone who gets it finds it. Move it.")
    try:
        _make_key(file)
        written = file.read_text(encoding="ascii").strip()
        key = bytes.fromhex(written)
        open_to_all = os.name == "posix" and file.stat().st_mode & 0o004
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is no line of hexadecimal digits"
        raise UsageError(f"The key {file} cannot be used: {what}. Give another --key, or correct it.") from error
    if len(key) < KEY_BYTES:
        raise UsageError(f"The key {file} has fewer than {2 * KEY_BYTES} hexadecimal digits. Give another --key.")
    if open_to_all:
        raise UsageError(f"The key {file} can be read by everyone on this machine. Run: chmod 600 {file}")
    return key


def _make_key(file: Path) -> None:
    """Write a new key where there is none; of two processes that come at once, one writes and both read the same."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
        os.link(fresh, file)  # unlike a rename, it never replaces a key that came in between
    except FileExistsError:
        pass
    finally:
        fresh.unlink(missing_ok=True)


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """The keyed hash of an id: 20 hexadecimal digits of HMAC-SHA256 (RFC 2104) over kind, a zero byte, and the id."""
    message = f"{kind}\0{value}".encode("utf-8", "surrogateescape")
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


def fingerprint(key: bytes) -> str:
    """Eight digits by which one key can be told from another, so that a dataset goes on with the key it began with."""
    return pseudonym(key, "fingerprint", "")[:8]


def links_file(path: Path | None, out: Path) -> Path:
    """The list that leads back from the pseudonyms of the dataset `out`: beside the key, named after the dataset."""
    place = hashlib.sha256(str(out.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return key_file(path).with_name(f"links-{out.resolve().name}-{place}.jsonl")


def write_links(path: Path | None, out: Path, links: Iterable[tuple[str, str, str]]) -> Path:
    """Write (kind, pseudonym, original) as JSON lines beside the key at `path`, readable by its owner alone.

    JSON lines, and no CSV, because a name that begins with ``=`` is a formula to a spreadsheet.
    """
    file = links_file(path, out)
    with atomic_writer(file) as stream:
        if hasattr(os, "fchmod"):
            os.fchmod(stream.fileno(), 0o600)
        for kind, hashed, original in links:
            row = {"kind": kind, "pseudonym": hashed, "original": original}
            stream.write((json.dumps(row) + "\n").encode("ascii"))
    return file
