"""What a stage at work has done so far, a line a record in their order, so that a killed run goes on where it was."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from synthcxr.data.records import Record
from synthcxr.store import Json


def record_key(root: Path, record: Record) -> str:
    """By what a result is known to be of this record still: the record itself, its files' sizes and times."""
    files = [root / name for name in (record.name, record.report_file) if name]
    told = repr((record, [_stamp(path) for path in files]))
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


class Journal:
    """Lines of JSON under `path`, each with the ``key`` of the record whose result it is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self, keys: Iterable[str], intact: Callable[[Json], bool]) -> int:
        """How many records are done: the lines whose keys are the first of `keys` and whose files are `intact`.

        What follows them is cut off: a line torn by the kill, or records that have changed since.
        """
        if not self.path.exists():
            return 0
        done, end = 0, 0
        with self.path.open("rb") as file:
            for line, key in zip(file, keys, strict=False):
                entry = _parse(line)
                if entry is None or entry.get("key") != key or not intact(entry):
                    break
                done, end = done + 1, end + len(line)
        with self.path.open("rb+") as file:
            file.truncate(end)
        return done

    def append(self, entries: Iterable[Json]) -> None:
        """Write lines as they come, each at once: a kill loses at most the one that is being written."""
        with self.path.open("ab") as file:
            for entry in entries:
                file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                file.flush()

    def __iter__(self) -> Iterator[Json]:
        """Every line, one at a time."""
        with self.path.open("rb") as file:
            for line in file:
                yield json.loads(line)


def _parse(line: bytes) -> Json | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and line.endswith(b"\n") else None
