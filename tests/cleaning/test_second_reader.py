"""Tesseract beside RapidOCR."""

import numpy as np
import pytest

from synthcxr.cleaning import second_reader
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.second_reader import available, read_again, read_marks
from synthcxr.errors import SynthCXRError

from .xrays import burn, drawn_xray

PLAIN = drawn_xray(256)
needs_tesseract = pytest.mark.skipif(available() is None, reason="needs Tesseract, which is not installed")


@needs_tesseract
@pytest.mark.parametrize("turn", [0, 90, 270])
def test_a_word_is_read_where_it_is_whichever_way_it_lies(turn: int) -> None:
    word = np.rot90(burn(PLAIN, "PORTABLE", (90, 20), 22), -turn // 90)
    ink = np.argwhere(word > 230)
    (found,) = read_again(np.ascontiguousarray(word))
    assert (found.text, found.kind, found.rotation) == ("PORTABLE", "position", turn)
    assert np.abs(found.points.min(0) - ink.min(0)[::-1]).max() < 5
    assert np.abs(found.points.max(0) - ink.max(0)[::-1]).max() < 5
    assert read_marks(np.ascontiguousarray(word), [found]) == ["PORTABLE"]


@needs_tesseract
def test_nothing_is_read_where_nothing_is() -> None:
    assert read_again(PLAIN) == []
    place = Mark(((30.0, 30.0), (90.0, 30.0), (90.0, 50.0), (30.0, 50.0)), "DOE", 0.9, "identifier")
    assert read_marks(PLAIN, [place]) == [""]


def test_without_tesseract_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_reader, "available", lambda: None)
    with pytest.raises(SynthCXRError, match="not installed"):
        read_again(PLAIN)
