"""A prepare that is killed anywhere goes on to the same bytes; a file that kills its reader costs that file alone."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from synthcxr import prepare
from synthcxr.config import PrepareConfig
from synthcxr.data.convert import Converter
from synthcxr.data.records import Picture, Record, Source, read_picture
from synthcxr.data.shards import write_webdataset
from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import read_rows
from synthcxr.images import write_png
from synthcxr.store import Json, read_json, read_jsonl, read_manifest, verify
from synthcxr.workers import AHEAD, map_in_workers
from tests.conftest import made_up_xray, plain_config, write_source
from tests.test_cli import call
from tests.test_interruptions import begin, wait_for_files

PATIENCE_SECONDS = 120


@pytest.mark.slow
def test_a_killed_prepare_goes_on_to_equal_bytes(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 300, side=160)

    def arguments(place: str) -> list[object]:
        options = ["--workers", 2, "--skip-checks", "all", "--ids", "hash", "--key", tmp_path / "key"]
        return ["prepare", source, "--out", tmp_path / place / "dataset", *options]

    assert call(*arguments("whole")).returncode == 0
    out = tmp_path / "killed" / "dataset"
    for images in (10, 150):
        process = begin(*arguments("killed"))
        wait_for_files(process, out, "*.png", images)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "dataset.json").exists()
    assert call(*arguments("killed")).returncode == 0
    assert read_manifest(out)["files"] == read_manifest(tmp_path / "whole" / "dataset")["files"]
    assert verify(out) == []
    whole, killed = (sorted(tmp_path.glob("links-dataset-*.jsonl"))[i] for i in (0, 1))
    assert whole.read_bytes() == killed.read_bytes() and len(read_jsonl(whole)) == 300 + 150


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are looked up in /proc")
def test_workers_end_when_the_main_process_is_killed(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 300, side=160)
    process = begin(
        "prepare", source, "--out", tmp_path / "out", "--workers", 2, "--skip-checks", "all", "--ids", "keep"
    )
    wait_for_files(process, tmp_path / "out", "*.png", 1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(Path(f"/proc/{child}").is_dir() for child in children):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


# --- stopped at every step, in this process ---------------------------------------------------------------


class StoppedError(BaseException):
    """Stands for a kill: nothing in the code catches it."""


def fail_at(count: int, work: Callable[..., Any]) -> Callable[..., Any]:
    """`work`, but its call number `count` never comes to be."""
    calls = 0

    def wrapped(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            raise StoppedError
        return work(*given, **options)

    return wrapped


STEPS = [
    ("synthcxr.data.convert.write_bytes", 7),
    ("synthcxr.data.journal.json.dumps", 7),
    ("synthcxr.data.assemble.survey", 1),
    ("synthcxr.data.assemble.Path.replace", 9),
    ("synthcxr.data.assemble.write_rows", 2),
    ("synthcxr.data.assemble.remove_strays", 2),
    ("synthcxr.data.prepare.write_rejected", 1),
    ("synthcxr.data.prepare.write_dataset_report", 1),
    ("synthcxr.store.sha256_file", 12),
    ("synthcxr.store.seal", 1),
]


@pytest.mark.parametrize(("step", "count"), STEPS)
def test_it_goes_on_from_every_step(
    step: str, count: int, source: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    config = plain_config(source, tmp_path / "dataset", resolution=64)
    owner: Any = None
    parts = step.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:-1]:
            owner = getattr(owner, part)
        break
    with monkeypatch.context() as patch:
        work = getattr(owner, parts[-1])
        patch.setattr(owner, parts[-1], fail_at(count, work))
        with pytest.raises(StoppedError):
            prepare(config)
    prepare(config)
    assert read_manifest(config.out)["files"] == read_manifest(dataset)["files"]
    assert verify(config.out) == []


def test_what_is_done_is_not_done_again(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain_config(source, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("synthcxr.data.prepare.assemble", fail_at(1, lambda *_: None))
        with pytest.raises(StoppedError):
            prepare(config)
    journal = config.out / ".work" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:20]) + lines[20][:30])  # torn in the 21st line
    (config.out / ".work" / "images" / "017.png").write_bytes(b"cut")  # and the 18th image never reached the disk
    read: list[str] = []

    def counting(root: Path, record: Record, config: PrepareConfig) -> Picture:
        read.append(record.name)
        return read_picture(root, record, config)

    def converter(root: Path, reader: Any, *given: Any, **options: Any) -> Converter:
        return Converter(root, counting, *given, **options)

    monkeypatch.setattr("synthcxr.data.prepare.Converter", converter)
    monkeypatch.setattr("synthcxr.data.prepare.read_picture", counting)
    prepare(config)
    assert read == [f"images/{number:03d}.png" for number in range(17, 24)]


def test_a_source_that_changed_meanwhile_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "in", 12)
    config = plain_config(source, tmp_path / "a" / "dataset")
    with monkeypatch.context() as patch:
        patch.setattr("synthcxr.data.prepare.finish", fail_at(1, lambda *_: None))
        with pytest.raises(StoppedError):
            prepare(config)
    write_png(source / "images/004.png", made_up_xray(77))
    (source / "images/011.png").unlink()
    prepare(config)
    fresh = prepare(plain_config(source, tmp_path / "b" / "dataset"))
    assert read_manifest(config.out)["files"] == read_manifest(fresh)["files"]
    assert read_manifest(fresh)["counts"]["images"] == 11


# --- files that kill ---------------------------------------------------------------------------------------


def deadly(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """A reader that dies at one image as a decoder does, and never returns from another."""
    if record.name == "images/005.png":
        os.kill(os.getpid(), signal.SIGSEGV)
    if record.name == "images/009.png":
        re.match("(a+)+$", "a" * 60 + "b")  # in C, holding the interpreter's lock
    return read_picture(root, record, config)


def test_a_file_that_kills_or_hangs_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "in", 12)
    names = [f"images/{number:03d}.png" for number in range(12)]
    found = Source(source, [Record(name, name) for name in names], read=deadly, kind="csv")
    monkeypatch.setattr("synthcxr.data.prepare.read_source", lambda _: found)
    monkeypatch.setattr("synthcxr.data.prepare.LIMIT_SECONDS", 4.0)
    out = prepare(plain_config(source, tmp_path / "out", workers=2))
    rules = {row["file"]: row["rule"] for row in read_jsonl(out / "rejected.jsonl")}
    assert rules == {"images/005.png": "crashed", "images/009.png": "hung"}
    assert len(read_rows(out)) == 10


def never(_: int) -> int:
    raise AssertionError


def end_at_once() -> None:
    os._exit(1)


def test_workers_that_cannot_even_start_are_an_error() -> None:
    with pytest.raises(SynthCXRError, match="die as soon as they start"):
        list(map_in_workers(never, range(4), 2, set_up=end_at_once, lost=lambda item, how: item))


class Counted(Sequence[int]):
    """Numbers that count how many of them were taken."""

    taken = 0

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: Any) -> Any:
        return index

    def __iter__(self) -> Iterator[int]:
        for number in range(1000):
            self.taken += 1
            yield number


def double(number: int) -> int:
    return 2 * number


def test_what_is_in_flight_is_bounded() -> None:
    items = Counted()
    results = map_in_workers(double, items, 2)
    assert [next(results) for _ in range(10)] == [2 * number for number in range(10)]
    assert items.taken <= 10 + 2 * AHEAD
    results.close()  # type: ignore[attr-defined]


def test_shards_go_on_too(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(folder: Path, splits: Any, read: Callable[[str, Json], bytes]) -> None:
        write_webdataset(folder, splits, fail_at(9, read), 5000)

    config = plain_config(source, tmp_path / "a" / "dataset", format="webdataset")
    with monkeypatch.context() as patch:
        patch.setitem(__import__("synthcxr.data.shards", fromlist=["WRITERS"]).WRITERS, "webdataset", half)
        with pytest.raises(StoppedError):
            prepare(config)
    assert (config.out / "train" / "train-00000.tar").is_file()
    prepare(config)
    whole = prepare(plain_config(source, tmp_path / "b" / "dataset", format="webdataset"))
    assert read_json(config.out / "dataset.json")["files"] == read_json(whole / "dataset.json")["files"]
