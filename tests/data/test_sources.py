"""Every public collection from its publisher's layout to records: what is read, what is left out and why."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthcxr import PrepareConfig, prepare
from synthcxr.data.records import Record, RejectedImageError, Source
from synthcxr.data.sources import NAMES, module, read_source, recognise
from synthcxr.errors import UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.store import read_manifest
from tests.conftest import made_up_xray
from tests.data import layouts

RECOGNISED: list[tuple[Callable[[Path], Path], str, str]] = [
    (layouts.mimic_jpg, "mimic", "mimic-cxr-2.0.0-metadata.csv.gz"),
    (layouts.mimic_dicom, "mimic", "cxr-record-list.csv.gz"),
    (layouts.chexpert, "chexpert", "train.csv"),
    (layouts.chexpert_plus, "chexpert", "df_chexpert_plus"),
    (layouts.nih, "nih", "Data_Entry_2017.csv"),
    (layouts.padchest, "padchest", "PADCHEST"),
    (layouts.openi, "openi", "ecgen-radiology"),
    (layouts.openi_kaggle, "openi", "indiana_projections.csv"),
    (layouts.vindr, "vindr", "image_labels_test.csv"),
    (layouts.vinbigdata, "vindr", "train.csv"),
    (layouts.siim, "siim", "train-rle.csv"),
    (layouts.kermany, "kermany", "train/NORMAL"),
]


def config_of(path: Path, **options: object) -> PrepareConfig:
    return PrepareConfig.model_validate({"source_path": path, "out": path.parent / "out", **options})


def source_of(path: Path, **options: object) -> Source:
    return read_source(config_of(path, **options))


def by_name(source: Source) -> dict[str, Record]:
    return {record.name.rsplit("/", 1)[-1]: record for record in source.records}


def rules(source: Source) -> dict[str, str]:
    return {row["file"].rsplit("/", 1)[-1]: row["rule"] for row in source.rejected}


@pytest.mark.parametrize(("build", "name", "why"), RECOGNISED, ids=lambda value: getattr(value, "__name__", None))
def test_auto_says_what_it_took_a_folder_for_and_why(
    build: Callable[[Path], Path], name: str, why: str, tmp_path: Path
) -> None:
    root = build(tmp_path / "in")
    assert recognise(root) == (name, module(name).recognise(root)) and why in recognise(root)[1]
    for other in NAMES[NAMES.index(name) + 1 : NAMES.index("imagefolder")]:
        assert module(other).recognise(root) == ""
    source = source_of(root)
    assert any(f"--source {name}" in note and why in note for note in source.notes)
    assert source.licence != "unknown" and source.public_ids
    assert source_of(root, licence="ours").licence == "ours"
    assert source.restricted == (name not in ("nih", "kermany"))


@pytest.mark.parametrize("build", [row[0] for row in RECOGNISED], ids=lambda value: value.__name__)
def test_nothing_is_lost(build: Callable[[Path], Path], tmp_path: Path) -> None:
    """Every image is a record or rejected, once, and every record can be opened."""
    root = build(tmp_path / "in")
    layouts.image(root / "stray.png", 99)
    source = source_of(root)
    images = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix in (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
    ]
    told = Counter([record.name for record in source.records] + [row["file"] for row in source.rejected])
    assert all(told[name] == 1 for name in images)
    assert rules(source)["stray.png"] == "no-row"
    assert all(row["rule"] and row["reason"] for row in source.rejected)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_another_layout_is_a_wrong_call(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError):
        source_of(tmp_path / "in", source="csv" if name == "table" else name)


def test_mimic_cxr_jpg(tmp_path: Path) -> None:
    source = source_of(layouts.mimic_jpg(tmp_path / "in"))
    assert [record.split for record in source.records] == ["train", "validation", "test"]
    first, second, _ = source.records
    assert first.patient_id == "10000032" and first.study_id == "50414267"
    assert first.subject.view == second.subject.view == "PA"  # the second by the code of its view
    assert first.subject.findings == ("Edema",) and second.subject.findings == ("No Finding",)
    assert first.report_file == "files/p10/p10000032/s50414267.txt" and not first.report
    assert set(rules(source).values()) == {"not-frontal"} and len(source.rejected) == 3
    assert any("uncertain" in note for note in source.notes)
    assert len(source_of(tmp_path / "in", skip_checks=["not-frontal"]).records) == 6


def test_mimic_labels_of_negbio_where_chexpert_is_missing(tmp_path: Path) -> None:
    root = layouts.mimic_jpg(tmp_path / "in")
    chexpert = root / "mimic-cxr-2.0.0-chexpert.csv.gz"
    chexpert.rename(root / "mimic-cxr-2.0.0-negbio.csv.gz")
    source = source_of(root)
    assert source.records[0].subject.findings == ("Edema",)
    assert "Findings are the positive labels of mimic-cxr-2.0.0-negbio.csv.gz." in source.notes


def test_mimic_cxr_in_dicom_takes_the_view_from_the_header(tmp_path: Path) -> None:
    root = layouts.mimic_dicom(tmp_path / "in")
    source = source_of(root)
    frontal, lateral = source.records
    picture = source.read(root, frontal, config_of(root))
    assert picture.record.subject.view == "PA" and picture.record.patient_id == "10000032"
    assert picture.record.report_file == "mimic-cxr-reports/files/p10/p10000032/s50414267.txt"
    with pytest.raises(RejectedImageError) as error:
        source.read(root, lateral, config_of(root))
    assert error.value.rule == "not-frontal"
    assert source.read(root, lateral, config_of(root, skip_checks=["not-frontal"])).image.size


def test_ids_of_mimic_never_become_a_path_out_of_the_folder(tmp_path: Path) -> None:
    root = layouts.mimic_jpg(tmp_path / "in")
    row = ("../../../secret", "10000032", "50414267")
    layouts.table(root / "mimic-cxr-2.0.0-metadata.csv.gz", [("dicom_id", "subject_id", "study_id"), row])
    source = source_of(root)
    assert "no id of MIMIC-CXR" in source.rejected[0]["reason"] and not source.records


def test_chexpert(tmp_path: Path) -> None:
    source = source_of(layouts.chexpert(tmp_path / "any name"))
    records = {record.patient_id: record for record in source.records}
    assert set(records) == {"patient00001", "patient00002", "patient64541"}
    assert records["patient00002"].subject.age == 87 and records["patient00002"].subject.sex == "M"
    assert records["patient00002"].subject.findings == ("Edema",) and records["patient00002"].subject.view == "PA"
    assert records["patient00002"].study_id == "patient00002/study2"
    last = records["patient64541"]
    assert last.split == "validation" and last.subject.age is None and last.subject.sex is None
    assert last.subject.findings == ("Support Devices",)  # “No Finding” is said of the chest, not of the device
    assert rules(source) == {"view2_lateral.jpg": "not-frontal"}


def test_chexpert_as_downloaded_in_batches(tmp_path: Path) -> None:
    root = layouts.chexpert(tmp_path / "in", "CheXpert-v1.0")
    (root / "train").rename(root / "CheXpert-v1.0 batch 2 (train 1)")
    assert {record.split for record in source_of(root).records} == {"train", "validation"}


def test_chexpert_plus(tmp_path: Path) -> None:
    (record,) = source_of(layouts.chexpert_plus(tmp_path / "in")).records
    assert record.name == "PNG/train/patient42142/study5/view1_frontal.png" and record.split == "train"
    assert record.report == "FINDINGS: Clear\nlungs.\nIMPRESSION: No" and record.subject.age == 91


@pytest.mark.parametrize("edition", ["Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv.gz"])
def test_nih(edition: str, tmp_path: Path) -> None:
    source = source_of(layouts.nih(tmp_path / "in", edition))
    records = by_name(source)
    assert [record.subject.age for record in source.records] == [58, 59, None, 1]
    assert records["00000001_001.png"].subject.findings == ("Cardiomegaly", "Pleural_Thickening")
    assert records["00000002_000.png"].subject.findings == ("No Finding",)
    assert [record.split for record in source.records] == ["train", "train", "train", "test"]
    assert "In 1 of the rows the age makes no sense and counts as unknown." in source.notes
    assert source_of(tmp_path / "in" / edition).records == source.records


def test_padchest(tmp_path: Path) -> None:
    source = source_of(layouts.padchest(tmp_path / "in"))
    records = by_name(source)
    assert set(records) == {"a.png", "c.png", "d.png", "g.png"}
    assert records["a.png"].subject.age == 84 and records["a.png"].subject.findings == ("No Finding",)
    assert records["a.png"].language == "es" and records["a.png"].report.startswith("sin hallazg")
    assert records["c.png"].subject.view == "AP" and records["c.png"].subject.findings == ("NSG tube",)
    assert records["c.png"].report == "" and (records["c.png"].subject.age, records["c.png"].subject.sex) == (
        None,
        None,
    )
    assert records["d.png"].subject.age is None and records["d.png"].subject.findings == ()
    assert records["g.png"].subject.view is None
    assert rules(source) == {"b.png": "not-frontal", "e.png": "excluded", "f.png": "excluded"}


def test_padchest_grey_levels_fill_the_range_whatever_the_bits(tmp_path: Path) -> None:
    source = source_of(layouts.padchest(tmp_path / "in"))
    config = config_of(tmp_path / "in")
    for number, name in ((0, "a.png"), (2, "c.png")):
        picture = source.read(source.root, by_name(source)[name], config)
        difference = picture.image.astype(int) - made_up_xray(number)
        assert np.abs(difference).max() <= 1
        assert bool(picture.notes) == (number == 0)


@pytest.mark.parametrize(
    "labels", ["['a'", "{'a': 1}", "[1]", "__import__('os').system('true')", "[" * 9000, "(" * 9000]
)
def test_labels_of_padchest_are_read_as_a_list_and_never_run(labels: str, tmp_path: Path) -> None:
    root = layouts.padchest(tmp_path / "in")
    path = root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
    path.write_text(path.read_text().replace("\"['normal']\"", "['normal']").replace("['normal']", f'"{labels}"', 1))
    source = source_of(root)
    assert rules(source)["a.png"] == "row" and "not a list" in source.rejected[0]["reason"]


def test_openi(tmp_path: Path) -> None:
    source = source_of(layouts.openi(tmp_path / "in"))
    records = by_name(source)
    first = records["CXR1_1_IM-0001-3001.png"]
    assert first.subject.age == 55 and first.subject.view is None and first.subject.findings == ("No Finding",)
    assert first.report == "COMPARISON: None.\nFINDINGS: Clear.\nIMPRESSION: Fine." and first.patient_id == "CXR1"
    assert records["2_IM-0652-1001.dcm"].subject.findings == ("Opacity",)
    assert rules(source) == {"CXR1_1_IM-0001-4001.png": "not-frontal", "3.xml": "report"}
    bare = source_of(layouts.openi(tmp_path / "bare", headers=False))
    assert len(bare.records) == 3 and any("no view" in note for note in bare.notes)


def test_openi_as_on_kaggle(tmp_path: Path) -> None:
    source = source_of(layouts.openi_kaggle(tmp_path / "in"))
    records = by_name(source)
    assert set(records) == {"1_IM-0001-4001.dcm.png", "2_IM-0652-1001.dcm.png"}
    assert records["2_IM-0652-1001.dcm.png"].subject.findings == ("Opacity", "Cardiomegaly", "Aorta tortuous")
    assert "FINDINGS: Clear\nlungs." in records["1_IM-0001-4001.dcm.png"].report
    assert rules(source) == {"1_IM-0001-3001.dcm.png": "not-frontal", "3_IM-0001-1.dcm.png": "row"}


def test_vindr(tmp_path: Path) -> None:
    source = source_of(layouts.vindr(tmp_path / "in"))
    records = {record.patient_id[0]: record for record in source.records}
    assert records["a"].subject.findings == ("Cardiomegaly",)  # two of three said so; of effusion one of three
    assert records["b"].subject.findings == ("No Finding",)
    assert records["c"].subject.findings == ("Other diseases",) and records["c"].split == "test"
    assert {record.subject.view for record in source.records} == {"PA"}
    picture = source.read(source.root, records["a"], config_of(tmp_path / "in"))
    assert picture.record.subject.age == 61 and picture.record.subject.sex == "F"


def test_vinbigdata(tmp_path: Path) -> None:
    source = source_of(layouts.vinbigdata(tmp_path / "in"))
    assert [record.subject.findings for record in source.records] == [("No Finding",), ("Nodule/Mass",)]
    assert "competition" in source.licence and rules(source) == {f"{'c' * 32}.png": "no-row"}


def test_siim(tmp_path: Path) -> None:
    source = source_of(layouts.siim(tmp_path / "in"))
    assert [record.subject.findings for record in source.records] == [(), ("Pneumothorax",)]
    assert list(rules(source).values()) == ["no-row"]
    picture = source.read(source.root, source.records[1], config_of(tmp_path / "in"))
    assert picture.record.patient_id == "patient 2" and picture.record.subject.view == "AP"


def test_kermany(tmp_path: Path) -> None:
    source = source_of(layouts.kermany(tmp_path / "in"))
    records = by_name(source)
    bacteria = records["BACTERIA-1008087-0002.jpeg"]
    assert bacteria.patient_id == "1008087" and bacteria.subject.findings == ("Bacterial pneumonia",)
    assert bacteria.subject.age_range == (1, 5) and bacteria.subject.view == "AP" and bacteria.split == "train"
    assert records["NORMAL-1049278-0001.jpeg"].subject.findings == ("No Finding",)


def test_kermany_as_on_kaggle_has_no_split_that_keeps_patients_apart(tmp_path: Path) -> None:
    source = source_of(layouts.kermany(tmp_path / "in", layouts.KERMANY_KAGGLE))
    patients = {record.name.rsplit("/", 1)[-1]: record.patient_id for record in source.records}
    assert patients["person1_bacteria_1.jpeg"] == patients["person1_virus_6.jpeg"] == "person1"
    assert patients["IM-0511-0001-0002.jpeg"] == "IM-0511" and patients["NORMAL2-IM-0383-0001.jpeg"] == "IM-0383"
    assert {record.split for record in source.records} == {None}
    assert any("1 patients are in more than one part" in note for note in source.notes)


def test_a_name_that_tells_no_patient_is_rejected(tmp_path: Path) -> None:
    root = layouts.kermany(tmp_path / "in")
    layouts.image(root / "chest_xray/train/NORMAL/picture.jpeg")
    assert rules(source_of(root)) == {"picture.jpeg": "name"}


def test_a_collection_becomes_a_dataset_with_its_terms(tmp_path: Path) -> None:
    out = prepare(config_of(layouts.nih(tmp_path / "in"), skip_checks=["all"], resolution=32))
    rows = read_rows(out)
    assert {row.split for row in rows} == {"train", "test"} and len(rows) == 4
    (entry,) = read_manifest(out, "dataset")["sources"]
    assert "NIH Clinical Center" in entry["licence"] and entry["restricted"] is False
