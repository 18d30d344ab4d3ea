"""What a line of text is, and which marks stay."""

import pytest

from synthcxr.cleaning.marks import Mark, keep_out, kind_of

CORNERS = ((0.0, 0.0), (30.0, 0.0), (30.0, 10.0), (0.0, 10.0))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "laterality") for text in ("R", "L", "(R)", "L.", "right", "LT")),
        *((text, "position") for text in ("AP", "A-P", "PORTABLE", "R ERECT", "SEMI-ERECT", "AP SUPINE", "↑")),
        *((text, "identifier") for text in ("DOE, JOHN", "18:56:19", "01/02/2011", "KV68", "MRN123", "12345", "R JSM")),
        *((text, "identifier") for text in ("ST. MARY HOSPITAL", "M 45Y", "PORTABLE SMITH", "AP 2011")),
        *((text, "other") for text in ("JS", "R JS", "7", "125 kV", "3.2 mAs", "", "...")),
    ],
)
def test_what_a_line_is(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def test_kinds_that_are_kept_are_not_removed() -> None:
    side, name = Mark(CORNERS, "R", 0.9, "laterality"), Mark(CORNERS, "DOE", 0.9, "identifier")
    assert keep_out([side, name], ("laterality",)) == [name]
    assert keep_out([side, name], ()) == [side, name]


def test_the_height_of_a_line_is_its_shorter_side_and_of_an_outline_its_smaller_extent() -> None:
    assert Mark(CORNERS, "DOE", 0.9).line_height == 10
    outline = Mark(((0.0, 5.0), (15.0, 0.0), (30.0, 5.0), (30.0, 10.0), (0.0, 10.0)), "", 0.9, "marker")
    assert outline.line_height == pytest.approx(10)
