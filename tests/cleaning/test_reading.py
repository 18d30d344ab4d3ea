"""Reading with the real detector and recogniser."""

import itertools
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthcxr.cleaning import clean as stage
from synthcxr.cleaning import detect
from synthcxr.cleaning.detect import shared_reader
from synthcxr.cleaning.remove import remove_text
from synthcxr.config import CleanConfig
from synthcxr.images import Grey, read_grey, write_png
from synthcxr.store import list_files, read_jsonl, sha256_file

from .xrays import burn, drawn_xray

REAL = Path(__file__).parents[3] / "shared" / "data"
PLAIN = drawn_xray(256)


@pytest.mark.parametrize(
    ("text", "place", "size", "level"),
    [("R", (20, 30), 30, 255), ("AP", (190, 20), 24, 0), ("PORTABLE", (90, 225), 20, 240)],
)
def test_text_at_known_places_is_found_and_removed(text: str, place: tuple[int, int], size: int, level: int) -> None:
    image = burn(PLAIN, text, place, size, level)
    burned = image != PLAIN
    removal = remove_text(image, shared_reader().read)
    assert removal.status == "removed"
    assert [box.text for box in removal.before] == [text]
    assert (removal.mask & burned).sum() >= 0.95 * burned.sum()
    assert np.array_equal(removal.image[~removal.mask], image[~removal.mask])
    assert np.abs(removal.image.astype(int) - PLAIN)[burned].mean() < 10


def test_an_image_without_text_stays_as_it_is() -> None:
    removal = remove_text(PLAIN, shared_reader().read)
    assert removal.status == "clean"
    assert np.array_equal(removal.image, PLAIN)


def test_the_models_load_without_a_network_and_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    detect.TextReader().read(burn(PLAIN, "R", size=30), quick=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("turns", "rotation"), [(0, 0), (1, 90), (2, 180), (3, 270)])
def test_an_l_alone_is_found_whichever_way_it_lies(turns: int, rotation: int) -> None:
    image = np.ascontiguousarray(np.rot90(burn(drawn_xray(512), "L", (60, 80), 24), -turns))
    (mark,) = shared_reader().read(image)
    assert (mark.text, mark.kind, mark.rotation) == ("L", "laterality", rotation)
    ink = np.argwhere(image > 230)
    assert np.abs(mark.points.min(0) - ink.min(0)[::-1]).max() < 12
    assert np.abs(mark.points.max(0) - ink.max(0)[::-1]).max() < 12


def test_an_italic_l_in_a_ring_is_found() -> None:
    image = drawn_xray(512)
    cv2.ellipse(image, (300, 200), (14, 17), 0, 0, 360, 5, -1)
    cv2.ellipse(image, (300, 200), (12, 15), 0, 0, 360, 250, 1, cv2.LINE_AA)
    cv2.polylines(image, [np.array([(301, 194), (299, 205), (304, 205)])], False, 250, 1, cv2.LINE_AA)
    assert [mark.text for mark in shared_reader().read(image)] == ["L"]


def test_small_text_in_a_large_image_is_found_where_it_is_but_not_quickly() -> None:
    image = burn(drawn_xray(2100), "DOE JOHN", (1500, 1800), 18)
    assert "DOE JOHN" not in {mark.text for mark in shared_reader().read(image, quick=True)}
    (mark,) = [mark for mark in shared_reader().read(image) if mark.text == "DOE JOHN"]
    low, high = mark.points.min(0), mark.points.max(0)
    assert np.abs(low - (1500, 1800)).max() < 20
    assert (high - low).max() < 150


@pytest.mark.parametrize("length", [300, 1536, 1537, 2500, 5000])
def test_tiles_overlap_and_leave_no_pixel_out(length: int) -> None:
    spans = detect._spans(length)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(second[0] <= first[1] - detect.OVERLAP for first, second in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("text", "rotation", "needed"),
    [("R", 0, 0.5), ("PORTABLE", 0, 0.5), ("PORTABLE", 90, 0.6), ("7", 0, 0.8), ("00000", 0, 0.85), ("10:01", 0, 0.85)],
)
def test_what_wires_and_electrodes_feign_needs_a_higher_score(text: str, rotation: int, needed: float) -> None:
    assert detect.score_needed(text, rotation, 0.5) == pytest.approx(needed)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "IMAGES_A_WORKER", 1)
    write_png(tmp_path / "in" / "0.png", burn(drawn_xray(), "R"))
    write_png(tmp_path / "in" / "1.png", drawn_xray(seed=1))
    contents = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        stage.clean(CleanConfig(folder=tmp_path / "in", out=out, workers=workers, keep=["nothing"]))
        contents.append({str(path): sha256_file(out / path) for path in list_files(out)})
    assert contents[0] == contents[1]
    found = [row["text_before"] for row in read_jsonl(tmp_path / "out1" / "proof.jsonl")]
    assert found == [["R"], []]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nih/images/00001301_039.jpg", {"AP", "SUPINE", "PORTABLE"}),
        ("kermany/images/person1234_virus_2093.jpg", {"R", "18:56:19", "KV68"}),
    ],
)
def test_text_of_real_xrays_is_read_and_removed(name: str, words: set[str]) -> None:
    if not (REAL / name).is_file():
        pytest.skip(f"needs the real X-ray {name}, which is not part of the project")
    image: Grey = read_grey(REAL / name)
    removal = remove_text(image, shared_reader().read)
    assert words <= {box.text for box in removal.before}
    assert not words & {box.text for box in removal.left}
    assert removal.mask.mean() < 0.05
