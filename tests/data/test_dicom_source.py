"""The source `dicom`: what is found, what it is paired with, and that nothing of a patient leaves."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.uid import JPEG2000Lossless

from synthcxr import PrepareConfig, prepare
from synthcxr.data.dicom.read import read_dicom_picture, read_published_picture
from synthcxr.data.records import Record, RejectedImageError
from synthcxr.data.sources import dicom as source
from synthcxr.errors import UsageError
from synthcxr.images import read_grey
from synthcxr.prompts import Subject
from tests.conftest import made_up_xray
from tests.data.dicom_files import compress, make, pattern, save


def xray(seed: int, side: int = 160) -> Any:
    """A made-up chest in 12 bits."""
    image = cv2.resize(made_up_xray(seed), (side, side), interpolation=cv2.INTER_CUBIC)
    return image.astype(np.uint16) * 16


def config(folder: Path, **options: Any) -> PrepareConfig:
    return PrepareConfig(source_path=folder, out=folder.parent / "out", source="dicom", **options)


# --- finding ----------------------------------------------------------------------------------------------


def test_files_are_found_by_what_they_hold(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a", "deep/b.IMA", "deep/c.dcm", ".hidden/d", "1.2.840.7"):
        save(make(pattern()), folder / name)
    (folder / "notes.txt").write_text("hello")
    (folder / "broken.dcm").write_bytes(b"hello" * 100)
    directory = make(pattern())
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    save(directory, folder / "DICOMDIR")
    bare = make(pattern())
    del bare.file_meta
    bare.save_as(folder / "bare", implicit_vr=True, little_endian=True)
    found = source.read(config(folder))
    assert [record.name for record in found.records] == ["1.2.840.7", "a", "bare", "deep/b.IMA", "deep/c.dcm"]
    assert [(row["file"], row["rule"]) for row in found.rejected] == [("broken.dcm", "not-dicom")]
    assert found.notes == ["2 files are no DICOM images and were passed over."]
    assert not found.public_ids


def test_links_that_lead_out_are_rejected(tmp_path: Path) -> None:
    save(make(pattern()), tmp_path / "outside" / "a")
    folder = tmp_path / "in"
    save(make(pattern()), folder / "b")
    (folder / "out").symlink_to(tmp_path / "outside" / "a")
    (folder / "within").symlink_to(folder / "b")
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    (folder / "lost").symlink_to(folder / "gone")
    (folder / "around").symlink_to(folder)
    (folder / "folder").symlink_to(tmp_path / "outside")
    found = source.read(config(folder))
    assert [record.name for record in found.records] == ["b", "within"]
    rejected = [(row["file"], row["rule"]) for row in found.rejected]
    assert rejected == [(name, "path") for name in ("folder", "lost", "nowhere", "out")]


def test_recognition(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert source.recognise(folder) == ""
    (folder / "a.png").write_bytes(b"\x89PNG")
    assert source.recognise(folder) == ""
    file = save(make(pattern()), folder / "deep" / "b")
    assert source.recognise(folder)
    assert source.recognise(file)
    assert source.recognise(tmp_path / "gone") == ""


def test_one_file(tmp_path: Path) -> None:
    file = save(make(pattern()), tmp_path / "in" / "a")
    found = source.read(config(file))
    assert [record.name for record in found.records] == ["a"]
    assert found.root == tmp_path / "in"


# --- reading ----------------------------------------------------------------------------------------------


def test_a_picture_and_its_record(tmp_path: Path) -> None:
    save(make(pattern(), PixelSpacing=[0.2, 0.2]), tmp_path / "a")
    picture = read_dicom_picture(tmp_path, Record("a"), config(tmp_path))
    assert picture.image.shape == (48, 64)
    assert picture.pixel_spacing_mm == (0.2, 0.2)
    assert picture.record == Record("a", "P1", "1.2.3.4", Subject(age=55, sex="M", view="PA"))
    assert picture.notes == ("window: percentiles",)


def test_what_a_table_says_goes_before_the_header(tmp_path: Path) -> None:
    save(make(pattern(), Modality="CT", ViewPosition="LL"), tmp_path / "a")
    told = Record("a", "p7", "s7", Subject(age=40, view="AP", findings=("Effusion",)))
    with pytest.raises(RejectedImageError):
        read_dicom_picture(tmp_path, told, config(tmp_path))
    record = read_published_picture(tmp_path, told, config(tmp_path)).record
    assert record == Record("a", "p7", "s7", Subject(age=40, sex="M", view="AP", findings=("Effusion",)))


def test_an_image_without_ids_is_its_own_patient(tmp_path: Path) -> None:
    save(make(pattern(), PatientID=None, StudyInstanceUID=None), tmp_path / "a")
    assert read_dicom_picture(tmp_path, Record("a"), config(tmp_path)).record.patient_id == "a"


@pytest.mark.parametrize(
    ("header", "told", "age", "age_range"),
    [
        ("055Y", Subject(age_range=(20, 60)), 55, None),  # the table's reader put the option's range there
        ("055Y", Subject(), 55, None),
        ("055Y", Subject(age=40), 40, None),
        ("055Y", Subject(age_range=(1, 5)), None, (1, 5)),  # the table's own
        (None, Subject(age_range=(20, 60)), None, (20, 60)),
        (None, Subject(), None, (20, 60)),
    ],
)
def test_missing_age_is_of_those_whom_neither_table_nor_header_gives_one(
    header: str | None, told: Subject, age: int | None, age_range: tuple[int, int] | None, tmp_path: Path
) -> None:
    save(make(pattern(), PatientAge=header), tmp_path / "a")
    options = config(tmp_path, missing_age="20-60")
    for read in (read_dicom_picture, read_published_picture):
        subject = read(tmp_path, Record("a", subject=told), options).record.subject
        assert (subject.age, subject.age_range) == (age, age_range)


@pytest.mark.parametrize(
    ("told", "header", "patient"),
    [("", "P1-7", "P1"), ("P1-7", "P2-8", "P1-7"), ("", None, "P3")],  # a table's id had the pattern already
)
def test_the_patient_pattern_is_for_ids_of_the_header_too(
    told: str, header: str | None, patient: str, tmp_path: Path
) -> None:
    name = "P3-a"
    save(make(pattern(), PatientID=header, StudyInstanceUID=None), tmp_path / name)
    options = config(tmp_path, patient_pattern=r"^(\w+)-")
    assert read_dicom_picture(tmp_path, Record(name, told), options).record.patient_id == patient


def test_options_reach_the_pictures_of_the_source(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number in (1, 2):
        save(make(pattern(), PatientID=f"P1-{number}", PatientAge=None), folder / str(number))
    options = config(folder, patient_pattern=r"^(\w+)-", missing_age="30")
    records = [source.read_picture(folder, record, options).record for record in source.read(options).records]
    assert {record.patient_id for record in records} == {"P1"}
    assert {record.subject.age_range for record in records} == {(30, 30)}


def test_a_header_that_says_burned_in_is_rejected_on_wish(tmp_path: Path) -> None:
    save(make(pattern(), BurnedInAnnotation="YES"), tmp_path / "a")
    assert read_dicom_picture(tmp_path, Record("a"), config(tmp_path)).notes
    with pytest.raises(RejectedImageError) as caught:
        read_dicom_picture(tmp_path, Record("a"), config(tmp_path, burned_in="reject"))
    assert caught.value.rule == "burned-in-text"


@pytest.mark.real
def test_a_real_xray_comes_back_through_a_dicom(shared_data: Path, tmp_path: Path) -> None:
    """As 12 bits, black and white turned round, in JPEG 2000: the same picture as before, to the grey level."""
    image = read_grey(min((shared_data / "nih").rglob("*.jpg")))
    values = 4095 - np.rint(image / 255 * 4095).astype(np.uint16)
    dataset = make(values, PhotometricInterpretation="MONOCHROME1", WindowCenter=2048, WindowWidth=4096)
    save(compress(dataset, JPEG2000Lossless), tmp_path / "a")
    picture = read_dicom_picture(tmp_path, Record("a"), config(tmp_path))
    assert np.array_equal(picture.image, image)


@pytest.mark.parametrize("window", ["wide", "3000", "1/0", "1/-5", "a/b", "1/2/3"])
def test_a_window_that_is_none_is_a_wrong_call(window: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--window"):
        PrepareConfig.load({"source_path": tmp_path, "out": tmp_path / "o", "window": window})


# --- reports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "report"),
    [
        ("file,report\nsub\\a,of the file\n", "of the file"),
        ("\ufeffstudy_uid,report\n1.2.3.4,of the study\n", "of the study"),
        ("Report,Accession Number\nleft out,A1\n", ""),
        ('report,AccessionNumber\n"two\nlines",A1\n', "two\nlines"),
        ("report,accession,study_uid\nby number,A1,\n", "by number"),
        ("report,accession\nof another,A2\n", ""),
        ("Study_UID;Report\n1.2.3.4;a, b\n", "a, b"),
        (f"file\treport\nsub/a\t{'long ' * 40_000}\n", "long " * 39_999 + "long"),
    ],
)
def test_reports(table: str, report: str, tmp_path: Path) -> None:
    source.read_reports.cache_clear()
    folder = tmp_path / "in"
    save(make(pattern(), AccessionNumber="A1"), folder / "sub" / "a")
    (folder / "reports.csv").write_text(table, encoding="utf-8")
    if "Accession Number" in table:
        with pytest.raises(UsageError, match="needs the column"):
            source.read(config(folder))
        return
    found = source.read(config(folder))
    assert found.rejected == []
    assert source.read_picture(folder, found.records[0], config(folder)).record.report == report


def test_a_report_of_a_file_that_is_not_there_is_a_rejected_row(tmp_path: Path) -> None:
    source.read_reports.cache_clear()
    folder = tmp_path / "in"
    save(make(pattern()), folder / "a")
    (folder / "reports.csv").write_text("file,report\n../a,x\na,y\n")
    found = source.read(config(folder))
    assert [row["file"] for row in found.rejected] == ["../a"]
    assert found.records[0].report == "y"


def test_reports_in_utf_16(tmp_path: Path) -> None:
    save(make(pattern()), tmp_path / "in" / "a")
    (tmp_path / "in" / "reports.csv").write_text("file,report\na,größer\n", encoding="utf-16")
    assert source.read(config(tmp_path / "in")).records[0].report == "größer"


def test_rows_of_no_use_are_rejected_in_the_order_of_the_table(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(make(pattern()), folder / "a")
    rows = ["a,,,first", "./a,,,second", ",S,,x", ",S,,y", ",,A,x", ",,A,x", ",,,of nobody", "a,,,nul\0", "n\udcff,,,x"]
    table = "\n".join(["file,study_uid,accession,report", *rows, *(f"gone{number},,,x" for number in "312")])
    (folder / "reports.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    found = source.read(config(folder))
    assert [record.report for record in found.records] == ["first"]
    assert [(row["file"], row["rule"]) for row in found.rejected] == [
        *(("./a", "duplicate-row"), ("S", "duplicate-row"), ("A", "duplicate-row")),
        *(("reports.csv, row 8", "row"), ("a", "row"), ("n\\udcff", "row")),
        *((f"gone{number}", "row") for number in "123"),
    ]
    assert any("2 rows by study or accession number" in note for note in found.notes)


def test_a_changed_table_is_read_anew(tmp_path: Path) -> None:
    save(make(pattern()), tmp_path / "in" / "a")
    for report in ("before", "after"):
        (tmp_path / "in" / "reports.csv").write_text(f"file,report\na,{report}\n")
        assert source.read(config(tmp_path / "in")).records[0].report == report


@pytest.mark.parametrize("table", ["file,text_of_it\na,b\n", "report\nb\n", ""])
def test_a_table_that_is_none_is_a_plain_error(table: str, tmp_path: Path) -> None:
    source.read_reports.cache_clear()
    save(make(pattern()), tmp_path / "in" / "a")
    (tmp_path / "in" / "reports.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"reports\.csv"):
        source.read(config(tmp_path / "in"))


# --- identifiers ------------------------------------------------------------------------------------------

PLANTED = "ZQX"
"""Begins every planted identifier; no base64, hash or word of the tool holds it."""
TEXTS = {
    "AE": "StationAETitle",
    "AS": "",
    "CS": "PatientSex",
    "DA": "StudyDate",
    "DS": "PatientWeight",
    "DT": "AcquisitionDateTime",
    "IS": "InstanceNumber",
    "LO": "PatientID",
    "LT": "AdditionalPatientHistory",
    "OB": "",
    "PN": "PatientName",
    "SH": "AccessionNumber",
    "ST": "InstitutionAddress",
    "TM": "StudyTime",
    "UC": "LongCodeValue",
    "UI": "StudyInstanceUID",
    "UR": "RetrieveURL",
    "UT": "TextValue",
}
BIRTH, STUDY = "19310407", "20190823"


def planted(number: int) -> Dataset:
    """A radiograph with an identifier in every text VR, in fields that are read, private ones and nested ones."""
    name = f"{PLANTED}{number:03d}"
    dataset = make(xray(number))
    for vr, keyword in TEXTS.items():
        if keyword and vr not in ("CS", "DA", "DS", "DT", "IS", "TM", "UI"):
            assert dictionary_VR(keyword) == vr
            setattr(dataset, keyword, f"{name}{vr}")
    dataset.PatientBirthDate, dataset.StudyDate, dataset.StudyTime = BIRTH, STUDY, "081523"
    dataset.PatientAge, dataset.AcquisitionDateTime = "088Y", STUDY + "081523"
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = f"1.2.826.0.1.{7_770_000 + number}"
    dataset.SOPInstanceUID = f"1.2.826.0.2.{7_770_000 + number}"
    dataset.ImageComments = dataset.SeriesDescription = dataset.ProtocolName = f"{name} Chest PA"
    for keyword in ("Laterality", "PatientOrientation", "VOILUTFunction", "PresentationLUTShape", "BurnedInAnnotation"):
        setattr(dataset, keyword, name)
    dataset.ViewPosition = f"PA {name}"
    dataset.BodyPartExamined = f"CHEST {name}"
    block = dataset.private_block(0x0009, f"{name} MAKER", create=True)
    for element, vr in enumerate(("LO", "PN", "UT", "ST", "SH"), 1):
        block.add_new(element, vr, f"{name}{vr}")
    nested = Dataset()
    nested.PatientName, nested.PatientID = f"{name}^NESTED", f"{name}NESTED"
    block.add_new(9, "SQ", [nested])
    dataset.OtherPatientIDsSequence = dataset.ViewCodeSequence = dataset.AnatomicRegionSequence = [nested]
    nested.CodeMeaning = f"{name} chest"
    return dataset


def spoiled(number: int) -> Iterator[Dataset]:
    """Radiographs that are rejected, each by another rule, with an identifier in the field that is to blame."""
    name = f"{PLANTED}{number:03d}"
    for keyword in ("Modality", "PhotometricInterpretation"):
        dataset = planted(number)
        setattr(dataset, keyword, name)
        dataset.PixelData = b"short"
        yield dataset
    lateral = planted(number)
    lateral.ViewPosition = f"LATERAL {name}"
    yield lateral
    knee = planted(number)
    knee.BodyPartExamined = f"KNEE {name}"
    yield knee
    syntax = planted(number)
    syntax.file_meta.TransferSyntaxUID = JPEG2000Lossless
    syntax.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\4\0\0\0" + name.encode()[:4]
    syntax["PixelData"].is_undefined_length = True
    yield syntax


@pytest.mark.filterwarnings("ignore")
def test_no_identifier_is_in_what_the_reader_gives_but_in_the_ids_to_be_hashed(tmp_path: Path) -> None:
    save(planted(1), tmp_path / "a")
    picture = read_dicom_picture(tmp_path, Record("a"), config(tmp_path))
    assert picture.record.patient_id == f"{PLANTED}001LO"
    told = repr((picture.record.subject, picture.notes, picture.pixel_spacing_mm, picture.record.text))
    assert PLANTED not in told
    assert BIRTH not in told
    for number, dataset in enumerate(spoiled(2)):
        save(dataset, tmp_path / str(number))
        with pytest.raises(RejectedImageError) as caught:
            read_dicom_picture(tmp_path, Record(str(number)), config(tmp_path))
        assert PLANTED not in str(caught.value)
        assert PLANTED not in caught.value.rule


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_identifier_is_in_a_dataset(tmp_path: Path) -> None:
    """The whole output byte for byte, compressed pieces of PNGs inflated, file names too."""
    folder = tmp_path / f"{PLANTED}hospital"
    for number in range(6):
        save(planted(number), folder / f"{PLANTED}{number:03d}^JANE" / f"{PLANTED}.{number}.dcm")
    for number, dataset in enumerate(spoiled(90)):
        save(dataset, folder / f"{PLANTED}bad" / f"{PLANTED}{number}.dcm")
    (folder / f"{PLANTED}.dcm").write_bytes(b"no DICOM")
    rows = "".join(f"{PLANTED}{number:03d}SH,No pneumothorax.\n" for number in range(3))
    (folder / "reports.csv").write_text(f"accession,report\n{rows}")
    key, out = tmp_path / "keys" / "patient.key", tmp_path / "dataset"
    prepare(PrepareConfig(source_path=folder, out=out, source="dicom", resolution=64, key=key, skip_checks=["all"]))

    files = [path for path in out.rglob("*") if path.is_file()]
    written = [json.loads(line) for path in out.rglob("metadata.jsonl") for line in path.read_text().splitlines()]
    assert len(written) == 8  # without the rules, the lateral and the knee are two more of one patient
    assert {row["age"] for row in written} == {88}
    assert len({row["patient_id"] for row in written}) == 7
    assert sum(1 for path in files if path.suffix == ".png") >= 6
    secrets = (PLANTED, BIRTH, STUDY, "081523", "1.2.826.0", "JANE", str(tmp_path), key.read_text().strip())
    for path in files:
        content = path.read_bytes()
        for text in (content, *inflated(content), str(path.relative_to(out)).encode()):
            for secret in secrets:
                assert secret.encode() not in text, (path, secret)
                assert secret.encode("utf-16-le") not in text, (path, secret)
    (links,) = key.parent.glob("links-*.jsonl")
    assert PLANTED in links.read_text()


@pytest.mark.slow
def test_a_name_in_the_pixels_is_removed(tmp_path: Path) -> None:
    from synthcxr.data.burned_in import check_burned_in

    chest = cv2.GaussianBlur((xray(1, 512) // 16).astype(np.uint8), (0, 0), 4)
    cv2.putText(chest, "DOE JANE 1961", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2, cv2.LINE_AA)
    save(make(chest.astype(np.uint16) * 16, WindowCenter=2048, WindowWidth=4096), tmp_path / "in" / "a")
    out = tmp_path / "out"
    options: dict[str, Any] = {"key": tmp_path / "k", "resolution": 512, "skip_checks": ["all"], "source": "dicom"}
    prepare(PrepareConfig(source_path=tmp_path / "in", out=out, burned_in="clean", **options))
    (image,) = out.glob("*/*.png")
    assert check_burned_in(read_grey(image), "flag").found == 0
    row = json.loads(next(out.glob("*/metadata.jsonl")).read_text())
    assert row["burned_in_text"] is True


def inflated(content: bytes) -> Iterator[bytes]:
    """Every zlib stream in a file, inflated: a PNG's pixels, its zTXt and iTXt."""
    place = -1
    while (place := content.find(b"\x78", place + 1)) >= 0:
        try:
            yield zlib.decompressobj().decompress(content[place:])
        except zlib.error:
            continue
