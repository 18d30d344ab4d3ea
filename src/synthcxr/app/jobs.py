"""Long work that outlives pages, servers and workers: a table of jobs in SQLite.

A job is a stage with its config. Because every stage goes on where it was stopped, a job whose worker died is simply
run again. One worker process at a time serves a lane, so that a long training does not hold up a preview.
"""

import json
import shlex
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from synthcxr.config import StageConfig
from synthcxr.errors import UsageError
from synthcxr.stages import STAGES

State = Literal["waiting", "running", "done", "failed", "cancelled"]
Lane = Literal["work", "draw"]
LANES: tuple[Lane, ...] = ("work", "draw")
DRAWS = ("generate", "edit")
"""Verbs of the lane `draw`, whose worker keeps its models loaded; all others are long and go to `work`."""
MOST_DEATHS = 3
"""A job is given up once so many workers have died of it: one that fills the memory would else come back for ever."""
LOG_LINES = 2000

_TABLE = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, verb TEXT NOT NULL, config TEXT NOT NULL, lane TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, started REAL, ended REAL, deaths INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '',
    doing TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_state ON job (lane, state, created);
CREATE TABLE IF NOT EXISTS line (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, time REAL NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_job ON line (job, number);
CREATE TABLE IF NOT EXISTS sign (name TEXT PRIMARY KEY, time REAL NOT NULL);
"""


@dataclass(frozen=True)
class Job:
    """A stage that is to be run, is running, or was run; times are seconds since 1970."""

    id: str
    verb: str
    config: StageConfig
    lane: Lane
    state: State
    created: float
    started: float | None
    ended: float | None
    deaths: int
    cancel: bool
    message: str
    doing: str
    done: int
    total: int

    @property
    def command(self) -> str:
        """The command line that does the same."""
        return f"synthcxr {self.verb} {shlex.join(self.config.as_arguments())}"

    @property
    def out(self) -> Path | None:
        """The folder that it writes, if it writes one."""
        out: Path | None = getattr(self.config, "out", None)
        return out

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ("done", "failed", "cancelled")

    def seconds_left(self, now: float) -> float | None:
        """A guess by the rate so far, where there is one."""
        if self.state != "running" or not self.started or not 0 < self.done <= self.total:
            return None
        return (now - self.started) / self.done * (self.total - self.done)


class Jobs:
    """The jobs of a workspace. Every call opens the file anew, so that threads and processes may share it."""

    def __init__(self, file: Path) -> None:
        """Open or make the table."""
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_TABLE)

    # --- for the server ---

    def add(self, verb: str, config: StageConfig) -> Job:
        """Put a job in its lane's queue. Raises UsageError where one that is not over writes the same folder."""
        job = uuid.uuid4().hex
        lane = "draw" if verb in DRAWS else "work"
        row = (job, verb, json.dumps(config.model_dump(mode="json")), lane, "waiting", time.time())
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            out = getattr(config, "out", None)
            for other in self._select(connection, "state IN ('waiting', 'running')"):
                if out is not None and other.out == out:
                    raise UsageError(f"A job that writes {out.name} is already {other.state}.")
            connection.execute(
                "INSERT INTO job (id, verb, config, lane, state, created) VALUES (?, ?, ?, ?, ?, ?)", row
            )
        return self.get(job)

    def get(self, job: str) -> Job:
        """One job. Raises UsageError where there is none of this name."""
        with self._open() as connection:
            found = self._select(connection, "id = ?", job)
        if not found:
            raise UsageError("There is no such job.")
        return found[0]

    def all(self, limit: int = 200) -> list[Job]:
        """The newest jobs, newest first."""
        with self._open() as connection:
            return self._select(connection, f"1 ORDER BY created DESC LIMIT {int(limit)}")

    def cancel(self, job: str) -> None:
        """Take a waiting job out of the queue, or ask the worker of a running one to stop; what was done is kept."""
        with self._open() as connection:
            connection.execute("UPDATE job SET cancel = 1 WHERE id = ? AND state = 'running'", (job,))
            connection.execute(
                "UPDATE job SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'waiting'", (time.time(), job)
            )

    def retry(self, job: str) -> None:
        """Queue a job again that failed or was cancelled; it goes on where it was."""
        with self._open() as connection:
            connection.execute(
                "UPDATE job SET state = 'waiting', cancel = 0, deaths = 0, message = '', ended = NULL "
                "WHERE id = ? AND state IN ('failed', 'cancelled')",
                (job,),
            )

    def forget(self, job: str) -> None:
        """Take a job that is over off the list; the folder it wrote stays."""
        with self._open() as connection:
            over = "state IN ('done', 'failed', 'cancelled')"
            connection.execute(f"DELETE FROM line WHERE job IN (SELECT id FROM job WHERE id = ? AND {over})", (job,))
            connection.execute(f"DELETE FROM job WHERE id = ? AND {over}", (job,))

    def lines(self, job: str, after: int = 0) -> list[tuple[int, float, str]]:
        """What a job said: number, time and text of each line after a number."""
        with self._open() as connection:
            query = "SELECT number, time, text FROM line WHERE job = ? AND number > ? ORDER BY number LIMIT ?"
            return list(connection.execute(query, (job, after, LOG_LINES)))

    # --- for the workers ---

    def claim(self, lane: Lane) -> Job | None:
        """The next job of a lane, which is running from now on; None where there is none.

        Whoever calls this is the lane's only worker: a job that runs already is one whose worker died.
        """
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for job in self._select(connection, "lane = ? AND state = 'running'", lane):
                self._bury(connection, job)
            waiting = self._select(connection, "lane = ? AND state = 'waiting' ORDER BY created LIMIT 1", lane)
            if not waiting:
                return None
            connection.execute(
                "UPDATE job SET state = 'running', started = ?, done = 0, total = 0, doing = '' WHERE id = ?",
                (time.time(), waiting[0].id),
            )
        return self.get(waiting[0].id)

    def end(self, job: str, state: State, message: str = "") -> None:
        """Say how a running job ended; "waiting" puts it back, as when its worker is told to stop."""
        with self._open() as connection:
            connection.execute(
                "UPDATE job SET state = ?, message = ?, ended = ?, cancel = 0 WHERE id = ? AND state = 'running'",
                (state, message, None if state == "waiting" else time.time(), job),
            )

    def advance(self, job: str, doing: str, done: int, total: int) -> None:
        """Note how far a job is."""
        with self._open() as connection:
            connection.execute("UPDATE job SET doing = ?, done = ?, total = ? WHERE id = ?", (doing, done, total, job))

    def say(self, job: str, text: str) -> None:
        """Note a line of a job's log; of a very long one the oldest lines go."""
        with self._open() as connection:
            connection.execute("INSERT INTO line (job, time, text) VALUES (?, ?, ?)", (job, time.time(), text))
            connection.execute(
                "DELETE FROM line WHERE job = ? AND number <= "
                "(SELECT number FROM line WHERE job = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (job, job, LOG_LINES),
            )

    def wants_cancel(self, job: str) -> bool:
        """Whether somebody asked to stop a running job."""
        with self._open() as connection:
            row = connection.execute("SELECT cancel FROM job WHERE id = ?", (job,)).fetchone()
        return bool(row and row[0])

    # --- signs of life ---

    def beat(self, name: str) -> None:
        """Leave a sign of life: ``server``, or a lane's name."""
        with self._open() as connection:
            connection.execute("INSERT OR REPLACE INTO sign (name, time) VALUES (?, ?)", (name, time.time()))

    def last_beat(self, name: str) -> float:
        """When the last sign of life was left; 0 for never."""
        with self._open() as connection:
            row = connection.execute("SELECT time FROM sign WHERE name = ?", (name,)).fetchone()
        return float(row[0]) if row else 0.0

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=30, isolation_level=None)) as connection:
            try:
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @staticmethod
    def _select(connection: sqlite3.Connection, where: str, *values: Any) -> list[Job]:
        columns = ", ".join(field.name for field in fields(Job))
        return [_job(row) for row in connection.execute(f"SELECT {columns} FROM job WHERE {where}", values)]

    @staticmethod
    def _bury(connection: sqlite3.Connection, job: Job) -> None:
        """A job whose worker died goes back to the queue, is over if that was asked for, or is given up."""
        state: State = "cancelled" if job.cancel else "failed" if job.deaths + 1 >= MOST_DEATHS else "waiting"
        message = {
            "failed": f"Its worker process died {MOST_DEATHS} times, as happens when memory runs out. "
            "Choose a smaller batch, then try again.",
        }.get(state, "")
        connection.execute(
            "UPDATE job SET state = ?, deaths = deaths + 1, message = ?, ended = ?, cancel = 0 WHERE id = ?",
            (state, message, None if state == "waiting" else time.time(), job.id),
        )


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip((field.name for field in fields(Job)), row, strict=True))
    config = STAGES[values["verb"]].config.model_validate(json.loads(values["config"]))
    return Job(**values | {"config": config, "cancel": bool(values["cancel"])})
