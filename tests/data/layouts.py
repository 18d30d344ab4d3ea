"""Made-up collections in the folder layouts of the publishers: tiny images, rows with the right columns."""

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from synthcxr.images import write_png
from tests.conftest import made_up_xray
from tests.data.dicom_files import make, pattern, save

Rows = Iterable[Sequence[object]]

MIMIC_PATIENTS = ((10000032, 50414267), (11000011, 51000001), (19999987, 58971208))
CHEXPERT_LABELS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <uId id="{study}"/>
   <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH>{mesh}</MeSH>
   {images}
</eCitation>
"""


def table(path: Path, rows: Rows) -> Path:
    """Write a CSV, gzipped where its name ends so."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def image(path: Path, seed: int = 0) -> Path:
    """A tiny PNG or JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        write_png(path, made_up_xray(seed))
    else:
        Image.fromarray(made_up_xray(seed)).save(path, "JPEG")
    return path


def dicom(path: Path, **elements: Any) -> Path:
    """A tiny DICOM."""
    return save(make(pattern(12, (64, 64)), **elements), path)


def labels(**values: float) -> list[object]:
    """Cells of CheXpert's 14 labels, by names with ``_`` for spaces; the others are empty."""
    return [values.get(name.replace(" ", "_"), "") for name in CHEXPERT_LABELS]


def mimic_jpg(root: Path) -> Path:
    """MIMIC-CXR-JPG: a PA and a lateral of each of three patients; the second has no view in its first field."""
    metadata: list[Sequence[object]] = [
        (
            "dicom_id",
            "subject_id",
            "study_id",
            "PerformedProcedureStepDescription",
            "ViewPosition",
            "Rows",
            "Columns",
            "StudyDate",
            "StudyTime",
            "ProcedureCodeSequence_CodeMeaning",
            "ViewCodeSequence_CodeMeaning",
            "PatientOrientationCodeSequence_CodeMeaning",
        )
    ]
    split: list[Sequence[object]] = [("dicom_id", "study_id", "subject_id", "split")]
    chexpert: list[Sequence[object]] = [("subject_id", "study_id", *CHEXPERT_LABELS)]
    for number, ((subject, study), part) in enumerate(zip(MIMIC_PATIENTS, ("train", "validate", "test"), strict=True)):
        for view, coded in (("" if number == 1 else "PA", "postero-anterior"), ("LATERAL", "lateral")):
            name = f"0{number}aa804e-bde0afdd-112c0b34-7bc16630-4e38401{coded[0]}"
            metadata.append((name, subject, study, "CHEST (PA AND LAT)", view, 64, 64, 21800506, 213014, "", coded, ""))
            split.append((name, study, subject, part))
            image(root / f"files/p{str(subject)[:2]}/p{subject}/s{study}/{name}.jpg", number)
        chexpert.append(
            (subject, study, *(labels(No_Finding=1.0) if number else labels(Edema=1.0, Pneumonia=-1.0, Fracture=0.0)))
        )
        report = root / f"files/p{str(subject)[:2]}/p{subject}/s{study}.txt"
        report.write_text("                 FINAL REPORT\n FINDINGS:  The lungs are clear.\n")
    table(root / "mimic-cxr-2.0.0-metadata.csv.gz", metadata)
    table(root / "mimic-cxr-2.0.0-split.csv.gz", split)
    table(root / "mimic-cxr-2.0.0-chexpert.csv.gz", chexpert)
    return root


def mimic_dicom(root: Path) -> Path:
    """MIMIC-CXR: a PA and a lateral, views in the headers only; reports as their archive unpacks."""
    rows: list[Sequence[object]] = [("subject_id", "study_id", "dicom_id", "path")]
    subject, study = MIMIC_PATIENTS[0]
    for name, view in (("02aa804e-bde0afdd", "PA"), ("174413ec-4ec4c1f7", "LL")):
        path = f"files/p10/p{subject}/s{study}/{name}.dcm"
        rows.append((subject, study, name, path))
        dicom(root / path, ViewPosition=view, PatientID=None)
    report = root / f"mimic-cxr-reports/files/p10/p{subject}/s{study}.txt"
    report.parent.mkdir(parents=True)
    report.write_text("IMPRESSION: No pneumothorax.\n")
    table(root / "cxr-record-list.csv.gz", rows)
    return root


