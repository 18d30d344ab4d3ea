"""A DICOM header without the patient: an allow list of elements, stricter than the basic profile of PS3.15 annex E.

The profile lists what has to go, and what it does not list may stay, private elements aside. Here all goes but what
says how the pixels are to be shown and how the X-ray was taken; none of these elements is in the profile's table.
It is made for projection X-rays: a slice of a CT would lose its place in the patient.
"""

from typing import TYPE_CHECKING, Any, Literal

from synthcxr.data.identity import pseudonym

if TYPE_CHECKING:
    from pydicom import Dataset

Profile = Literal["basic", "characteristics"]

KEPT = (
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "PresentationIntentType", "ConversionType", "ImageType"),
    *("BodyPartExamined", "AnatomicRegionSequence", "AnatomicRegionModifierSequence", "ViewPosition"),
    *("ViewCodeSequence", "ViewModifierCodeSequence", "PatientOrientation", "Laterality", "ImageLaterality"),
    *("KVP", "ExposureTime", "XRayTubeCurrent", "Exposure", "ExposureInuAs", "DistanceSourceToDetector"),
    *("DistanceSourceToPatient", "FilterType", "Grid", "FocalSpots", "BodyPartThickness", "RelativeXRayExposure"),
    *("ExposureIndex", "TargetExposureIndex", "DeviationIndex", "Sensitivity", "DetectorType", "AnodeTargetMaterial"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "LossyImageCompression"),
    *("LossyImageCompressionRatio", "LossyImageCompressionMethod", "PresentationLUTShape", "QualityControlImage"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("PixelSpacingCalibrationType", "SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PixelData"),
)
"""Elements that stay."""
IN_ITEMS = ("CodeValue", "CodingSchemeDesignator", "LUTDescriptor", "LUTData", "ModalityLUTType")
"""Elements that stay in the items of sequences: no text that a person wrote. CodeMeaning stays with a DICOM code."""
DICOM_CODES = ("DCM", "SCT", "SRT", "SNM3", "99SDM")
CHARACTERISTICS = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
EMPTY = (
    *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
    *("Manufacturer", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
)
"""Elements that have to be there and may be empty (type 2)."""
UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
OLDEST = 89
"""Years above which an age tells who somebody is (45 CFR 164.514); it becomes 90."""
CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113108": "Retain Patient Characteristics Option",
}
"""Codes of PS3.16, CID 7050."""


def deidentify(dataset: "Dataset", profile: Profile, key: bytes, *, free_of_text: bool) -> "Dataset":
    """A new dataset with the elements that stay, ids replaced by keyed ones, and the statement of what was done.

    One key gives a patient, study and series the same new ids in every file. `free_of_text` says whether the pixels
    were cleaned and nothing can be read in them.
    """
    from pydicom import Dataset

    new = Dataset()
    for element in dataset:
        if element.keyword in KEPT:
            new[element.tag] = element
            if element.VR == "SQ":
                new[element.tag].value = [_code_or_table(item) for item in element.value]
    for keyword in EMPTY:
        setattr(new, keyword, "")
    patient = pseudonym(key, "patient", str(dataset.get("PatientID", "")) or str(dataset.get("StudyInstanceUID", "")))
    new.PatientID, new.PatientName = patient, patient
    for keyword in UIDS:
        if keyword in dataset:
            setattr(new, keyword, new_uid(key, str(dataset.get(keyword))))
    new.SOPInstanceUID = new_uid(key, str(dataset.get("SOPInstanceUID", "")))
    new.StudyID, new.SeriesNumber, new.InstanceNumber = "", "", "1"
    if profile == "characteristics":
        _keep_characteristics(dataset, new)
    new.PatientIdentityRemoved = "YES"
    new.DeidentificationMethod = ["synthcxr clean", f"profile {profile}, by a list of elements that stay"]
    done = ["113100", *(["113101"] if free_of_text else []), *(["113108"] if profile == "characteristics" else [])]
    new.DeidentificationMethodCodeSequence = [_code(value) for value in done]
    return new


def new_uid(key: bytes, uid: str) -> str:
    """The UID that stands for another, the same for the same key."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[key.hex(), uid]))


def _keep_characteristics(dataset: "Dataset", new: "Dataset") -> None:
    for keyword in CHARACTERISTICS:
        value: Any = dataset.get(keyword)
        if value is None:
            continue
        if keyword == "PatientAge" and str(value)[-1:] == "Y" and str(value)[:-1].isdigit():
            value = f"{min(int(str(value)[:-1]), OLDEST + 1):03d}Y"
        setattr(new, keyword, value)


def _code_or_table(item: "Dataset") -> "Dataset":
    """An item of a sequence, of which only codes and tables of values are left."""
    from pydicom import Dataset

    new = Dataset()
    for element in item:
        if element.keyword in IN_ITEMS:
            new[element.tag] = element
    if str(item.get("CodingSchemeDesignator", "")) in DICOM_CODES and "CodeMeaning" in item:
        new.CodeMeaning = item.CodeMeaning
    return new


def _code(value: str) -> "Dataset":
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", CODES[value]
    return item
