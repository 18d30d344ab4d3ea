"""A synthetic X-ray as a DICOM object: a Secondary Capture that says in every place where readers look what it is.

Secondary Capture, conversion type SYN (“synthetic image”, PS3.3 section C.8.6.1), and not Digital X-Ray: that object
must state a detector's pixel spacing, the beam's position and the part of a body that was exposed. None of it was.
"""

import io
from typing import TYPE_CHECKING, Any

from synthcxr.images import Grey
from synthcxr.store import Json

if TYPE_CHECKING:
    from pydicom import Dataset

WARNING = "SYNTHETIC - NOT FOR DIAGNOSIS"
OBJECTS = ("study", "series", "image")
"""What gets a UID of its own: every image is another person who never was, so it is a study of its own."""


def to_dicom(image: Grey, row: Json, made: Json, origin: str, *, free_of_text: bool) -> "Dataset":
    """A grey image (height, width), its row of a set and its provenance as a DICOM dataset, ready to be written.

    `origin` names the set: UIDs and the patient's id come from it and the file's name, so that one set always gives
    the same ones. `free_of_text` says whether a reader has looked for burned-in text and found none.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    uids: dict[str, Any] = {what: make_uid(origin, row["file_name"], what) for what in OBJECTS}
    number = f"{int(row['index']):06d}"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uids["image"]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    dataset = Dataset()
    dataset.file_meta = meta
    elements: Json = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": uids["image"],
        "SyntheticData": "YES",
        "PatientName": f"SYNTHETIC^{number}",
        "PatientID": f"SYNTHETIC-{origin[:8]}-{number}",
        "PatientBirthDate": "",
        "PatientSex": row.get("sex") if row.get("sex") in ("F", "M") else "",
        "PatientComments": "Not a person. Sex and age are what the image was asked to show.",
        "StudyInstanceUID": uids["study"],
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "1",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "StudyDescription": "SYNTHETIC chest X-ray",
        "Modality": "OT",
        "SeriesInstanceUID": uids["series"],
        "SeriesNumber": "1",
        "SeriesDescription": WARNING,
        "BodyPartExamined": "CHEST",
        "Manufacturer": "synthcxr",
        "ManufacturerModelName": fit(str(made.get("model", "")), 64),
        "SoftwareVersions": fit(str(made.get("environment", {}).get("synthcxr", "")), 64),
        "ConversionType": "SYN",
        "SecondaryCaptureDeviceManufacturer": "synthcxr",
        "InstanceNumber": "1",
        "ImageType": ["DERIVED", "SECONDARY"],
        "PatientOrientation": "",
        "ImageComments": fit(f"{WARNING}. Asked for: {row['text']}", 10240),
        "DerivationDescription": fit(describe(row, made), 1024),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": image.shape[0],
        "Columns": image.shape[1],
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    if isinstance(row.get("age"), int):
        elements["PatientAge"] = f"{row['age']:03d}Y"
    if free_of_text:
        elements["BurnedInAnnotation"] = "NO"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    data = image.tobytes()
    dataset.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return dataset


def make_uid(origin: str, file_name: str, what: str) -> str:
    """A UID from the names of a set, an image and an object, the same whenever it is asked for."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[origin, file_name, what]))


def describe(row: Json, made: Json) -> str:
    """How the image was made, in one line: enough to draw it again."""
    names = ("model", "model_sha256", "adapter_sha256")
    settings = ("seed", "index", "attempt", "steps", "guidance", "scheduler", "negative_prompt", "strength")
    told = {name: made[name] for name in names if made.get(name)} | {
        name: row[name] for name in settings if row.get(name) not in (None, "")
    }
    return "Drawn by a diffusion model: " + ", ".join(f"{name} {value}" for name, value in told.items())


def fit(text: str, longest: int) -> str:
    """A text without what DICOM's fields do not take (backslashes, control characters), and no longer than they are."""
    plain = "".join(c if c.isprintable() and c != "\\" else " " for c in text)
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def encode_dicom(dataset: "Dataset") -> bytes:
    """The bytes of a DICOM file, the same for the same dataset. Raises ValueError where it breaks the standard."""
    buffer = io.BytesIO()
    settings: dict[str, Any] = {"enforce_file_format": True}
    dataset.save_as(buffer, **settings)
    return buffer.getvalue()