def chexpert(root: Path, name: str = "CheXpert-v1.0-small") -> Path:
    """CheXpert: two training studies with a frontal and a lateral, a validation study."""
    head = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS)
    rows = {
        "train": [
            ("patient00001/study1/view1_frontal.jpg", "Female", 68, "Frontal", "AP", *labels(No_Finding=1.0)),
            ("patient00002/study2/view1_frontal.jpg", "Male", 87, "Frontal", "PA", *labels(Edema=1.0, Pneumonia=-1.0)),
            ("patient00002/study2/view2_lateral.jpg", "Male", 87, "Lateral", "", *labels(Edema=1.0)),
        ],
        "valid": [
            (
                *("patient64541/study1/view1_frontal.jpg", "Unknown", 0, "Frontal", "AP"),
                *labels(No_Finding=1.0, Support_Devices=1.0),
            ),
        ],
    }
    for part, found in rows.items():
        table(root / f"{part}.csv", [head, *((f"{name}/{part}/{row[0]}", *row[1:]) for row in found)])
        for row in found:
            image(root / part / str(row[0]))
    return root


def chexpert_plus(root: Path) -> Path:
    """CheXpert Plus: one frontal and one lateral; the table says .jpg where a PNG lies."""
    head: tuple[str, ...] = (
        "path_to_image",
        "path_to_dcm",
        "frontal_lateral",
        "ap_pa",
        "deid_patient_id",
        "patient_report_date_order",
    )
    head += ("report", "section_findings", "section_impression", "age", "sex", "race", "split")
    rows: list[Sequence[object]] = [head]
    for view, side, projection in (("view1_frontal", "Frontal", "AP"), ("view2_lateral", "Lateral", "")):
        path = f"train/patient42142/study5/{view}"
        rows.append(
            (
                f"{path}.jpg",
                f"{path}.dcm",
                side,
                projection,
                "patient42142",
                5,
                "whole\nreport",
                "Clear\nlungs.",
                "No",
                91,
                "Male",
                "",
                "train",
            )
        )
        image(root / "PNG" / f"{path}.png")
    table(root / "df_chexpert_plus_240401.csv", rows)
    return root


