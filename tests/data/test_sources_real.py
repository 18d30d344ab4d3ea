"""The publishers' own tables and reports, whole, where they are at hand.

SYNTHCXR_TABLES names a folder with the label tables as the package torchxrayvision 1.5.7 has them in its folder `data`.
The images are not needed: the folders are made to look as if they lay there.
"""

import csv
import gzip
import os
import shutil
import tarfile
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from synthcxr import PrepareConfig
from synthcxr.data.records import Source
from synthcxr.data.sources.files import Files

pytestmark = [pytest.mark.real, pytest.mark.slow]


def read_whole(
    name: str, table: str, rename: str, column: str, suffix: str, folder: Path, patch: pytest.MonkeyPatch
) -> Source:
    """Read a real table as if all of its images lay beside it."""
    if not (tables := os.environ.get("SYNTHCXR_TABLES")):
        pytest.skip("SYNTHCXR_TABLES does not say where the real tables are")
    root = folder / name
    root.mkdir()
    shutil.copy(Path(tables, table), root / rename)
    with gzip.open(root / rename, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = sorted({row[column] + suffix for row in reader})
    module = import_module(f"synthcxr.data.sources.{name}")
    patch.setattr(module, "list_files", lambda root, suffixes=(): Files(root, dict.fromkeys(names)))
    source: Source = module.read(PrepareConfig(source_path=root, out=folder / "out"))
    told = [record.name for record in source.records] + [row["file"] for row in source.rejected]
    assert sorted(told) == names
    return source


def findings(source: Source) -> Counter[str]:
    return Counter(finding for record in source.records for finding in record.subject.findings)


def rules(source: Source) -> Counter[str]:
    return Counter(row["rule"] for row in source.rejected)


def test_nih(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "Data_Entry_2017_v2020.csv.gz"
    source = read_whole("nih", table, table, "Image Index", "", tmp_path, monkeypatch)
    assert len(source.records) == 112_120 and not source.rejected  # as the publisher counts them
    assert len({record.patient_id for record in source.records}) == 30_805
    found = findings(source)
    assert found["No Finding"] == 60_361 and found["Hernia"] == 227 and len(found) == 15


def test_padchest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    source = read_whole("padchest", table, table, "ImageID", "", tmp_path, monkeypatch)
    assert len(source.records) == 109_668
    assert rules(source) == {"not-frontal": 50_209, "excluded": 984}
    assert max(record.subject.age or 0 for record in source.records) == 105


def test_chexpert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_whole("chexpert", "chexpert_train.csv.gz", "train.csv.gz", "Path", "", tmp_path, monkeypatch)
    assert len(source.records) == 191_010 and rules(source) == {"not-frontal": 32_404}
    assert len({record.patient_id for record in source.records}) == 64_534
    ages = [record.subject.age for record in source.records if record.subject.age is not None]
    assert min(ages) == 18 and max(ages) == 90


def test_siim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "siim-pneumothorax-train-rle.csv.gz"
    source = read_whole("siim", table, "train-rle.csv.gz", "ImageId", ".dcm", tmp_path, monkeypatch)
    assert len(source.records) == 12_047 and not source.rejected
    assert findings(source) == {"Pneumothorax": 2_669}


def test_vinbigdata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_whole("vindr", "vinbigdata-train.csv.gz", "train.csv.gz", "image_id", ".dicom", tmp_path, monkeypatch)
    assert len(source.records) == 15_000 and not source.rejected
    assert findings(source)["No Finding"] == 10_606  # 31,818 rows: all three radiologists of each


def test_openi(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shared_data / "openi" / "NLMCXR_reports.tgz"
    if not archive.is_file():
        pytest.skip("the reports of OpenI are not here")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    headers = shared_data / "openi" / "nlmcxr_dicom_metadata.csv.gz"
    shutil.copy(headers, tmp_path)
    module = import_module("synthcxr.data.sources.openi")
    list_files = module.list_files
    reports = list_files(tmp_path, (".xml",)).names
    assert len(reports) == 3_955
    images = [image for name in reports for image in module.read_report((tmp_path / name).read_bytes()).images]
    assert len(images) == len(set(images)) == 7_470
    files = Files(tmp_path, dict.fromkeys(f"NLMCXR_png/{image}.png" for image in images))
    monkeypatch.setattr(
        module, "list_files", lambda root, suffixes: list_files(root, suffixes) if ".xml" in suffixes else files
    )
    source = module.read(PrepareConfig(source_path=tmp_path, out=tmp_path / "out"))
    assert len(source.records) + len(source.rejected) == 7_470 + 104  # reports without an image
    assert rules(source)["report"] == 104
    views = Counter(record.subject.view for record in source.records)
    assert views["PA"] == 3_593 and views["AP"] == 423
    assert rules(source)["not-frontal"] == 867 and len(source.records) == 6_603
    assert sum(not record.report for record in source.records) == 35
    assert findings(source)["Lung hypoinflation"] > 400 and not findings(source)["Lung"]
