"""The page: charts that are charts, text that cannot become markup, the story behind a set."""

from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr import prepare
from synthcxr.evaluation.answer import Answer, Chart, Question, Sheet, Table
from synthcxr.evaluation.content import Content
from synthcxr.evaluation.intervals import Estimate
from synthcxr.evaluation.measure import metric
from synthcxr.imagefolder import Row, write_rows
from synthcxr.images import write_png
from synthcxr.report.charts import curve, histograms, interval_bar
from synthcxr.report.checklist import ITEMS
from synthcxr.report.html import TITLES, figure, number, render
from synthcxr.report.methods import sources
from synthcxr.report.story import read_story
from synthcxr.store import Json
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


@given(st.lists(numbers, min_size=5, max_size=5), st.sampled_from(["share", "squared units", "years"]))
def test_a_figure_its_floor_its_ceiling_and_a_useless_set_lie_inside_the_scale(values: list[float], unit: str) -> None:
    shown = [value / 1e6 for value in values] if unit == "share" else values
    low, value, high, ceiling, useless = sorted(shown)
    bar = interval_bar(value, low, high, (low, high), ceiling=ceiling, useless=useless, unit=unit)
    root = ElementTree.fromstring(str(bar))
    places = [float(each.get(key, "0")) for each in root for key in ("x1", "x2", "cx", "x") if each.get(key)]
    assert all(0 <= place <= 200 for place in places)
    assert {each.get("class") for each in root} == {"axis", "floor", "interval", "value", "ceiling", "useless"}


@pytest.mark.parametrize(
    ("value", "percent", "words"),
    [
        (None, False, "–"),
        (0.1234, True, "12\u00a0%"),
        (0.0123, True, "1.2\u00a0%"),
        (0.0, True, "0\u00a0%"),
        (12345.6, False, "12,346"),
    ],
)
def test_numbers_are_as_a_reader_wants_them(value: float | None, percent: bool, words: str) -> None:
    assert number(value, percent) == words


# --- the page ----------------------------------------------------------------------------------------------


def content_of(folder: Path, answers: list[Answer]) -> Content:
    side: Json = {
        "name": "s",
        "n": 2,
        "patients": 2,
        "split": "test",
        "notes": "CC0",
        "sizes": [[64, 64]],
        "rejected": 0,
    }
    encoder = {"name": "e", "sha256": "0" * 64, "dimension": 64, "preprocessing": "p"}
    config = {"synthetic": str(folder), "show_removed_text": False, "neighbours": 5}
    sides: dict[str, Json | None] = {"real": side, "synthetic": side, "training": None}
    return Content(answers, ["realism"], ["Only <2> images."], sides, encoder, config)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    for i in range(2):
        write_png(tmp_path / "set" / "train" / f"{i}.png", made_up_xray(i))
    write_rows(tmp_path / "set", "train", [{"file_name": f"{i}.png", "text": "<b>prompt</b>"} for i in range(2)])
    return tmp_path / "set"


def test_the_page_shows_all_that_an_answer_has_and_fetches_nothing(drawn: Path) -> None:
    row = Row(drawn / "train" / "0.png", "train")
    shared: Json = {"n_real": 1234, "n_synthetic": 2, "unit": "share", "better": "higher"}
    figures = (
        metric("a", Estimate(0.5, 0.4, 0.6), title="A & B", warning="Few.", ceiling=0.9, useless=0.1, **shared),
        metric("b", None, title="Not there", reason="No <pixels>.", **shared),
        metric("c", Estimate(0.77, 0.7, 0.8), title="Of a group", group="sex F", **shared),
    )
    answer = Answer(
        "privacy",
        "No copy < 1 %.",
        figures,
        ("Mind this.",),
        (Table("T", ("column",), ((0.12345,), (None,), ("<i>",)), "note"), Table("Long", ("x",), ((1,),) * 20)),
        (Chart("C", "<svg viewBox='0 0 1 1'></svg>", "caption"),),
        (Sheet("Pairs", ((row, "own"), (None, "features")), per_line=2),),
        {"privacy.jsonl": [{}]},
    )
    page = render(content_of(drawn, [answer]), drawn, None)
    for words in ("No copy &lt; 1 %.", "A &amp; B", "50\u00a0%", "40\u00a0% to 60\u00a0%", "90\u00a0%",
                  "1,234 / 2", "Few.", "Mind this.",
                  "No &lt;pixels&gt;.", "0.123", "&lt;i&gt;", "caption", "not shown: features only", "privacy.jsonl",
                  "Only &lt;2&gt; images.", "--questions realism", "<svg viewBox='0 0 1 1'>", "Long (20 rows)",
                  "&lt;b&gt;prompt"):  # fmt: skip
        assert words in page, words
    assert "Of a group" not in page, "groups are in the answer's tables"
    assert "http" not in page.replace("http://www.w3.org", "") and "<script" not in page


def test_every_question_has_a_heading_and_methods(drawn: Path) -> None:
    questions: tuple[Question, ...] = get_args(Question)
    assert TITLES.keys() == set(questions)
    page = render(content_of(drawn, [Answer(question, "Nothing can be said.") for question in questions]), drawn, None)
    assert all(TITLES[question][0] in page for question in questions)
    assert "@inproceedings{heusel2017" in page and " [1]" in page
    assert all(item.topic.replace("'", "&#39;") in page for item in ITEMS)


def test_the_bibliography_is_bibtex() -> None:
    for key, entry in sources().items():
        assert entry.startswith(("@article{" + key, "@inproceedings{" + key))
        assert entry.count("{") == entry.count("}") and " year = {" in entry


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
