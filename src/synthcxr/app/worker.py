"""A worker: the process that runs the jobs of one lane, one after the other, and keeps models loaded between them.

``python -m synthcxr.app.worker WORKSPACE LANE`` ends by itself once no server has given a sign of life for a while
and nothing waits. Killed, it loses nothing: the next worker takes the job up again.
"""

import _thread
import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

from synthcxr.app.jobs import Job, Jobs, Lane
from synthcxr.errors import SynthCXRError
from synthcxr.generation.drawing import held_models
from synthcxr.images import Grey, contact_sheet, encode_png
from synthcxr.progress import listening
from synthcxr.stages import STAGES
from synthcxr.store import write_bytes, write_json

GLANCE_SECONDS = 0.25
"""How often a worker looks for a new job, and whether its job was cancelled."""
SHOW_SECONDS, MOST_SHOWN = 0.6, 4
"""Images on their way are looked at no more often, and so many of them."""
PREVIEWS = "previews"
MACHINE = "machine.json"
NOTE_SECONDS = 0.3
"""Progress is noted no more often."""
BEAT_SECONDS = 2.0
"""A sign of life is left so often."""
LONELY_SECONDS = 60.0
"""A worker without a server ends after this time."""


class Teller:
    """Writes what a stage says and how far it is into the table of jobs."""

    def __init__(self, jobs: Jobs, job: str, preview: Path) -> None:
        """Tell of one job; `preview` is where images that are on their way can be seen."""
        self._jobs, self._job, self._preview = jobs, job, preview
        self._noted = self._shown = 0.0

    def said(self, message: str) -> None:
        """A line of the log."""
        self._jobs.say(self._job, message)

    def advanced(self, description: str, done: int, total: int) -> None:
        """Progress, noted now and then, and at the end."""
        if (now := time.monotonic()) - self._noted >= NOTE_SECONDS or done >= total:
            self._jobs.advance(self._job, description, done, total)
            self._noted = now

    def forming(self, draw: Callable[[], Grey]) -> None:
        """Images on their way, looked at now and then."""
        if (now := time.monotonic()) - self._shown < SHOW_SECONDS:
            return
        with suppress(FloatingPointError):
            images = draw()[:MOST_SHOWN]
            write_bytes(self._preview, encode_png(contact_sheet(list(images), MOST_SHOWN, gap=2), compress_level=1))
        self._shown = now


class Watch:
    """A thread that interrupts the main one when its job is cancelled, or the worker is to end."""

    def __init__(self, jobs: Jobs) -> None:
        """Begin to watch."""
        self.ending = threading.Event()
        self._jobs, self._lock, self._job = jobs, threading.Lock(), ""
        threading.Thread(target=self._look, daemon=True).start()

    @contextmanager
    def over(self, job: str) -> Iterator[None]:
        """Watch over a job; an interruption that comes too late is swallowed."""
        try:
            with self._lock:
                self._job = job
            yield
        finally:
            with self._lock:
                self._job = ""

    def _look(self) -> None:
        while True:
            time.sleep(GLANCE_SECONDS)
            with self._lock:
                if self._job and (self.ending.is_set() or self._jobs.wants_cancel(self._job)):
                    self._job = ""  # once is enough
                    _thread.interrupt_main()


def work(workspace: Path, lane: Lane, lonely_seconds: float = LONELY_SECONDS) -> None:
    """Run a lane's jobs until the worker is told to end, or is of no use to anybody."""
    folder = workspace / ".app"
    with (folder / f"{lane}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # the lane has its worker
        jobs = Jobs(folder / "jobs.sqlite3")
        watch = Watch(jobs)
        signal.signal(signal.SIGTERM, lambda *_: watch.ending.set())
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what interrupt_main needs
        with _heart(jobs, lane):
            if lane == "draw":
                _warm_up(folder)
            while not watch.ending.is_set():
                removed = jobs.last_beat("removed")
                with held_models():
                    while not watch.ending.is_set() and jobs.last_beat("removed") == removed:
                        if job := jobs.claim(lane):
                            _run(jobs, job, watch, folder / PREVIEWS)
                        elif time.time() - jobs.last_beat("server") > lonely_seconds:
                            return
                        else:
                            watch.ending.wait(GLANCE_SECONDS)


def _run(jobs: Jobs, job: Job, watch: Watch, previews: Path) -> None:
    """Run one job and note how it ended."""
    try:
        with watch.over(job.id), listening(Teller(jobs, job.id, previews / f"{job.id}.png")):
            STAGES[job.verb].run(job.config)
        jobs.end(job.id, "done")
    except KeyboardInterrupt:
        if watch.ending.is_set():
            jobs.end(job.id, "waiting")
        else:
            jobs.end(job.id, "cancelled", "Stopped. What was done is kept; “try again” goes on from there.")
    except SynthCXRError as error:
        jobs.end(job.id, "failed", str(error))
    except OSError as error:
        jobs.end(job.id, "failed", f"{error.filename or 'A file'}: {error.strerror or error}. What was done is kept.")
    except Exception as error:  # the worker must live on, whatever a stage does
        for line in traceback.format_exc().splitlines():
            jobs.say(job.id, line)
        jobs.end(job.id, "failed", f"{type(error).__name__}: {error}. This should not happen; the log has the details.")


def _warm_up(folder: Path) -> None:
    """Load what drawing needs before somebody waits for it, and note what this machine can do for the first page."""
    from synthcxr.doctor import examine

    write_json(folder / MACHINE, examine())


@contextmanager
def _heart(jobs: Jobs, lane: Lane) -> Iterator[None]:
    """Leave a sign of life now and then, in a thread, as a job may keep the main one busy for hours."""
    over = threading.Event()

    def beat() -> None:
        jobs.beat(lane)
        while not over.wait(BEAT_SECONDS):
            jobs.beat(lane)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main(arguments: list[str], end: Callable[[int], None] = os._exit) -> None:
    """Serve the lane that the command line names."""
    workspace, lane = arguments
    if lane not in get_args(Lane):
        raise SystemExit(f"There is no lane {lane!r}.")
    work(Path(workspace), lane)  # type: ignore[arg-type]  # checked above
    end(0)  # libraries' threads shall not hold it up


if __name__ == "__main__":
    main(sys.argv[1:])
