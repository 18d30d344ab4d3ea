"""What happened to a study after its freeze, in order: amendments, and looks at results before the end.

The log is a chain: each entry holds the SHA-256 of the line before it, the first one that of the key, so an entry that
was changed, moved or taken out is found. The last one can be cut off without a trace in the log itself: keep the
SHA-256 that `study amend` prints.
"""

from datetime import UTC, datetime
from pathlib import Path

from synthcxr.config import StudyAmendConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.progress import say
from synthcxr.store import (
    LOCK_NAME,
    Json,
    canonical_json,
    read_jsonl,
    read_manifest,
    sha256_bytes,
    sha256_file,
    write_jsonl,
)

AMENDMENTS = "key/amendments.jsonl"
UNBLINDED = "unblinded"
"""What the log says of a look at results before all readers were done."""
PATIENCE = 20
"""Seconds to wait for another process that writes the study."""


def amend(config: StudyAmendConfig) -> Path:
    """Log an amendment of a study that is as it was frozen; the frozen protocol itself stays. Returns the folder.

    Raises UsageError where there is no study or a word is missing, SynthCXRError where the study was changed.
    """
    from synthcxr.study.folder import load

    load(config.study)
    digest = log_amendment(config.study, config.what, config.why, config.by)
    say(f"Logged. The log's SHA-256 is now {digest}: keep it elsewhere, it shows whether the log was shortened.")
    return config.study


def log_amendment(folder: Path, what: str, why: str, by: str = "") -> str:
    """Add an entry to a study's log, whole or not at all; returns the SHA-256 of its line, the log's newest link.

    Raises UsageError without words or while another process writes the study, SynthCXRError where the chain is broken.
    """
    from filelock import FileLock, Timeout

    if not (what.strip() and why.strip()):
        raise UsageError("An entry of a study's log says what and why: neither may be empty.")
    protocol = folder / "key/protocol.json"
    try:
        with FileLock(folder / LOCK_NAME, timeout=PATIENCE):
            entries = read_amendments(folder)
            entry: Json = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "what": what.strip(),
                "why": why.strip(),
                "by": by.strip(),
                "protocol_sha256": sha256_file(protocol) if protocol.is_file() else None,
                "previous": _link(folder, entries),
            }
            write_jsonl(folder / AMENDMENTS, [*entries, entry])
            (folder / LOCK_NAME).unlink(missing_ok=True)
            return _link(folder, [entry])
    except Timeout:
        raise UsageError(f"{folder} is being written by another process. Wait for it and try again.") from None


def read_amendments(folder: Path) -> list[Json]:
    """The log, oldest first; empty where nothing was logged. Raises SynthCXRError where its chain is broken."""
    path = folder / AMENDMENTS
    entries = read_jsonl(path) if path.is_file() else []
    for number, entry in enumerate(entries):
        if entry.get("previous") != _link(folder, entries[:number]):
            raise SynthCXRError(
                f"{path}: entry {number + 1} does not follow from what stands before it. An entry was changed or "
                "taken out; restore the log."
            )
    return entries


def _link(folder: Path, entries: list[Json]) -> str:
    """What the next entry holds of the one before: SHA-256 of its JSON; the first entry holds the key's."""
    if entries:
        return sha256_bytes(canonical_json(entries[-1]))
    files: Json = read_manifest(folder, "study")["files"]
    key = files.get("key/truth.jsonl")
    return str(key["sha256"]) if key else sha256_bytes(b"")
