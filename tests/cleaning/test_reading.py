"""Reading with the real detector and recogniser."""

import socket
from pathlib import Path

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


@pytest.fixture
def one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read at one size only, which is enough for large letters on a drawn image."""
    monkeypatch.setattr(detect, "SHORT_SIDES", (512,))


@pytest.mark.usefixtures("one_size")
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


@pytest.mark.usefixtures("one_size")
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
    monkeypatch.setattr(detect, "SHORT_SIDES", (256,))
    detect.TextReader().read(burn(PLAIN, "R", size=30))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "IMAGES_A_WORKER", 1)
    write_png(tmp_path / "in" / "0.png", burn(drawn_xray(), "R"))
    write_png(tmp_path / "in" / "1.png", drawn_xray(seed=1))
    contents = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        stage.clean(CleanConfig(folder=tmp_path / "in", out=out, workers=workers))
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
