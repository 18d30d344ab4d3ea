import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.errors import UsageError
from synthcxr.study.answers import Answer, blank_sheet, check_truth, parse


def test_byte_order_mark_windows_lines_semicolons_capitals_and_blank_rows_are_fine() -> None:
    lines = [
        "\ufeffReader;Image;Answer;Confidence;Seconds",
        "Dr. X; case-001.png ;Synthetic;4;12.5",
        ";;;;",
        "",
    ]
    assert parse("\r\n".join(lines).encode(), "a.csv", planned=True) == [
        Answer(2, "Dr. X", "case-001.png", "synthetic", None, 4.0, 12.5)
    ]


def test_an_empty_reader_means_the_only_one() -> None:
    answers = parse(b"reader,image,answer\n,a,real\nR1,b,\n", "a.csv", planned=True)
    assert [(a.reader, a.answer) for a in answers] == [("R1", "real"), ("R1", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reader,image\nR1,a\n", "lacks the columns answer; its first line holds: reader, image"),
        ("", "lacks the columns reader, image, answer"),
        ("reader,image,answer,answer\nR1,a,real,real\n", "more than one column answer"),
        (
            "reader,image,answer\nR1,a,real\nR1,b,fake\n",
            "row 3: the answer 'fake' is neither real nor synthetic",
        ),
        ("reader,image,truth,answer\nR1,a,maybe,real\n", "row 2: the truth 'maybe' is neither"),
        ("reader,image,answer\nR1,a,real\nR1,a,synthetic\n", "row 3: R1 has a in row 2 already"),
        ("reader,image,answer\nR1,a,\n", "holds no answer"),
        ("reader,image,answer\n", "holds no answer"),
        ("reader,image,answer\n,a,real\n", "row 2: the reader's name is missing"),
        ("reader,image,answer\nR1,a,real\nR2,b,real\n,c,real\n", "row 4: the reader's name is missing"),
        ("reader,image,answer\nR1,,real\n", "row 2: the image is missing"),
        ("reader,image,answer\nR1,a,real,oh\n", "row 2: it has more cells than columns"),
        (
            "reader,image,answer,confidence\nR1,a,real,6\n",
            "row 2: the confidence '6' is not a number from 1 to 5",
        ),
        (
            "reader,image,answer,confidence\nR1,a,real,nan\n",
            "row 2: the confidence 'nan' is not a number from",
        ),
        (
            "reader,image,answer,seconds\nR1,a,real,-1\n",
            "row 2: the seconds '-1' is not a number of 0 or more",
        ),
        ("reader,image,answer,seconds\nR1,a,real,long\n", "row 2: the seconds 'long' is not a number"),
    ],
)
def test_a_wrong_file_says_where(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text.encode(), "a.csv", planned=True)
    assert "a.csv" in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_csv_is_refused() -> None:
    with pytest.raises(UsageError, match=r"a\.csv, line 2, is not CSV"):
        parse(b"reader,image,answer\nR1,a," + b"x" * 200_000, "a.csv", planned=True)


def test_many_wrong_rows_are_counted() -> None:
    data = "reader,image,answer\n" + "".join(f"R1,{i},fake\n" for i in range(12))
    with pytest.raises(UsageError, match="and 7 more"):
        parse(data.encode(), "a.csv", planned=True)


@pytest.mark.parametrize("data", ["reader,image,answer\nR1,a,real".encode("utf-16"), b"reader,image,answer\nR\xe9,a,b"])
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="Save it as CSV UTF-8"):
        parse(data, "a.csv", planned=True)


def test_answers_from_elsewhere_need_the_truth_and_may_have_any_scale() -> None:
    with pytest.raises(UsageError, match="lacks the columns truth"):
        parse(b"reader,image,answer\nR1,a,real\n", "a.csv", planned=False)
    (answer,) = parse(b"reader,image,truth,answer,confidence\nR1,a,real,real,80\n", "a.csv", planned=False)
    assert (answer.truth, answer.confidence) == ("real", 80.0)


def test_truth_is_checked_against_the_plan_and_against_itself() -> None:
    real = Answer(2, "R1", "a", "real", "real")
    synthetic = Answer(3, "R2", "a", "real", "synthetic")
    check_truth([real], {"a": "real"}, planned=True, name="a.csv")
    check_truth([Answer(2, "R1", "a", "real")], {"a": "real"}, planned=True, name="a.csv")
    with pytest.raises(UsageError, match="row 3: a is real, not synthetic"):
        check_truth([synthetic], {"a": "real"}, planned=True, name="a.csv")
    with pytest.raises(UsageError, match="row 3: a is real, not synthetic"):
        check_truth([real, synthetic], {}, planned=False, name="a.csv")
    with pytest.raises(UsageError, match="row 2: a is no image of this study"):
        check_truth([real], {"b": "real"}, planned=True, name="a.csv")
    with pytest.raises(UsageError, match="row 2: a has no truth"):
        check_truth([Answer(2, "R1", "a", "real")], {}, planned=False, name="a.csv")


words = st.sampled_from(["real", "synthetic", ""])
levels = st.one_of(st.just(""), st.integers(1, 5).map(str))


@given(st.lists(st.tuples(words, levels), min_size=1, max_size=30).filter(lambda rows: any(w for w, _ in rows)))
def test_a_filled_sheet_reads_back_row_by_row(filled: list[tuple[str, str]]) -> None:
    images = [f"case-{i:03}.png" for i in range(len(filled))]
    rows = list(csv.reader(io.StringIO(blank_sheet(images).decode())))
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [rows[0], *(["R1", row[1], *cells, ""] for row, cells in zip(rows[1:], filled, strict=True))]
    )
    answers = parse(buffer.getvalue().encode(), "a.csv", planned=True)
    assert [a.image for a in answers] == images
    assert [(a.answer or "", "" if a.confidence is None else f"{a.confidence:g}") for a in answers] == filled
