"""Features kept by what an image's bytes are: never worked out twice, never those of another image."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation import cache
from synthcxr.evaluation.cache import Extraction, extract_rows
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, write_png
from tests.conftest import made_up_xray


class Counting:
    """An extractor's network and way to prepare that count what they are given."""

    def __init__(self) -> None:
        self.prepared, self.batches = 0, list[int]()

    def prepare(self, image: Grey) -> npt.NDArray[np.float32]:
        self.prepared += 1
        return np.array([[[image.mean(), image.std(), image[0, 0]]]], np.float32)

    def to(self, *_: Any, **__: Any) -> "Counting":
        return self

    def __call__(self, stack: Any) -> Any:
        self.batches.append(len(stack))
        return stack[:, 0, 0]


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def extractor(counting: Counting) -> Extractor:
    return Extractor("counting", "", "0" * 64, 3, "none", "frechet_distance", counting.prepare, counting)


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    found = []
    for index in range(7):
        path = tmp_path / "images" / f"{index}.png"
        write_png(path, made_up_xray(index, 32 if index != 5 else 48)[:, :32])
        found.append(Row(path, "train"))
    return found


def look(rows: list[Row], extractor: Extractor, tmp_path: Path, batch_size: int = 3) -> Extraction:
    return extract_rows(rows, extractor, batch_size=batch_size, device="cpu", folder=tmp_path / "cache")


def test_vectors_are_in_the_order_of_the_rows(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path
) -> None:
    found = look(rows, extractor, tmp_path)
    expected = [counting.prepare(row.read()[8:40] if i == 5 else row.read())[0, 0] for i, row in enumerate(rows)]
    np.testing.assert_array_equal(found.vectors, expected)
    assert found.kept == tuple(range(7)) and found.sizes == {(32, 32), (48, 32)}
    assert counting.batches == [3, 3, 1]


def test_a_second_time_nothing_is_decoded(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look(rows, extractor, tmp_path)
    monkeypatch.setattr(Row, "read", lambda _: pytest.fail("an image was decoded"))
    second = look(rows, extractor, tmp_path)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert second.sizes == first.sizes and counting.batches == [3, 3, 1]


def test_only_what_changed_is_worked_out_anew(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path
) -> None:
    first = look(rows, extractor, tmp_path)
    write_png(rows[2].path, made_up_xray(99, 32))
    second = look(rows, extractor, tmp_path)
    assert counting.batches == [3, 3, 1, 1]
    assert (first.vectors != second.vectors).any(axis=1).tolist() == [i == 2 for i in range(7)]


def test_equal_images_are_worked_out_once(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path
) -> None:
    found = look([rows[0]] * 5 + rows[1:2], extractor, tmp_path, batch_size=4)
    assert sum(counting.batches) == 2 and len(found.vectors) == 6


def test_unreadable_images_are_named_and_never_black(rows: list[Row], extractor: Extractor, tmp_path: Path) -> None:
    rows[1].path.write_bytes(b"not an image")
    rows[4].path.unlink()
    found = look(rows, extractor, tmp_path)
    assert found.kept == (0, 2, 3, 5, 6) and len(found.vectors) == 5
    assert [place for place, _ in found.rejected] == [1, 4]
    assert "not an image" in found.rejected[0][1]


def test_no_image_at_all_gives_no_vectors(extractor: Extractor, tmp_path: Path) -> None:
    assert look([], extractor, tmp_path).vectors.shape == (0, 3)


def test_another_extractor_has_a_cache_of_its_own(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path
) -> None:
    look(rows, extractor, tmp_path)
    other = Extractor("counting", "", "1" * 64, 3, "none", "frechet_distance", counting.prepare, counting)
    look(rows, other, tmp_path)
    assert sum(counting.batches) == 14


def test_a_stopped_run_goes_on_where_it_was(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: object, stack: npt.NDArray[np.float32], __: str) -> Any:
        if counting.batches:
            raise KeyboardInterrupt
        return embed(extractor, stack, "cpu")

    embed = Extractor.embed
    monkeypatch.setattr(Extractor, "embed", stop)
    with pytest.raises(KeyboardInterrupt):
        look(rows, extractor, tmp_path)
    monkeypatch.setattr(Extractor, "embed", embed)
    look(rows, extractor, tmp_path)
    assert counting.batches == [3, 3, 1]


@pytest.mark.parametrize("damage", ["not a database", "folder"])
def test_a_cache_that_cannot_be_used_costs_only_time(
    damage: str, rows: list[Row], extractor: Extractor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = look(rows, extractor, tmp_path).vectors
    (file,) = (tmp_path / "cache").glob("*.sqlite")
    file.unlink()
    if damage == "folder":
        file.mkdir()
    else:
        file.write_text("not a database" * 100)
    np.testing.assert_array_equal(look(rows, extractor, tmp_path).vectors, expected)
    assert "not kept" in capsys.readouterr().err


def test_features_that_are_no_numbers_are_refused_and_not_kept(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "__call__", lambda _, stack: stack[:, 0, 0] * np.nan)
    with pytest.raises(SynthCXRError, match="not finite"):
        look(rows, extractor, tmp_path)
    monkeypatch.undo()
    assert np.isfinite(look(rows, extractor, tmp_path).vectors).all()


def test_a_torn_vector_is_worked_out_anew(
    rows: list[Row], extractor: Extractor, counting: Counting, tmp_path: Path
) -> None:
    expected = look(rows, extractor, tmp_path).vectors
    (file,) = (tmp_path / "cache").glob("*.sqlite")
    with sqlite3.connect(file) as opened:
        opened.execute("UPDATE vectors SET vector = x'00'")
    np.testing.assert_array_equal(look(rows, extractor, tmp_path).vectors, expected)
    assert sum(counting.batches) == 14


def test_the_cache_lies_with_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "synthcxr" / "features"
