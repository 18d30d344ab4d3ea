"""Sets in other forms: DICOM that is valid and says what it is, and forms that keep each image's provenance."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from synthcxr import ExportConfig, GenerateConfig, clean, export, generate
from synthcxr.config import CleanConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.dicom import fit
from synthcxr.imagefolder import read_rows
from synthcxr.images import read_grey, read_png_text
from synthcxr.store import read_jsonl, verify, write_jsonl

PROMPTS = (
    {"text": "PA chest X-ray of a 58-year-old woman with “effusion”\\ä.", "view": "PA", "sex": "F", "age": 58},
    {"text": "AP chest X-ray of a 1 to 5-year-old child, no finding.", "age_range": [1, 5], "findings": ["No Finding"]},
)


@pytest.fixture(scope="module")
def drawn(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_jsonl(folder / "p.jsonl", PROMPTS)
    config = GenerateConfig(model=str(tiny_model), prompts=folder / "p.jsonl", count=3, steps=2, out=folder / "set")
    return Path(generate(config))


@pytest.fixture(scope="module")
def files(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = export(ExportConfig(folder=drawn, to="dicom", out=tmp_path_factory.mktemp("dicom") / "out"))
    assert verify(out) == []
    return sorted((out / "dicom").glob("*.dcm"))


def test_dicom_has_the_pixels_and_says_what_it_is(drawn: Path, files: list[Path]) -> None:
    assert len(files) == 3
    for row, path in zip(read_rows(drawn), files, strict=True):
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dataset.pixel_array, row.read())
        for said in ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "ImageComments"):
            assert "SYNTHETIC" in str(dataset[said].value)
        assert (dataset.ConversionType, dataset.SyntheticData) == ("SYN", "YES")
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"] and "PixelSpacing" not in dataset
        assert str(row.fields["seed"]) in dataset.DerivationDescription
        assert "BurnedInAnnotation" not in dataset, "nobody has looked"
    first = pydicom.dcmread(files[0])
    assert (first.PatientSex, first.PatientAge) == ("F", "058Y") and "“effusion” ä" in first.ImageComments
    assert "PatientAge" not in pydicom.dcmread(files[1])


def test_dicom_is_opened_by_gdcm(drawn: Path, files: list[Path]) -> None:
    import gdcm

    for row, path in zip(read_rows(drawn), files, strict=True):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        buffer = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
        assert np.array_equal(np.frombuffer(buffer, np.uint8)[: row.read().size].reshape(row.read().shape), row.read())


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_dicom_is_valid_by_dciodvfy(files: list[Path]) -> None:
    """Its Debian version is older than the element Synthetic Data (0008,001C) of 2023; there is no other error."""
    for path in files:
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr
        assert "SCImage" in said
        errors = [line for line in said.splitlines() if line.startswith("Error") and "0x0008,0x001c" not in line]
        assert not errors


def test_uids_belong_to_the_set(drawn: Path, files: list[Path], tmp_path: Path) -> None:
    again = export(ExportConfig(folder=drawn, to="dicom", out=tmp_path / "again"))
    assert [path.read_bytes() for path in files] == [p.read_bytes() for p in sorted((again / "dicom").glob("*.dcm"))]
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID")
    found = [str(pydicom.dcmread(path)[name].value) for path in files for name in names]
    assert len(set(found)) == len(found) and all(len(uid) <= 64 for uid in found)
    rows = read_jsonl(again / "dicom" / "metadata.jsonl")
    assert [row["sop_instance_uid"] for row in rows] == found[2::4] and rows[0]["file_name"] == "000000.dcm"


def test_a_cleaned_set_is_known_to_be_free_of_text(drawn: Path, tmp_path: Path) -> None:
    cleaned = clean(CleanConfig(folder=drawn, out=tmp_path / "clean", workers=1)).folder
    out = export(ExportConfig(folder=cleaned, to="dicom", out=tmp_path / "out"))
    for row, path in zip(read_rows(cleaned), sorted((out / "dicom").glob("*.dcm")), strict=True):
        assert (pydicom.dcmread(path).get("BurnedInAnnotation") == "NO") == (row.fields["texts_left"] == 0)


def test_patients_are_not_made_synthetic(dataset: Path, drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="that would be false"):
        export(ExportConfig(folder=dataset, to="dicom", out=tmp_path / "out"))
    shutil.copytree(drawn, tmp_path / "set")
    (tmp_path / "set" / "train" / "000001.png").write_bytes(b"")
    with pytest.raises(SynthCXRError, match="Nothing was exported"):
        export(ExportConfig(folder=tmp_path / "set", to="dicom", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_text_fits_the_fields() -> None:
    assert fit("a\\b\nc", 9) == "a b c" and len(fit("x" * 2000, 1024)) == 1024


@pytest.mark.parametrize("form", ["imagefolder", "webdataset", "parquet"])
def test_every_form_of_a_set_keeps_the_provenance(form: Any, drawn: Path, tmp_path: Path) -> None:
    out = export(ExportConfig(folder=drawn, to=form, out=tmp_path / "out"))
    from io import BytesIO

    for before, after in zip(read_rows(drawn), read_rows(out), strict=True):
        assert after.read_bytes() == before.read_bytes() and after.text == before.text
        assert "synthcxr" in read_png_text(BytesIO(after.read_bytes()))


def test_a_set_has_a_sheet_of_its_first_images(drawn: Path) -> None:
    sheet = read_grey(drawn / "sheet.png")
    assert sheet.shape == (64, 3 * 64 + 2 * 4) and np.array_equal(sheet[:, :64], read_rows(drawn)[0].read())
    assert "Not for diagnosis" in read_png_text(drawn / "sheet.png")["Description"]
