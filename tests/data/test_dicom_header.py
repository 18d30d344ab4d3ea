"""What a header says of patient and view, checked against sense, and which objects are left out."""

from typing import Any

import pytest
from pydicom import Dataset

from synthcxr.data.dicom.file import quiet
from synthcxr.data.dicom.header import (
    RULES,
    Header,
    check_object,
    name_view,
    parse_age,
    parse_date,
    read_header,
    view_of,
)
from synthcxr.data.records import RejectedImageError
from tests.data.dicom_files import make, pattern


def item(meaning: str) -> list[Dataset]:
    dataset = Dataset()
    dataset.CodeMeaning = meaning
    return [dataset]


def header(**elements: Any) -> Header:
    with quiet():
        return read_header(make(pattern(), **elements))


def rule_of(skipped: tuple[str, ...] = (), **elements: Any) -> str:
    with quiet():
        try:
            check_object(make(pattern(), **elements), skipped)
        except RejectedImageError as error:
            return error.rule
    return ""


# --- age and sex ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("055Y", 55),
        ("018M", 1),
        ("003W", 0),
        ("010D", 0),
        ("120Y", 120),
        ("121Y", None),
        ("999Y", None),
        ("000Y", 0),
        ("55Y", 55),
        ("55", None),
        ("Y", None),
        ("-05Y", None),
        ("05.Y", None),
        ("٠٥٥Y", None),
        ("", None),
    ],
)
def test_age_strings(written: str, years: int | None) -> None:
    assert parse_age(written) == years
    subject = header(PatientAge=written)
    assert subject.subject.age == years
    assert ("the age makes no sense" in subject.notes) == (years is None and written != "")


@pytest.mark.parametrize(
    ("born", "studied", "age"),
    [
        ("19700615", "20200614", 49),
        ("19700615", "20200615", 50),
        ("1970.06.15", "20200615", 50),
        ("20000229", "20200228", 19),
        ("20200615", "20200601", None),
        ("18000101", "20200601", None),
        ("19701315", "20200601", None),
        ("", "20200601", None),
        ("19700615", "", None),
    ],
)
def test_age_by_dates_where_none_is_told(born: str, studied: str, age: int | None) -> None:
    found = header(PatientAge=None, PatientBirthDate=born, StudyDate=studied)
    assert found.subject.age == age
    assert bool(found.notes) == (age is None and born != "")


def test_a_told_age_goes_before_dates_and_a_wrong_one_after() -> None:
    dates = {"PatientBirthDate": "19700615", "StudyDate": "20200615"}
    assert header(PatientAge="051Y", **dates).notes == ()
    both = header(PatientAge="060Y", **dates)
    assert both.subject.age == 60
    assert "disagree" in both.notes[0]
    assert header(PatientAge="999Y", **dates).subject.age == 50


def test_dates() -> None:
    assert parse_date("20200229") is not None
    for wrong in ("20190229", "2020", "2020-02-29", "2020.0229", "00000000", "XXXXXXXX"):
        assert parse_date(wrong) is None


@pytest.mark.parametrize(
    ("written", "sex", "noted"),
    [("M", "M", False), ("f", "F", False), ("O", None, False), ("", None, False), ("X", None, True)],
)
def test_sex(written: str, sex: str | None, noted: bool) -> None:
    found = header(PatientSex=written)
    assert found.subject.sex == sex
    assert ("the sex makes no sense" in found.notes) == noted


# --- ids and remarks --------------------------------------------------------------------------------------


def test_a_patient_without_an_id_is_the_studys() -> None:
    assert header().patient_id == "P1"
    without = header(PatientID="")
    assert without.patient_id == without.study_id == "1.2.3.4"
    assert "no patient id" in without.notes[0]


def test_remarks() -> None:
    assert "burned in" in header(BurnedInAnnotation="YES").notes[0]
    assert "one side" in header(Laterality="L").notes[0]
    assert "mirrored" in header(PatientOrientation=["R", "F"]).notes[0]
    assert header(BurnedInAnnotation="NO", Laterality="", PatientOrientation=["L", "F"]).notes == ()


