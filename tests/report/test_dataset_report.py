"""The dataset's page: whole, self-contained, true to the rows, and deaf to markup in what it is told."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from synthcxr.data.gate import CHECKS
from synthcxr.data.gate.pixels import thumbnail
from synthcxr.errors import UsageError
from synthcxr.images import write_png
from synthcxr.report.dataset import OTHER_RULES, write_dataset_report
from synthcxr.report.survey import MEASURED_PROMPTS, Survey, survey
from synthcxr.store import write_bytes, write_jsonl
from tests.conftest import made_up_xray

VOID = {"meta", "img", "br", "link", "input", "hr"}
NASTY = '<script>alert("1")</script>&amp;'


class Page(HTMLParser):
    """Checks that every tag is closed in order, and gathers text, addresses and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def row(index: int, **more: Any) -> dict[str, Any]:
    return {
        "file_name": f"h{index:03d}.png",
        "text": f"PA chest X-ray of a {20 + index}-year-old man.",
        "patient_id": f"k{index // 2}",
        "age": 20 + index if index % 4 else None,
        "age_range": None if index % 4 else [1, 5],
        "sex": "MF"[index % 2],
        "view": ("AP", "PA")[index % 2],
        "findings": ["Effusion", "Mass"] if index % 3 else ["No Finding"],
        "source": "made-up",
        "source_file": f"hash{index}",
    } | more


def build(folder: Path) -> dict[str, Any]:
    """A folder as `prepare` leaves it before the manifest, and what the manifest will say."""
    splits = {"train": range(0, 20), "validation": range(20, 24), "test": range(24, 32)}
    for split, indices in splits.items():
        rows = [row(index) for index in indices]
        if split == "train":
            rows[3] |= {"warnings": "labelled an adult, but the encoder sees a child", "burned_in_text": True}
            rows[4] |= {"text": NASTY, "findings": [NASTY], "burned_in_text": False}
        for each in rows:
            write_png(folder / split / each["file_name"], made_up_xray(int(each["file_name"][1:4])))
        write_jsonl(folder / split / "metadata.jsonl", rows)
    for name in ("a", "b"):
        write_bytes(folder / "rejected" / f"{name}.jpg", thumbnail(made_up_xray(1, 200)))
    write_jsonl(
        folder / "rejected.jsonl",
        [
            {"file": "hashA", "rule": "inverted", "reason": "it looks inverted", "thumbnail": "rejected/a.jpg"},
            {"file": "hashC", "rule": "unreadable", "reason": NASTY},
            {"file": "hashD", "rule": "inverted", "reason": "gone", "thumbnail": "../../secret.jpg"},
            {
                "file": "hashB",
                "rule": "duplicate-same-patient",
                "reason": "it is the same picture as h005.png",
                "thumbnail": "rejected/b.jpg",
                "duplicate_of": "h005.png",
                "correlation": 0.97,
            },
        ],
    )
    return {
        "config": {"source_path": "/home/someone/Doe_John", "resolution": 64, "skip_checks": []},
        "counts": {"prompt_tokens": {"fewest": 9, "median": 12, "most": 20}},
        "sources": [{"name": "made-up", "licence": f"CC0 {NASTY}", "restricted": True, "images": 32}],
        "notes": ["Taken for --source csv."],
    }


@pytest.fixture
def page(tmp_path: Path) -> str:
    path = write_dataset_report(tmp_path, build(tmp_path))
    assert path == tmp_path / "index.html"
    return path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_fetches_nothing(page: str) -> None:
    parsed = Page(page)
    assert parsed.addresses and all(address.startswith("data:image/") for address in parsed.addresses)
    assert not re.search(r"url\(|@import|https?://", page.replace("http://www.w3.org", ""))
    assert "script" not in parsed.tags and "iframe" not in parsed.tags


def test_what_it_says_is_what_the_rows_say(page: str) -> None:
    text = re.sub(r"\s+", " ", " ".join(Page(page).words))
    assert "32 images of 16 patients; 4 left out (11.1% of what was there)." in text
    assert "1 to 5 years 8" in text
    assert "inverted 2 " + CHECKS["inverted"] in text and "unreadable 1 " + OTHER_RULES["unreadable"] in text
    assert "1 image is in the dataset with a warning" in text and "the encoder sees a child" in text
    assert "restricted by its terms" in text
    assert "1 images that are in the dataset had text burned in" in text
    assert "it is the same picture as h005.png" in text
    assert "fewest 9, median 12, most 20" in text


def test_what_it_is_told_never_becomes_markup(page: str) -> None:
    assert "<script" not in page
    assert any(NASTY in word for word in Page(page).words)


def test_neither_source_names_nor_paths_outside_are_shown(page: str) -> None:
    assert "Doe" not in page and "/home/" not in page and "secret" not in page


def test_pictures_are_where_they_belong(page: str) -> None:
    pictures = [address for address in Page(page).addresses if address.startswith("data:image/jpeg")]
    assert len(pictures) == 3  # two thumbnails by rule, and the one beside the image that was kept
    assert page.count(">no picture<") == 2, "the file that could not be opened, and the path that leads outside"


def test_it_is_made_anew_from_a_finished_dataset(dataset: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    first = write_dataset_report(copy).read_bytes()
    assert write_dataset_report(copy).read_bytes() == first
    with pytest.raises(UsageError):
        write_dataset_report(tmp_path / "nothing")


def test_an_empty_rejected_file_and_unreadable_images_do_not_stop_it(tmp_path: Path) -> None:
    manifest = build(tmp_path)
    (tmp_path / "rejected.jsonl").write_text("")
    for path in (tmp_path / "train").glob("*.png"):
        path.write_bytes(b"torn")
    text = write_dataset_report(tmp_path, manifest).read_text()
    assert "Nothing was left out." in text and "cannot be read" in text


def test_a_survey_keeps_few_rows_and_the_same_ones_in_any_order(tmp_path: Path) -> None:
    from synthcxr.imagefolder import Row

    rows = [Row(tmp_path / "train" / f"{k}.png", "train", "", {"file_name": f"{k}.png"}) for k in range(2500)]
    samples = []
    for order in (rows, rows[::-1]):
        found = Survey()
        for each in order:
            found.add(each, frozenset({"7.png"}))
        assert found.images == {"train": 2500} and list(found.named) == ["7.png"]
        samples.append([each.path.name for each in found.samples()])
    assert samples[0] == samples[1] and len(samples[0]) == MEASURED_PROMPTS


def test_a_torn_row_is_named(tmp_path: Path) -> None:
    build(tmp_path)
    with (tmp_path / "test" / "metadata.jsonl").open("a") as file:
        file.write(json.dumps({"text": "no file"}) + "\n")
    with pytest.raises(Exception, match=r"metadata.jsonl, line 9"):
        survey(tmp_path)
