"""Folders that can be trusted: whole files, resume, refusals, and every changed byte found."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthcxr import store
from synthcxr.errors import SynthCXRError, UsageError


def finished(folder: Path, config: dict[str, object] | None = None) -> Path:
    with store.open_output(folder, "set", config or {"seed": 1}) as output:
        store.write_bytes(folder / "train" / "a.png", b"image one")
        store.write_jsonl(folder / "train" / "metadata.jsonl", [{"file_name": "a.png", "text": "é"}])
        return output.finish(inputs={}, counts={"images": 1}, environment={})


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.bin"
    with pytest.raises(RuntimeError), store.atomic_writer(target) as file:
        file.write(b"half")
        raise RuntimeError
    assert list((tmp_path / "deep").iterdir()) == []
    store.write_bytes(target, b"first")
    with pytest.raises(RuntimeError), store.atomic_writer(target) as file:
        file.write(b"sec")
        raise RuntimeError
    assert target.read_bytes() == b"first"


def test_an_untouched_folder_is_intact(tmp_path: Path) -> None:
    assert store.verify(finished(tmp_path / "set")) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_found(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "set"
    shutil.rmtree(folder, ignore_errors=True)
    finished(folder)
    name = data.draw(st.sampled_from(store.list_files(folder)))
    content = bytearray((folder / name).read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(content)
    try:
        problems = store.verify(folder)
    except SynthCXRError as error:
        assert name.name in str(error)  # a manifest that is no JSON any more is named
    else:
        assert any(name.name in problem for problem in problems)


def test_missing_and_extra_files_are_named(tmp_path: Path) -> None:
    folder = finished(tmp_path / "set")
    (folder / "train" / "a.png").rename(folder / "train" / "b.png")
    assert store.verify(folder) == ["extra: train/b.png", "missing: train/a.png"]


def test_a_finished_folder_is_not_done_again_and_another_config_is_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path / "set")
    with store.open_output(folder, "set", {"seed": 1}) as output:
        assert output.finished
    with (
        pytest.raises(UsageError, match=r"another config \(seed differ"),
        store.open_output(folder, "set", {"seed": 2}),
    ):
        pass
    with pytest.raises(UsageError, match="holds a set"), store.open_output(folder, "run", {"seed": 1}):
        pass
    with store.open_output(folder, "set", {"seed": 2}, overwrite=True) as output:
        assert not output.finished and store.list_files(folder, at_work=True) == [Path("set.partial.json")]


def test_an_interrupted_stage_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with pytest.raises(RuntimeError), store.open_output(folder, "set", {"seed": 1}):
        store.write_bytes(folder / "train" / "a.png", b"kept")
        raise RuntimeError
    with pytest.raises(UsageError, match="not finished"):
        store.read_manifest(folder)
    with store.open_output(folder, "set", {"seed": 1}) as output:
        assert not output.finished and (folder / "train" / "a.png").read_bytes() == b"kept"


@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_files_are_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"years of work")
    refused = pytest.raises(UsageError, match="not written by synthcxr")
    with refused, store.open_output(tmp_path, "set", {}, overwrite=overwrite):
        pass
    assert (tmp_path / "thesis.docx").read_bytes() == b"years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_the_folder_of_another_tool_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "some other tool"}')
    (tmp_path / "thesis.docx").write_bytes(b"years of work")
    for overwrite in (False, True):
        refused = pytest.raises(UsageError, match="no manifest of synthcxr")
        with refused, store.open_output(tmp_path, "dataset", {}, overwrite=overwrite):
            pass
    assert len(list(tmp_path.iterdir())) == 2


def test_overwrite_leaves_a_folder_alone_that_holds_somebodys_file(tmp_path: Path) -> None:
    folder = finished(tmp_path / "set")
    (folder / "notes.txt").write_text("mine")
    refused = pytest.raises(UsageError, match=r"also holds notes\.txt")
    with refused, store.open_output(folder, "set", {"seed": 2}, overwrite=True):
        pass
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "train" / "a.png").exists()


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    folder = finished(tmp_path / "set")
    for read in (folder, folder / "train", tmp_path):
        refused = pytest.raises(UsageError, match="lie in each other")
        with refused, store.open_output(folder, "set", {"seed": 2}, overwrite=True, inputs=[read]):
            pass
    assert store.verify(folder) == []


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with pytest.raises(RuntimeError), store.open_output(folder, "set", {"seed": 1}):
        store.write_bytes(folder / "a.png", b"kept")
        (folder / ".b.png.123.tmp").write_bytes(b"ha")
        raise RuntimeError
    with store.open_output(folder, "set", {"seed": 1}) as output:
        output.finish(inputs={}, counts={}, environment={})
    assert [path.name for path in store.list_files(folder)] == ["a.png", "set.json"]


def test_two_processes_do_not_write_one_folder(tmp_path: Path) -> None:
    folder, refused = tmp_path / "set", pytest.raises(UsageError, match="another process")
    with store.open_output(folder, "set", {}), refused, store.open_output(folder, "set", {}):
        pass


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(SynthCXRError, match=r"disk of .* is full"),
        store.open_output(tmp_path / "set", "set", {}),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_lineage_says_what_was_changed_or_is_gone(tmp_path: Path) -> None:
    first = finished(tmp_path / "first")
    second = tmp_path / "second"
    with store.open_output(second, "report", {}) as output:
        output.finish(inputs={"set": store.describe_input(first, second)}, counts={}, environment={})
    assert store.lineage(second)["inputs"]["set"]["state"] == "intact"
    shutil.rmtree(first)
    assert store.lineage(second)["inputs"]["set"]["state"] == "missing"
    finished(first, {"seed": 9})
    assert store.lineage(second)["inputs"]["set"]["state"] == "changed"


def test_rows_survive_any_text(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\u0085c\nd"}, {"text": "é"}]
    store.write_jsonl(tmp_path / "r.jsonl", rows)
    assert store.read_jsonl(tmp_path / "r.jsonl") == rows


def test_a_torn_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"a": 1}) + '\n{"a": ')
    with pytest.raises(SynthCXRError, match="line 2"):
        store.read_jsonl(path)


def test_a_living_file_may_change_and_nothing_else(tmp_path: Path) -> None:
    with store.open_output(tmp_path / "study", "study", {}) as output:
        store.write_bytes(tmp_path / "study" / "key" / "a", b"a")
        store.write_bytes(tmp_path / "study" / "answers" / "served.sqlite", b"1")
        output.finish(inputs={}, counts={}, environment={}, living=("answers/served.sqlite",))
    for name in ("served.sqlite", "served.sqlite-wal"):
        store.write_bytes(tmp_path / "study" / "answers" / name, b"2")
    assert store.verify(tmp_path / "study") == []
    store.write_bytes(tmp_path / "study" / "answers" / "other", b"2")
    store.write_bytes(tmp_path / "study" / "key" / "a", b"b")
    assert store.verify(tmp_path / "study") == ["extra: answers/other", "changed: key/a"]
