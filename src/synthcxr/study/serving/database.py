"""Answers in SQLite: one row for a reader and a question, on the disk before `Database.record` returns.

The journal is a write-ahead log with ``synchronous=FULL``: a commit has been forced to the disk
(https://sqlite.org/pragma.html#pragma_synchronous), so that neither a killed process nor a lost supply takes an answer
that was acknowledged.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import Json
from synthcxr.study.answers import Answer
from synthcxr.study.protocol import Question

SERVED = "answers/served.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pens (reader TEXT PRIMARY KEY, session TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    reader TEXT NOT NULL, question TEXT NOT NULL, position INTEGER NOT NULL, nonce TEXT NOT NULL,
    kind TEXT NOT NULL, training INTEGER NOT NULL, image TEXT NOT NULL,
    answer TEXT NOT NULL, confidence INTEGER, ratings TEXT NOT NULL, comment TEXT NOT NULL,
    seconds REAL NOT NULL, at TEXT NOT NULL,
    UNIQUE (reader, question)
);
"""


@dataclass(frozen=True)
class Given:
    """What a reader's page sends for a question; `nonce` is drawn once an answer, so that a repeat is known as one."""

    nonce: str
    answer: str
    confidence: int | None
    seconds: float
    ratings: dict[str, int] = field(default_factory=dict)
    comment: str = ""


class ContradictionError(Exception):
    """Another answer to this question is there already."""


class Database:
    """The answers of one study, for the server. Any thread may call."""

    def __init__(self, path: Path, study: str, simulated: Json | None = None) -> None:
        """Open or make it. `study` is the study's fingerprint; `simulated` marks that no person answers here.

        Raises SynthCXRError where the answers belong to another study or are no database, UsageError where simulated
        and real answers would mix.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        new = not path.exists()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(SCHEMA)
            with self._transaction() as connection:
                mark = json.dumps(simulated, sort_keys=True)
                about = {"study": study, "simulated": mark}
                connection.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())
                found = dict(connection.execute("SELECT name, value FROM about"))
        except sqlite3.DatabaseError as error:
            raise SynthCXRError(f"{path} cannot be opened: {error}. Restore it from a copy.") from error
        if found["study"] != study:
            raise SynthCXRError(f"{path} holds answers to another study. Move it away, or restore the study.")
        if found["simulated"] != mark:
            raise UsageError(
                f"{path} holds {'real' if found['simulated'] == 'null' else 'simulated'} answers, and the two never "
                "mix. Take the study that this one was copied from, or a copy without answers."
            )
        if new:
            _force_folder(path.parent)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _rows(self, query: str, *values: str) -> list[tuple[str, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def answered(self, reader: str) -> set[str]:
        """The questions that a reader has answered."""
        return {row[0] for row in self._rows("SELECT question FROM answers WHERE reader = ?", reader)}

    def last(self, reader: str) -> str | None:
        """When a reader's last answer was stored (UTC, ISO), or None."""
        return self._rows("SELECT max(at) FROM answers WHERE reader = ?", reader)[0][0]

    def take_pen(self, reader: str, session: str) -> None:
        """From now on this session of the reader may answer, and no older one."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO pens VALUES (?, ?)", (reader, session))

    def holds_pen(self, reader: str, session: str) -> bool:
        """Whether this session is the reader's newest."""
        return self._rows("SELECT session FROM pens WHERE reader = ?", reader) == [(session,)]

    def stored(self, reader: str, question: str) -> Given | None:
        """The answer that is there already, or None."""
        query = "SELECT nonce, answer, confidence, seconds, ratings, comment FROM answers "
        with self._lock:
            row = self._connection.execute(query + "WHERE reader = ? AND question = ?", (reader, question)).fetchone()
        if row is None:
            return None
        nonce, answer, confidence, seconds, ratings, comment = row
        return Given(nonce, answer, confidence, seconds, json.loads(ratings), comment)

    def record(self, reader: str, question: Question, position: int, given: Given) -> None:
        """Store an answer for good. The same one again changes nothing; raises ContradictionError for another one."""
        row = {
            **{"reader": reader, "question": question.id, "position": position, "nonce": given.nonce},
            **{"kind": question.kind, "training": question.training, "image": question.images[0]},
            **{"answer": given.answer, "confidence": given.confidence, "comment": given.comment},
            **{"ratings": json.dumps(given.ratings, sort_keys=True), "seconds": given.seconds, "at": now()},
        }
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        try:
            with self._transaction() as connection:
                connection.execute(f"INSERT INTO answers ({names}) VALUES ({marks})", tuple(row.values()))
        except sqlite3.IntegrityError:
            if self.stored(reader, question.id) != given:
                raise ContradictionError from None

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._lock:
            self._connection.close()


def read_answers(path: Path, *, training: bool = False) -> tuple[Answer, ...]:
    """The answers that a server stored, in the order of their coming, while it runs or after; none where no file is.

    Answers to training questions are in no figure, and are left out unless asked for. Raises SynthCXRError where the
    file cannot be read.
    """
    columns = "number, reader, image, answer, confidence, seconds, question, kind, ratings, comment, at, position"
    rows = _read(path, f"SELECT {columns} FROM answers WHERE training <= ? ORDER BY number", int(training))
    return tuple(
        Answer(
            row=number,
            reader=reader,
            image=image,
            answer=answer,
            confidence=confidence,
            seconds=seconds,
            question=question,
            kind=kind,
            ratings=json.loads(ratings),
            comment=comment,
            at=at,
            position=position,
        )
        for number, reader, image, answer, confidence, seconds, question, kind, ratings, comment, at, position in rows
    )


def read_simulated(path: Path) -> Json | None:
    """How the answers were simulated (readers, accuracy, seed), or None where people gave them or none are there."""
    rows = _read(path, "SELECT value FROM about WHERE name = ?", "simulated")
    simulated: Json | None = json.loads(rows[0][0]) if rows else None
    return simulated


def _read(path: Path, query: str, value: str | int) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query, (value,)).fetchall()
    except sqlite3.DatabaseError as error:
        raise SynthCXRError(f"{path} cannot be read: {error}. Restore it from a copy.") from error


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _force_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk, so that a new file in it stays after a lost supply."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
