"""Processes that are stopped or killed for real: plain words, nothing half-written, and the same result in the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthcxr.store import read_manifest, verify
from tests.conftest import write_source
from tests.test_cli import call

PATIENCE_SECONDS = 300
HEEDING_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in a shell's background would ignore it
from synthcxr.cli import main
main()
"""


def begin(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEEDING_CTRL_C, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_files(process: subprocess.Popen[str], folder: Path, pattern: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(list(folder.rglob(pattern))) < count:
        assert process.poll() is None, f"it ended too early: {process.communicate()}"
        assert time.monotonic() < deadline, "nothing was written"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_generation_goes_on_to_equal_bytes(tiny_model: Path, tmp_path: Path) -> None:
    def arguments(name: str) -> list[object]:
        return [
            "generate",
            "--model",
            tiny_model,
            "--prompt",
            "x",
            "--count",
            60,
            "--steps",
            6,
            "--batch-size",
            2,
            "--out",
            tmp_path / name,
        ]

    assert call(*arguments("whole")).returncode == 0
    for images in (3, 25):
        process = begin(*arguments("killed"))
        wait_for_files(process, tmp_path / "killed", "*.png", images)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert call(*arguments("killed")).returncode == 0
    assert read_manifest(tmp_path / "killed")["files"] == read_manifest(tmp_path / "whole")["files"]
    assert verify(tmp_path / "killed") == []


@pytest.mark.slow
def test_a_generation_that_is_told_to_end_says_so_and_goes_on(tiny_model: Path, tmp_path: Path) -> None:
    arguments = ["generate", "--model", tiny_model, "--prompt", "x", "--count", 40, "--steps", 20, "--batch-size", 2]
    process = begin(*arguments, "--out", tmp_path / "ended")
    wait_for_files(process, tmp_path / "ended", "[0-9]*.png", 3)
    process.terminate()  # SIGTERM, as a queue or a shutdown sends it
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in errors and "goes on from there" in errors
    assert call(*arguments, "--out", tmp_path / "ended").returncode == 0
    assert verify(tmp_path / "ended") == []
    assert read_manifest(tmp_path / "ended")["counts"]["images"] == 40


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_one_plain_line_and_the_same_call_goes_on(tmp_path: Path, workers: int) -> None:
    source = write_source(tmp_path / "in", 400, 256)
    plain = ["--ids", "keep", "--skip-checks", "all"]
    arguments = ["prepare", source, "--out", tmp_path / "out", "--workers", workers, *plain]
    process = begin(*arguments)
    wait_for_files(process, tmp_path / "out", "[0-9]*.png", 5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in errors and "goes on from there" in errors
    assert call(*arguments).returncode == 0
    assert verify(tmp_path / "out") == []
    assert read_manifest(tmp_path / "out")["counts"]["images"] == 400


def test_a_call_that_fails_at_once_leaves_no_folder(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = call("train", dataset, "--base", tiny_model, "--rank", 500, "--out", tmp_path / "run")
    assert done.returncode == 2 and "rank 500" in done.stderr
    assert not (tmp_path / "run").exists()
