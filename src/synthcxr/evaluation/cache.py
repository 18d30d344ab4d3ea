"""Features of many images: read ahead in threads, worked out in batches, and kept by what the image's bytes are."""

import hashlib
import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from synthcxr.devices import worker_count
from synthcxr.evaluation.extractors.base import Extractor, Vectors
from synthcxr.imagefolder import Row
from synthcxr.images import UnreadableImageError, central_square
from synthcxr.progress import say

VERSION = 1
"""Goes up when what lies between an image's bytes and its vector changes beside the extractor (reading, squaring)."""


@dataclass(frozen=True)
class Extraction:
    """Vectors (N, D) of the images that could be read, in the order of their rows.

    `kept` are the rows' places, `sizes` the (height, width) that occur, `rejected` the places of rows that could not
    be read, with the reason.
    """

    vectors: Vectors
    kept: tuple[int, ...]
    sizes: frozenset[tuple[int, int]]
    rejected: tuple[tuple[int, str], ...]


def extract_rows(
    rows: Sequence[Row],
    extractor: Extractor,
    *,
    batch_size: int = 32,
    device: str = "auto",
    folder: Path | None = None,
) -> Extraction:
    """Vectors of the images of rows, each made square by its central part.

    An image that is in the cache (by default that of the user, else in `folder`) is not decoded; equal images are
    worked out once. At most a few batches of images are in memory.
    """
    digests: dict[int, bytes] = {}
    sizes: dict[bytes, tuple[int, int]] = {}
    rejected: list[tuple[int, str]] = []
    vectors: dict[bytes, Vectors] = {}
    waiting: dict[bytes, npt.NDArray[np.float32]] = {}
    with closing(_Store(extractor, folder or cache_folder())) as store:

        def work_out() -> None:
            made = dict(zip(waiting, extractor.embed(np.stack(list(waiting.values())), device), strict=True))
            store.keep({digest: (vector, sizes[digest]) for digest, vector in made.items()})
            vectors.update(made)
            waiting.clear()

        for place, (digest, item, size) in enumerate(_look_up(rows, extractor, store)):
            if isinstance(item, str):
                rejected.append((place, item))
                continue
            digests[place], sizes[digest] = digest, size
            if item.ndim == 1:
                vectors[digest] = item
            elif digest not in vectors:
                waiting[digest] = item
            if len(waiting) == batch_size:
                work_out()
        if waiting:
            work_out()
    empty = np.zeros((0, extractor.dimension), np.float32)
    stacked = np.stack([vectors[digest] for digest in digests.values()]) if digests else empty
    return Extraction(stacked, tuple(digests), frozenset(sizes.values()), tuple(rejected))


def cache_folder() -> Path:
    """Where features are kept: ``~/.cache/synthcxr/features``, or under ``XDG_CACHE_HOME``. It may be removed."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthcxr" / "features"


Looked = tuple[bytes, "npt.NDArray[np.float32] | str", tuple[int, int]]
"""Of a row: its image's SHA-256; its vector (D,), its prepared image (…), or why it cannot be read; (height, width)."""


def _look_up(rows: Sequence[Row], extractor: Extractor, store: "_Store") -> Iterator[Looked]:
    """What is known of every row or else its image, prepared, in order; a few are read ahead in threads."""

    def look(row: Row) -> Looked:
        try:
            digest = hashlib.sha256(row.read_bytes()).digest()
            held = store.get(digest)
            if held is not None:
                return digest, *held
            image = row.read()
        except (UnreadableImageError, OSError) as error:
            return b"", str(error), (0, 0)
        return digest, extractor.prepare(central_square(image)), (image.shape[0], image.shape[1])

    threads = worker_count(0)
    pending, ahead = iter(rows), deque[Future[Looked]]()
    with ThreadPoolExecutor(threads) as pool:
        while True:
            ahead.extend(pool.submit(look, row) for row in islice(pending, 16 * threads - len(ahead)))
            if not ahead:
                return
            yield ahead.popleft().result()


class _Store:
    """Vectors of one extractor in one SQLite file; where it cannot be written, nothing is kept, and that is said."""

    def __init__(self, extractor: Extractor, folder: Path) -> None:
        self.dimension = extractor.dimension
        self.path = folder / f"{extractor.name}-{extractor.fingerprint[:16]}-v{VERSION}.sqlite"
        self.lock = Lock()
        self.file: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self.file.execute("PRAGMA journal_mode=WAL")
            self.file.execute(
                "CREATE TABLE IF NOT EXISTS vectors (sha256 BLOB PRIMARY KEY, height INT, width INT, vector BLOB)"
            )
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, digest: bytes) -> tuple[Vectors, tuple[int, int]] | None:
        """The vector of an image and its (height, width), or None where it is not here."""
        if self.file is None:
            return None
        try:
            with self.lock:
                query = "SELECT vector, height, width FROM vectors WHERE sha256 = ?"
                row = self.file.execute(query, (digest,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        if row is None or len(row[0]) != 4 * self.dimension:
            return None
        return np.frombuffer(row[0], np.float32), (row[1], row[2])

    def keep(self, made: dict[bytes, tuple[Vectors, tuple[int, int]]]) -> None:
        """Keep vectors by their image's SHA-256."""
        if self.file is None:
            return
        rows = [(digest, *size, vector.tobytes()) for digest, (vector, size) in made.items()]
        try:
            with self.lock, self.file:
                self.file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()

    def _give_up(self, error: Exception) -> None:
        say(f"Features are not kept, {self.path} cannot be used: {error}.")
        file, self.file = self.file, None
        if file is not None:
            file.close()
