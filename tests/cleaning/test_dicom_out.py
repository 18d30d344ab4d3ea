"""DICOM in, DICOM out: pixels outside the mask, and every element that says what they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from synthcxr.cleaning import clean as stage
from synthcxr.cleaning.clean import clean
from synthcxr.cleaning.dicom_out import read_dicom, to_stored, to_values
from synthcxr.cleaning.proof import SecondReader
from synthcxr.config import CleanConfig
from synthcxr.images import read_grey
from synthcxr.store import read_jsonl, sha256_file, verify
from tests.data.dicom_files import compress, make, pattern, save

from .xrays import burn, drawn_xray

WITH_R = burn(drawn_xray(), "R").astype(np.uint16) * 16


class Silent(SecondReader):
    """A second reader that reads nothing."""

    def read(self, image: Any) -> list[Any]:
        return []

    def read_marks(self, image: Any, marks: Any) -> list[str]:
        return [""] * len(marks)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch, quick_reader: None) -> None:
    """Two readers without a model, and DICOM read in this process, so that they are seen there."""
    monkeypatch.setattr(stage, "find_second_reader", lambda asked: None if asked == "off" else Silent("silent"))
    monkeypatch.setattr(stage, "map_in_workers", lambda work, items, workers, **_: map(work, items))


def cleaned(tmp_path: Path, dataset: Dataset, how: dict[str, Any] | None = None, **options: Any) -> Dataset:
    """The dataset after it was cleaned as the only file of a folder."""
    source = save(dataset, tmp_path / "in" / "IM0001", **(how or {}))
    before = sha256_file(source)
    result = clean(CleanConfig(folder=tmp_path / "in", out=tmp_path / "out", workers=1, **options))
    assert sha256_file(source) == before
    assert (result.counts["images"], result.counts["dicom"]) == (1, 1)
    assert verify(result.folder) == []
    return dcmread(result.folder / "dicom" / "IM0001.dcm")


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    "syntax", ["", "big endian", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"]
)
def test_stored_values_outside_the_mask_are_equal(tmp_path: Path, syntax: str) -> None:
    dataset = make(WITH_R, 12, WindowCenter="2048", WindowWidth="4096")
    how: dict[str, Any] = {}
    if syntax == "big endian":
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = WITH_R.astype(">u2").tobytes()
    elif syntax:
        dataset = compress(dataset, syntax)
    new = cleaned(tmp_path, dataset, how)
    mask = read_grey(tmp_path / "out" / "masks" / "IM0001.png") > 0
    assert mask.any()
    assert np.array_equal(new.pixel_array[~mask], WITH_R[~mask])
    assert (new.pixel_array[mask] != WITH_R[mask]).any()
    assert new.pixel_array.max() < WITH_R.max()
    assert new.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert new.ImageType[0] == "DERIVED"
    assert new.SOPInstanceUID not in ("", "1.2.3.4.5")
    assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
    assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert (new.PatientID, new.StudyInstanceUID, new.WindowCenter) == ("P1", "1.2.3.4", 2048)
    assert new.BurnedInAnnotation == "NO"
    assert "LossyImageCompression" not in new


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("said", [None, "00", "01"])
def test_once_lossy_always_lossy(tmp_path: Path, said: str | None) -> None:
    given = burn(drawn_xray(), "R")
    dataset = compress(make(given, 8, **({"LossyImageCompression": said} if said else {})), "1.2.840.10008.1.2.4.50")
    new = cleaned(tmp_path, dataset)
    assert (new.LossyImageCompression, new.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    decoded = read_dicom(tmp_path / "in" / "IM0001").stored
    mask = read_grey(tmp_path / "out" / "masks" / "IM0001.png") > 0
    assert np.array_equal(new.pixel_array[~mask], decoded[~mask])


@pytest.mark.usefixtures("second")
def test_nothing_burned_in_is_said_only_when_both_readers_looked(tmp_path: Path) -> None:
    new = cleaned(tmp_path, make(WITH_R, 12, BurnedInAnnotation="NO"), second_reader="off")
    assert "BurnedInAnnotation" not in new
    (tmp_path / "yes").mkdir()
    new = cleaned(tmp_path / "yes", make(WITH_R, 12, BurnedInAnnotation="YES"), second_reader="off")
    assert new.BurnedInAnnotation == "YES"


@pytest.mark.usefixtures("second")
def test_what_shows_the_pixels_as_they_were_is_gone(tmp_path: Path) -> None:
    dataset = make(WITH_R, 12)
    icon = Dataset()
    icon.Rows = 1
    dataset.IconImageSequence = Sequence([icon])
    dataset.add_new(0x60003000, "OW", b"\1\0")
    new = cleaned(tmp_path, dataset)
    assert "IconImageSequence" not in new
    assert 0x60003000 not in new


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    ("bits", "signed", "photometric"),
    [(12, True, "MONOCHROME2"), (16, False, "MONOCHROME1"), (8, False, "MONOCHROME1")],
)
def test_signed_inverse_and_all_depths(tmp_path: Path, bits: int, signed: bool, photometric: str) -> None:
    grey = burn(drawn_xray(), "R").astype(np.int64)
    shown = 255 - grey if photometric == "MONOCHROME1" else grey
    values = (shown << (bits - 8)) - (2 ** (bits - 1) if signed else 0)
    stored = values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    new = cleaned(tmp_path, make(stored, bits, PhotometricInterpretation=photometric))
    mask = read_grey(tmp_path / "out" / "masks" / "IM0001.png") > 0
    assert mask.any()
    assert np.array_equal(new.pixel_array[~mask], stored[~mask])
    assert new.PhotometricInterpretation == photometric
    again = read_dicom(tmp_path / "out" / "dicom" / "IM0001.dcm").picture
    assert again.views(again.values)[0][16:42, 10:44].max() < 240


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_values_there_and_back(bits: int, signed: bool) -> None:
    stored = pattern(bits, signed=signed)
    values = to_values(stored)
    assert values.dtype.kind == "u"
    assert np.array_equal(np.argsort(values.ravel(), kind="stable"), np.argsort(stored.ravel(), kind="stable"))
    assert np.array_equal(to_stored(values, stored), stored)


def named(uid: str, instance: str) -> Dataset:
    """A header that is full of a patient."""
    dataset = make(WITH_R, 12, PatientName="DOE^JANE", PatientBirthDate="19300101", PatientAge="095Y", KVP="120")
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = uid, instance
    dataset.InstitutionName, dataset.StudyDate, dataset.AccessionNumber = "St Elsewhere", "20200102", "A17"
    dataset.SeriesDescription, dataset.ImageComments = "DOE JANE PA", "called Dr Roe"
    dataset.ReferringPhysicianName, dataset.StationName, dataset.DeviceSerialNumber = "ROE^JOHN", "XR7", "S4711"
    dataset.add_new(0x00110010, "LO", "MAKER")
    dataset.add_new(0x00111001, "LO", "DOE JANE")
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "X-1", "99LOCAL", "PA of DOE JANE"
    dataset.ViewCodeSequence = Sequence([view])
    return dataset


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize("profile", ["basic", "characteristics"])
def test_nothing_of_the_patient_is_left_but_what_was_asked_for(tmp_path: Path, profile: str) -> None:
    for number in (1, 2):
        save(named("1.2.3.4", f"1.2.3.4.{number}"), tmp_path / "in" / f"{number}.dcm")
    clean(
        CleanConfig(folder=tmp_path / "in", out=tmp_path / "out", key=tmp_path / "key", deidentify=profile, workers=1)
    )
    first, second = (dcmread(tmp_path / "out" / "dicom" / f"{number}.dcm") for number in (1, 2))
    text = (tmp_path / "out" / "dicom" / "1.dcm").read_bytes()
    for secret in (
        b"DOE",
        b"JANE",
        b"Elsewhere",
        b"20200102",
        b"1930",
        b"A17",
        b"ROE",
        b"Roe",
        b"XR7",
        b"4711",
        b"1.2.3.4\0",
    ):
        assert secret not in text
    assert first.PatientID == first.PatientName == second.PatientID not in ("", "P1")
    assert first.StudyInstanceUID == second.StudyInstanceUID != "1.2.3.4"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.PatientIdentityRemoved, first.KVP, first.ViewPosition) == ("YES", 120, "PA")
    assert (first.get("PatientAge"), first.PatientSex) == (
        ("090Y", "M") if profile == "characteristics" else (None, "")
    )
    codes = [item.CodeValue for item in first.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113101", *(["113108"] if profile == "characteristics" else [])]


@pytest.mark.usefixtures("second")
def test_frames_colours_and_broken_files_are_rejected(tmp_path: Path) -> None:
    save(make(WITH_R, 12), tmp_path / "in" / "good")
    save(make(np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8), 8), tmp_path / "in" / "colour")
    frames = make(WITH_R, 12, NumberOfFrames=2)
    frames.PixelData = 2 * WITH_R.tobytes()
    save(frames, tmp_path / "in" / "frames")
    (tmp_path / "in" / "cut").write_bytes((tmp_path / "in" / "good").read_bytes()[:-3000])
    result = clean(CleanConfig(folder=tmp_path / "in", out=tmp_path / "out", workers=1))
    assert [row["file"] for row in read_jsonl(result.folder / "rejected.jsonl")] == ["colour", "cut", "frames"]
    assert result.counts["images"] == 1
    assert not (result.folder / "train").exists()


def test_a_clean_of_a_clean_finds_the_dicom_files_again(tmp_path: Path, second: None) -> None:
    cleaned(tmp_path, make(WITH_R, 12))
    again = clean(CleanConfig(folder=tmp_path / "out", out=tmp_path / "again", workers=1))
    assert (again.counts["clean"], again.counts["dicom"]) == (1, 1)
