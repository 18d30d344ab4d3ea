"""Burned-in text: markers, names, and the three things to do about them."""

import cv2
import numpy as np
import pytest

from synthcxr.data.burned_in import check_burned_in, is_marker
from synthcxr.data.records import RejectedImageError
from synthcxr.images import Grey
from tests.conftest import made_up_xray


def write(image: Grey, text: str, place: tuple[int, int]) -> Grey:
    marked = image.copy()
    cv2.putText(marked, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2, cv2.LINE_AA)
    return marked


@pytest.fixture(scope="module")
def plain() -> Grey:
    image = cv2.resize(made_up_xray(1), (512, 512), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)


@pytest.mark.parametrize(
    "text", ["R", "L", "AP", "pa", "R PORTABLE", "SEMI-ERECT", "L.", "12", "AP SUPINE", "Left", "SEMIUPRIGHT"]
)
def test_markers(text: str) -> None:
    assert is_marker(text)


@pytest.mark.parametrize("text", ["DOE^JANE", "DOE JANE R", "12/03/1961", "1234567", "ROE", "R 08:15"])
def test_no_markers(text: str) -> None:
    assert not is_marker(text)


def test_off_looks_at_nothing(plain: Grey) -> None:
    named = write(plain, "DOE JANE", (20, 40))
    found = check_burned_in(named, "off")
    assert found.image is named
    assert not found.flagged


def test_a_marker_is_no_identifier(plain: Grey) -> None:
    marked = write(plain, "R", (20, 60))
    for mode in ("flag", "reject"):
        found = check_burned_in(marked, mode)
        assert not found.flagged
        assert found.image is marked


def test_a_name_is_flagged_rejected_or_removed(plain: Grey) -> None:
    named = write(plain, "DOE JANE 1961", (20, 40))
    found = check_burned_in(named, "flag")
    assert found.flagged
    assert found.found >= 1
    assert found.image is named
    with pytest.raises(RejectedImageError) as caught:
        check_burned_in(named, "reject")
    assert caught.value.rule == "burned-in-text"
    assert "DOE" not in str(caught.value)
    cleaned = check_burned_in(named, "clean")
    assert cleaned.flagged
    assert cleaned.removed >= 1
    assert not check_burned_in(cleaned.image, "flag").flagged
    assert np.array_equal(cleaned.image[100:], named[100:])
