"""The demo: the whole road from nothing but the package, every folder whole, one page over all of it."""

import json
import re
from pathlib import Path

import pytest

from synthcxr import DemoConfig, demo
from synthcxr.imagefolder import read_rows
from synthcxr.store import lineage, read_manifest, verify
from tests.conftest import write_source

FOLDERS = {"dataset", "dataset-clean", "run", "drawn", "set", "study", "report"}


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    demo(DemoConfig(out=out, count=16, steps=2))
    return out


@pytest.mark.slow
def test_every_folder_of_the_road_is_whole(road: Path) -> None:
    assert {
        path.parent.name for path in road.glob("*/*.json") if path.stem in ("dataset", "run", "set", "study", "report")
    } >= FOLDERS
    for folder in FOLDERS:
        assert verify(road / folder) == [], folder


@pytest.mark.slow
def test_it_says_that_its_data_were_drawn(road: Path) -> None:
    assert "not of patients" in read_manifest(road / "dataset")["config"]["licence"]
    assert "not of patients" in (road / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_cleaning_had_work_and_did_it(road: Path) -> None:
    rows = read_rows(road / "dataset-clean")
    assert sum(row.fields["text_removed"] for row in rows) >= 4
    assert len(list((road / "dataset-clean" / "masks").rglob("*.png"))) >= 4


@pytest.mark.slow
def test_the_report_is_one_page_that_fetches_nothing(road: Path) -> None:
    page = (road / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page) and "<script" not in page and "@import" not in page
    assert page.count("<img") > 30 and "Fréchet distance" in page and "Blinded reading" in page
    metrics = {metric["name"]: metric for metric in read_manifest(road / "report")["metrics"]}
    assert metrics["frechet_distance"]["value"] > 0 and metrics["frechet_distance"]["n_synthetic"] == 16
    assert {"name", "value", "ci_low", "ci_high", "n_real", "n_synthetic", "extractor", "preprocessing"} <= metrics[
        "kid"
    ].keys()


@pytest.mark.slow
def test_the_chain_leads_back_to_the_data(road: Path) -> None:
    tree = json.dumps(lineage(road / "report"))
    assert '"missing"' not in tree and '"changed"' not in tree
    assert all(f'"kind": "{kind}"' in tree for kind in ("report", "set", "run", "dataset"))


@pytest.mark.slow
def test_on_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthcxr.demonstration._origin", lambda _: {"skip_checks": ["all"]})  # these are no X-rays
    source = write_source(tmp_path / "in", 48, 256)
    page = demo(DemoConfig(out=tmp_path / "out", data=source, count=8, steps=1))
    assert page.is_file()
    assert read_manifest(tmp_path / "out" / "report")["inputs"]["real"]["kind"] == "dataset"
