"""The page: charts that are charts, text that cannot become markup, the story behind a set."""

from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from synthcxr import prepare
from synthcxr.images import write_png
from synthcxr.report.charts import curve, histograms, interval_bar
from synthcxr.report.html import figure
from synthcxr.report.story import read_story
from tests.conftest import made_up_xray, plain_config, write_source

numbers = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=2, max_size=20))
def test_a_curve_is_well_formed_and_stays_inside(values: list[float]) -> None:
    root = ElementTree.fromstring(str(curve(list(range(len(values))), values, "step", "loss <b>")))
    points = root.find("polyline").get("points", "")  # type: ignore[union-attr]
    assert len(points.split()) == len(values)
    assert all(0 <= float(y) <= 200 for y in (point.split(",")[1] for point in points.split()))


@given(st.lists(numbers, min_size=1, max_size=30), st.none() | numbers)
def test_histograms_and_bars_are_well_formed(values: list[float], threshold: float | None) -> None:
    ElementTree.fromstring(str(histograms({"a_b": values, "c": values[::-1]}, threshold, "d")))
    ElementTree.fromstring(str(interval_bar(values[0], threshold, values[-1], (0.1, 0.2))))
    ElementTree.fromstring(str(interval_bar(values[0], None, None, None)))


def test_a_missing_picture_is_said_in_its_caption(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", made_up_xray(0))
    assert figure(tmp_path / "a.png", "a").source.startswith("data:image/png;base64,")
    assert "does not exist" in figure(tmp_path / "none.png", "b").caption


def test_a_story_ends_where_the_chain_was_broken(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 4)
    first = prepare(plain_config(source, tmp_path / "first"))
    second = prepare(plain_config(first, tmp_path / "second"))
    assert [chapter.verb for chapter in read_story(second).chapters] == ["prepare", "prepare"]
    (first / "dataset.json").write_bytes(
        (first / "dataset.json").read_bytes().replace(b'"patients": 2', b'"patients": 3')
    )
    story = read_story(second)
    assert len(story.chapters) == 1 and "changed" in story.gaps[0]