def test_broken_elements_count_as_missing() -> None:
    dataset = make(pattern())
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    for tag, vr, value in (
        (0x00181164, "DS", b"a\\b"),
        (0x00101010, "AS", b"\xff\xfe"),
        (0x00280030, "DS", b"1e999\\1"),
    ):
        dataset[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    with quiet():
        found = read_header(dataset)
    assert found.pixel_spacing_mm is None
    assert found.subject.age is None
    assert "the age makes no sense" in found.notes
    assert "a pixel spacing makes no sense" in found.notes


# --- the view ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "view"),
    [
        ("PA", "PA"),
        ("AP", "AP"),
        ("pa", "PA"),
        ("antero-posterior", "AP"),
        ("postero-anterior", "PA"),
        ("POSTERO_ANTERIOR", ""),
        ("W Chest P.A.", ""),
        ("Chest AP portable", "AP"),
        ("THORAX PA", "PA"),
        ("LL", "other"),
        ("LATERAL", "other"),
        ("left lateral", "other"),
        ("W Chest Lat.", "other"),
        ("CHEST PA+LAT", ""),
        ("CHEST PA/LAT", ""),
        ("AP/PA", ""),
        ("LAO", "other"),
        ("AP LLD", "other"),
        ("AP AXIAL", "other"),
        ("LORDOTIC", "other"),
        ("PALLIATIVE PAPER", ""),
        ("CHEST", ""),
        ("", ""),
    ],
)
def test_names_of_views(words: str, view: str) -> None:
    assert name_view(words) == view


def test_the_first_field_that_tells_the_view_counts() -> None:
    assert view_of(make(pattern(), ViewPosition="AP", SeriesDescription="Chest PA")) == "AP"
    assert view_of(make(pattern(), ViewPosition="", ViewCodeSequence=item("postero-anterior"))) == "PA"
    assert view_of(make(pattern(), ViewPosition="", ViewCodeSequence=item("lateral"))) == "other"
    assert view_of(make(pattern(), ViewPosition="", SeriesDescription="Chest PA")) == "PA"
    assert view_of(make(pattern(), ViewPosition="", ProtocolName="CHEST LAT")) == "other"
    assert view_of(make(pattern(), ViewPosition="", PatientOrientation=["A", "F"])) == "other"
    assert view_of(make(pattern(), ViewPosition="", PatientOrientation=["L", "F"])) == ""
    assert view_of(make(pattern(), ViewPosition="", SeriesDescription="x", PatientOrientation="PATIENT")) == ""
    odd = header(ViewPosition="SOMETHING")
    assert odd.subject.view is None
    assert odd.notes == ("the view is none that is known",)


# --- what is no frontal chest radiograph ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "rule"),
    [
        ({}, ""),
        ({"Modality": "DX"}, ""),
        ({"Modality": "RG"}, ""),
        ({"Modality": None}, ""),
        ({"Modality": "OT"}, ""),
        ({"Modality": "CT"}, "not-chest"),
        ({"Modality": "MG"}, "not-chest"),
        ({"BodyPartExamined": None}, ""),
        ({"BodyPartExamined": "UNKNOWN"}, ""),
        ({"BodyPartExamined": "PORT CHEST"}, ""),
        ({"BodyPartExamined": "Thorax"}, ""),
        ({"BodyPartExamined": "KNEE"}, "not-chest"),
        ({"BodyPartExamined": "ABDOMEN"}, "not-chest"),
        ({"BodyPartExamined": "CHESTABDOMEN"}, "not-chest"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": item("Chest")}, ""),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": item("Hand")}, "not-chest"),
        ({"ViewPosition": "LL"}, "not-frontal"),
        ({"ViewPosition": "LATERAL"}, "not-frontal"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary-capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.1"}, ""),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for-processing"),
        ({"PresentationIntentType": "FOR PRESENTATION"}, ""),
        ({"PixelData": None}, "no-pixels"),
    ],
    ids=str,
)
def test_objects(elements: dict[str, Any], rule: str) -> None:
    assert rule_of(**elements) == rule
    if rule in RULES:
        assert rule_of((rule,), **elements) == ""
        assert rule_of(("all",), **elements) == ""
    elif rule:
        assert rule_of(("all",), **elements) == rule


def test_every_rule_can_be_named_to_skip_checks() -> None:
    from synthcxr.data.gate import parse_skip

    assert parse_skip(RULES) == frozenset(RULES)