def nih(root: Path, edition: str = "Data_Entry_2017.csv") -> Path:
    """NIH ChestX-ray14: four images of three patients in two folders; an age of 411 years; the lists of the split."""
    head = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender"]
    head += ["View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""]
    rows = [
        ("00000001_000.png", "Cardiomegaly", 0, 1, "58", "M", "PA"),
        ("00000001_001.png", "Cardiomegaly|Pleural_Thickening", 1, 1, "059Y", "M", "PA"),
        ("00000002_000.png", "No Finding", 0, 2, "411", "F", "AP"),
        ("00000003_000.png", "Hernia", 0, 3, "018M", "F", "PA"),
    ]
    table(root / edition, [head, *((*row, 2682, 2749, 0.143, 0.143, "") for row in rows)])
    for number, row in enumerate(rows):
        image(root / f"images_00{number // 2 + 1}/images" / str(row[0]), number)
    (root / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\r\n00000002_000.png\n")
    (root / "test_list.txt").write_text("00000003_000.png")
    return root


def padchest(root: Path) -> Path:
    """PadChest: projections of every kind, an excluded image, a PNG of 12 bits in 16 and one of all 16."""
    head: tuple[str, ...] = (
        "",
        "ImageID",
        "ImageDir",
        "StudyDate_DICOM",
        "StudyID",
        "PatientID",
        "PatientBirth",
        "PatientSex_DICOM",
    )
    head += ("ViewPosition_DICOM", "Projection", "Pediatric", "ReportID", "Report", "MethodLabel", "Labels")
    rows = [
        ("a.png", 20140915, "p1", "1930.0", "F", "PA", "sin hallazg patolog .", "['normal']"),
        ("b.png", 20150914, "p2", "1929.0", "M", "L", "cifosis .", "['kyphosis']"),
        ("c.png", 20150101, "p2", "", "O", "AP_horizontal", "nan", "['NSG tube', ' unchanged', '', 'normal']"),
        ("d.png", 20150101, "p3", "1850.0", "M", "AP", "derram .", "nan"),
        ("e.png", 20150101, "p4", "1950.0", "M", "PA", "mal .", "['pleural effusion', 'exclude']"),
        ("f.png", 20150101, "p5", "1950.0", "M", "EXCLUDE", "", "['normal']"),
        ("g.png", 20150101, "p6", "1950.0", "M", "UNK", "", "['pleural effusion']"),
    ]
    full = [
        (n, name, n % 2, date, f"s{n}", person, birth, sex, "", view, "No", n, report, "Physician", found)
        for n, (name, date, person, birth, sex, view, report, found) in enumerate(rows)
    ]
    table(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", [head, *full])
    for number, row in enumerate(rows):
        values = made_up_xray(number).astype(np.uint16)
        path = root / str(number % 2) / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values * 257 if number else values * 16 + 15).save(path)
    return root


def openi(root: Path, *, headers: bool = True) -> Path:
    """OpenI: three reports, one of them with DICOM, one without images; the table of headers."""
    studies = {
        "CXR1": ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"),
        "CXR2": ("CXR2_IM-0652-1001",),
        "CXR3": (),
    }
    for number, (study, images) in enumerate(studies.items(), 1):
        mesh = ("<major>normal</major>", "<major>Opacity/lung/left</major><major>No Indexing</major>", "")[number - 1]
        parents = "".join(f'<parentImage id="{name}"><caption>Chest</caption></parentImage>' for name in images)
        text = REPORT.format(study=study, findings="Clear.", impression="Fine.", mesh=mesh, images=parents)
        (root / "ecgen-radiology").mkdir(parents=True, exist_ok=True)
        (root / f"ecgen-radiology/{number}.xml").write_text(text)
    for name in studies["CXR1"]:
        image(root / f"NLMCXR_png/{name}.png")
    dicom(root / "NLMCXR_dcm/2/2_IM-0652-1001.dcm", ViewPosition="PA")
    if headers:
        head = ("imageid", "Patient Orientation", "Patient's Birth Date", "Study Date", "View Position")
        rows: Rows = [
            head,
            ("CXR1_1_IM-0001-3001", "['L', 'F']", "19550820", "20110328", ""),
            ("CXR1_1_IM-0001-4001", "['A', 'F']", "19550820", "20110328", ""),
        ]
        table(root / "nlmcxr_dicom_metadata.csv.gz", rows)
    return root


def openi_kaggle(root: Path) -> Path:
    """OpenI as on Kaggle."""
    table(
        root / "indiana_reports.csv",
        [
            ("uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"),
            (1, "normal", "normal", "Xray", "Cough", "None.", "Clear\nlungs.", "Normal."),
            (
                2,
                "Opacity/lung;Cardiomegaly/mild;Aorta/tortuous;Lung/left",
                "Opacity;Cardiomegaly",
                "Xray",
                "",
                "",
                "",
                "Opacity.",
            ),
        ],
    )
    names = ("1_IM-0001-4001.dcm.png", "1_IM-0001-3001.dcm.png", "2_IM-0652-1001.dcm.png", "3_IM-0001-1.dcm.png")
    rows = [(1, names[0], "Frontal"), (1, names[1], "Lateral"), (2, names[2], "Frontal"), (3, names[3], "Frontal")]
    table(root / "indiana_projections.csv", [("uid", "filename", "projection"), *rows])
    for number, name in enumerate(names):
        image(root / "images/images_normalized" / name, number)
    return root


VINDR_LABELS = ("Aortic enlargement", "Cardiomegaly", "Pleural effusion", "Other disease", "No finding")


def vindr(root: Path) -> Path:
    """VinDr-CXR: three radiologists on each training image, a consensus on each test image."""
    rows: list[Sequence[object]] = [("image_id", "rad_id", *VINDR_LABELS)]
    for reader, (cardiomegaly, effusion) in zip(("R1", "R2", "R3"), ((1, 1), (1, 0), (0, 0)), strict=True):
        rows.append(("a" * 32, reader, 0, cardiomegaly, effusion, 0, int(not cardiomegaly)))
        rows.append(("b" * 32, reader, 0, 0, 0, 0, 1))
    table(root / "annotations/image_labels_train.csv", rows)
    table(root / "annotations/image_labels_test.csv", [("image_id", *VINDR_LABELS), ("c" * 32, 0, 0, 0, "1.0", "0.0")])
    for part, letter in (("train", "a"), ("train", "b"), ("test", "c")):
        dicom(root / part / f"{letter * 32}.dicom", ViewPosition=None, PatientAge="061Y", PatientSex="F")
    return root


def vinbigdata(root: Path) -> Path:
    """VinBigData on Kaggle: boxes; a test image without any."""
    rows: list[Sequence[object]] = [
        ("image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max")
    ]
    rows += [("a" * 32, "No finding", 14, reader, "", "", "", "") for reader in ("R1", "R2", "R3")]
    rows += [("b" * 32, "Nodule/Mass", 8, reader, 1, 2, 3, 4) for reader in ("R8", "R8", "R9")]
    rows += [("b" * 32, "Cardiomegaly", 3, "R10", 1, 2, 3, 4)]
    table(root / "train.csv", rows)
    for part, letter in (("train", "a"), ("train", "b"), ("test", "c")):
        image(root / part / f"{letter * 32}.png")
    return root


def siim(root: Path) -> Path:
    """SIIM-ACR: Secondary Capture objects; one with two masks, one without, one that the table does not know."""
    head = "1.2.276.0.7230010.3.1.4.8323329"
    rows = [(f"{head}.1", "-1"), (f"{head}.2", "557374 2 1015 8"), (f"{head}.2", "557 3")]
    table(root / "train-rle.csv", [("ImageId", " EncodedPixels"), *rows])
    for number, folder in ((1, "train"), (2, "train"), (3, "test")):
        dicom(
            root / f"dicom-images-{folder}/{head}.9{number}/{head}.8{number}/{head}.{number}.dcm",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.7",
            ViewPosition="AP",
            PatientID=f"patient {number}",
        )
    return root


KERMANY_KAGGLE = (
    "chest_xray/train/NORMAL/IM-0115-0001.jpeg",
    "chest_xray/train/NORMAL/NORMAL2-IM-0383-0001.jpeg",
    "chest_xray/train/NORMAL/IM-0511-0001-0002.jpeg",
    "chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg",
    "chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg",
    "chest_xray/val/PNEUMONIA/person1946_bacteria_4874.jpeg",
    "chest_xray/test/PNEUMONIA/person1_virus_6.jpeg",
    "chest_xray/test/NORMAL/IM-0001-0001.jpeg",
)
KERMANY = (
    "chest_xray/train/NORMAL/NORMAL-1003233-0001.jpeg",
    "chest_xray/train/PNEUMONIA/BACTERIA-1008087-0001.jpeg",
    "chest_xray/train/PNEUMONIA/BACTERIA-1008087-0002.jpeg",
    "chest_xray/test/PNEUMONIA/VIRUS-1018281-0001.jpeg",
    "chest_xray/test/NORMAL/NORMAL-1049278-0001.jpeg",
)


def kermany(root: Path, names: Sequence[str] = KERMANY) -> Path:
    """Kermany: the folders of the classes."""
    for number, name in enumerate(names):
        image(root / name, number)
    return root
