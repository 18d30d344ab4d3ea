"""The small modules: workers, devices, lineage in words."""

import os
import signal
from pathlib import Path

import pytest

from synthcxr.devices import describe, pick, worker_count
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import read_rows, write_rows
from synthcxr.images import write_png
from synthcxr.lineage import broken, draw_tree
from synthcxr.workers import map_in_workers
from tests.conftest import made_up_xray


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def blocks_interrupts(_: int) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_whatever_the_workers(workers: int) -> None:
    assert list(map_in_workers(square, range(50), workers)) == [number * number for number in range(50)]


def test_a_killed_worker_is_one_sentence() -> None:
    with pytest.raises(SynthCXRError, match="fewer --workers"):
        list(map_in_workers(die, range(20), 2))


def test_a_worker_never_sees_ctrl_c_even_while_it_imports() -> None:
    assert all(map_in_workers(blocks_interrupts, range(4), 2))
    assert not blocks_interrupts(0)


def test_devices() -> None:
    import torch

    assert pick("cpu").dtype == torch.float32
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no cuda device"):
            pick("cuda")
    assert describe(pick("cpu"))["device"] == "cpu" and "torch" in describe()["libraries"]
    assert worker_count(3) == 3 and worker_count(0) >= 1


def test_a_lineage_in_words() -> None:
    gone = {"kind": "run", "path": "/a/run", "manifest_sha256": "f" * 64, "state": "missing", "inputs": {}}
    tree = {
        "kind": "set",
        "path": "set",
        "manifest_sha256": "a" * 64,
        "state": "intact",
        "notes": ["n"],
        "inputs": {"model": gone},
    }
    assert draw_tree(tree).splitlines() == [
        "set set [aaaaaaaaaaaa]",
        "  note: n",
        "  model: run /a/run [ffffffffffff]  ← is not there any more",
    ]
    assert broken(tree) and not broken({**tree, "inputs": {}})


def test_rows_of_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_rows(tmp_path / "none")
    with pytest.raises(UsageError, match="no image"):
        read_rows(tmp_path)
    write_png(tmp_path / "train" / "a.png", made_up_xray(0))
    write_rows(tmp_path, "train", [{"file_name": "a.png", "text": "t", "patient_id": 7}])
    row = read_rows(tmp_path)[0]
    assert (row.text, row.patient, row.split) == ("t", "7", "train")
    with pytest.raises(UsageError, match="split 'test'"):
        read_rows(tmp_path, "test")
