"""Keeps a worker process alive for each lane while the server runs."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from synthcxr.app.jobs import LANES, Jobs, Lane

LOOK_SECONDS = 0.5
SHORTEST_LIFE_SECONDS = 5.0
"""A worker that lived shorter is started again only after this time."""
END_SECONDS = 20.0
"""A worker has so long to stop its job properly."""


class Supervisor:
    """Starts workers, starts them again when they die, and leaves the server's sign of life.

    A lane that has a worker already, as after a server was killed, keeps it: the new one sees that and ends.
    """

    def __init__(self, workspace: Path, jobs: Jobs) -> None:
        """Start the workers."""
        self._workspace, self._jobs = workspace, jobs
        self._workers: dict[Lane, subprocess.Popen[bytes]] = {}
        self._started: dict[Lane, float] = {}
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._stay, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell the workers to stop; what they were doing waits for the next start."""
        self._over.set()
        self._thread.join()
        for worker in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + END_SECONDS
        for worker in self._workers.values():
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()  # as safe as anything else: the next worker takes the job up
                worker.wait()

    def _stay(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        self._jobs.beat("server")
        for lane in LANES:
            worker = self._workers.get(lane)
            dead = worker is None or worker.poll() is not None
            if dead and time.monotonic() - self._started.get(lane, -1e9) >= SHORTEST_LIFE_SECONDS:
                self._workers[lane] = self._start(lane)
                self._started[lane] = time.monotonic()

    def _start(self, lane: Lane) -> subprocess.Popen[bytes]:
        log = self._workspace / ".app" / f"{lane}.log"
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "synthcxr.app.worker", str(self._workspace), lane],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C is the server's; it tells the workers itself
            )
