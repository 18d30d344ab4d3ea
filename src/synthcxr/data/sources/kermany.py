"""Kermany, Zhang, Goldbaum, Mendeley Data v2 (Cell 2018): 5,856 AP images of children of one to five years, Guangzhou.

As the publisher gives it:                            As it lies on Kaggle (chest-xray-pneumonia):
    chest_xray/train/NORMAL/NORMAL-1003233-0001.jpeg      chest_xray/train/NORMAL/IM-0115-0001.jpeg, NORMAL2-IM-…
    chest_xray/train/PNEUMONIA/BACTERIA-1008087-0001.jpeg chest_xray/train/PNEUMONIA/person1_bacteria_1.jpeg
    chest_xray/test/…/VIRUS-….jpeg                        chest_xray/test/…, chest_xray/val/…

The publisher names files (disease)-(randomized patient)-(image of the patient). On Kaggle a person's number occurs with
bacteria and with virus, and in training and test: it counts as one patient, and so do IM-… and NORMAL2-IM-… of one
number. Written from the publisher's documentation; the names were checked against 1,300 of the real images.
"""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Record, Source
from synthcxr.data.sources.files import list_files, reject_the_rest
from synthcxr.data.sources.tables import licence_of, root_of, with_options
from synthcxr.errors import UsageError
from synthcxr.prompts import NO_FINDING, Subject

LICENCE = (
    "Kermany, Zhang, Goldbaum, Labeled Optical Coherence Tomography and Chest X-Ray Images, Mendeley Data v2 "
    "(doi:10.17632/rscbjbr9sj.2): CC BY 4.0."
)
AGES = (1, 5)
CLASSES = ("NORMAL", "PNEUMONIA")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
KINDS = {"bacteria": "Bacterial pneumonia", "virus": "Viral pneumonia"}
PATIENTS = (
    re.compile(r"(?P<kind>BACTERIA|VIRUS|NORMAL)-(?P<patient>\d+)-\d+", re.IGNORECASE | re.ASCII),
    re.compile(r"(?P<patient>person\d+)_(?P<kind>bacteria|virus)_\d+", re.IGNORECASE | re.ASCII),
    re.compile(r"(?:NORMAL2-)?(?P<patient>IM-\d+)(?:-\d+)+", re.IGNORECASE | re.ASCII),
)


def recognise(path: Path) -> str:
    """A folder with the split folders and the two classes in them."""
    folder = path / "chest_xray" if (path / "chest_xray").is_dir() else path
    found = all((folder / "train" / name).is_dir() for name in CLASSES)
    return "train/NORMAL and train/PNEUMONIA lie there" if found and (folder / "test").is_dir() else ""


def read(config: PrepareConfig) -> Source:
    """Every image of the two classes; the class and the patient are in its path."""
    root = root_of(config)
    source = Source(root, licence=licence_of(config, LICENCE), public_ids=True)
    files = list_files(root)
    for name in files.names:
        if set(PurePosixPath(name).parts[:-1]) & set(CLASSES):
            try:
                source.records.append(with_options(read_name(name), config))
            except ValueError as error:
                source.reject(name, str(error), "name")
    if not source.records:
        raise UsageError(f"There is no image in NORMAL or PNEUMONIA below {root}. Give the folder chest_xray.")
    reject_the_rest(source, files, reason="it lies in neither NORMAL nor PNEUMONIA")
    _keep_patients_apart(source)
    source.notes.append("Ages are known as one to five years only, sexes are not.")
    return source


def read_name(name: str) -> Record:
    """The record of an image by its path. Raises ValueError where the file name names no patient."""
    path = PurePosixPath(name)
    match = next(filter(None, (pattern.fullmatch(path.stem) for pattern in PATIENTS)), None)
    if match is None:
        raise ValueError("the file name names no patient as the publisher's names do")
    kind = KINDS.get(match.groupdict().get("kind", "").lower(), "Pneumonia")
    findings = (NO_FINDING,) if "NORMAL" in path.parts else (kind,)
    split = next((SPLITS[part] for part in path.parts if part in SPLITS), None)
    return Record(name, match["patient"], subject=Subject(age_range=AGES, view="AP", findings=findings), split=split)


def _keep_patients_apart(source: Source) -> None:
    """Drop the publisher's split where it has a patient on both sides."""
    homes: dict[str, set[str | None]] = {}
    for record in source.records:
        homes.setdefault(record.patient_id, set()).add(record.split)
    if torn := sum(len(splits) > 1 for splits in homes.values()):
        source.records = [replace(record, split=None) for record in source.records]
        source.notes.append(f"The publisher's split is not used: {torn} patients are in more than one part of it.")
