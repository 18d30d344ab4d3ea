"""Jobs through real workers: what is killed, cancelled or left alone loses nothing."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synthcxr import PrepareConfig, prepare
from synthcxr.app.jobs import MOST_DEATHS, Job, Jobs, State
from synthcxr.app.worker import work
from synthcxr.errors import UsageError
from synthcxr.store import read_manifest, verify
from tests.conftest import plain_config, write_source
from tests.test_cli import call

PATIENCE_SECONDS = 120


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    made = Jobs(tmp_path / ".app" / "jobs.sqlite3")
    made.beat("server")
    return made


@pytest.fixture
def config(tmp_path: Path) -> PrepareConfig:
    source = write_source(tmp_path / "in", 400, 256)
    return plain_config(source, tmp_path / "out", resolution=128, workers=1)


@contextmanager
def worker(jobs: Jobs, lane: str = "work") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "synthcxr.app.worker", str(jobs.file.parents[1]), lane]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(jobs: Jobs, job: str, ready: Callable[[Job], object]) -> Job:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready(found := jobs.get(job)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def images(folder: Path) -> dict[str, object]:
    """The hashes of a folder's images; its page names the folder."""
    return {name: entry for name, entry in read_manifest(folder)["files"].items() if name.endswith(".png")}


def state(wanted: State) -> Callable[[Job], bool]:
    return lambda job: job.state == wanted


def halfway(job: Job) -> bool:
    return job.state == "running" and 3 <= job.done < job.total


def test_a_job_is_the_command_that_does_the_same(jobs: Jobs, tmp_path: Path) -> None:
    small = plain_config(write_source(tmp_path / "few", 6), tmp_path / "out")
    job = jobs.add("prepare", small)
    assert job.state == "waiting" and job.command.startswith("synthcxr prepare ")
    with worker(jobs):
        done = wait(jobs, job.id, state("done"))
    assert done.done == done.total == 6 and done.started and done.ended
    again = plain_config(small.source_path, tmp_path / "again")
    words = [word.replace(str(small.out), str(tmp_path / "elsewhere")) for word in shlex.split(job.command)[1:]]
    assert call(*words).returncode == 0
    prepare(again)
    one, two, three = (images(tmp_path / name) for name in ("out", "again", "elsewhere"))
    assert one == two == three
    said = jobs.lines(job.id)
    assert any("6 images" in text for _, _, text in said)
    assert jobs.lines(job.id, after=said[-1][0]) == []


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(jobs: Jobs, config: PrepareConfig) -> None:
    job = jobs.add("prepare", config)
    with worker(jobs) as process:
        wait(jobs, job.id, halfway)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert jobs.get(job.id).state == "running"  # nobody was left to say otherwise
    with worker(jobs):
        done = wait(jobs, job.id, state("done"))
    assert done.deaths == 1
    assert verify(config.out) == [] and read_manifest(config.out)["counts"]["images"] == 400


@pytest.mark.slow
def test_a_cancelled_job_goes_on_where_it_was(jobs: Jobs, config: PrepareConfig) -> None:
    job = jobs.add("prepare", config)
    with worker(jobs) as process:
        reached = wait(jobs, job.id, halfway).done
        jobs.cancel(job.id)
        cancelled = wait(jobs, job.id, state("cancelled"))
        assert reached <= cancelled.done < cancelled.total and "goes on from there" in cancelled.message
        jobs.retry(job.id)
        first = wait(jobs, job.id, lambda job: job.total)
        assert first.done >= reached, "it began anew"
        wait(jobs, job.id, state("done"))
        assert process.poll() is None, "the worker did not live on"
    assert verify(config.out) == []


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_puts_its_job_back(jobs: Jobs, config: PrepareConfig) -> None:
    job = jobs.add("prepare", config)
    with worker(jobs) as process:
        wait(jobs, job.id, halfway)
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    back = jobs.get(job.id)
    assert back.state == "waiting" and back.deaths == 0


def test_a_lane_has_one_worker(jobs: Jobs) -> None:
    with worker(jobs):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not jobs.last_beat("work") and time.monotonic() < deadline:
            time.sleep(0.02)
        with worker(jobs) as second:
            assert second.wait(PATIENCE_SECONDS) == 0


def test_a_worker_without_a_server_ends(jobs: Jobs, tmp_path: Path) -> None:
    time.sleep(0.05)
    work(tmp_path, "draw", lonely_seconds=0.01)


def test_failures_are_sentences(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("prepare", PrepareConfig(source_path=tmp_path / "nowhere", out=tmp_path / "out"))
    jobs.beat("server")
    work(tmp_path, "work", lonely_seconds=0.0)
    failed = jobs.get(job.id)
    assert failed.state == "failed" and "nowhere" in failed.message and "Traceback" not in failed.message


def test_a_job_that_kills_its_workers_is_given_up(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.add("prepare", PrepareConfig(source_path=tmp_path, out=tmp_path / "out"))
    for _ in range(MOST_DEATHS):
        assert jobs.claim("work") is not None
    assert jobs.claim("work") is None
    given_up = jobs.get(job.id)
    assert given_up.state == "failed" and given_up.deaths == MOST_DEATHS and "memory" in given_up.message
    jobs.retry(job.id)
    assert jobs.get(job.id).deaths == 0


def test_lanes_and_their_order(jobs: Jobs, tmp_path: Path) -> None:
    from synthcxr import GenerateConfig

    configs = [PrepareConfig(source_path=tmp_path, out=tmp_path / str(number)) for number in range(3)]
    added = [jobs.add("prepare", config).id for config in configs]
    drawing = jobs.add("generate", GenerateConfig(prompt="x", out=tmp_path / "set")).id
    taken = jobs.claim("draw")
    assert taken is not None and taken.id == drawing
    jobs.cancel(added[0])
    assert jobs.get(added[0]).state == "cancelled"
    taken = jobs.claim("work")
    assert taken is not None and taken.id == added[1]
    jobs.end(taken.id, "done")
    assert [job.id for job in jobs.all()] == [drawing, *reversed(added)]
    with pytest.raises(UsageError, match="already running"):
        jobs.add("generate", GenerateConfig(prompt="y", out=tmp_path / "set"))
    jobs.forget(drawing)
    assert len(jobs.all()) == 4, "a running job was forgotten"
    jobs.forget(taken.id)
    with pytest.raises(UsageError, match="no such job"):
        jobs.get(taken.id)
