"""Open a DICOM file within limits of size: recognised by what it holds, never by its name."""

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from synthcxr.data.records import RejectedImageError
from synthcxr.images import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset

MAXIMUM_BYTES = 2**28
"""Largest file, and largest dataset in a deflated file: an X-ray of 8,000 by 8,000 pixels takes half of it."""
HEAD_BYTES = 1024
"""As much of a file as is looked at to recognise it."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
DIRECTORY = b"1.2.840.10008.1.3.10"
"""Media Storage SOP Class UID of a DICOMDIR."""

KEYWORDS = (
    # what kind of object it is
    *("SOPClassUID", "Modality", "ImageType", "PresentationIntentType", "BodyPartExamined", "AnatomicRegionSequence"),
    *("ViewPosition", "ViewCodeSequence", "PatientOrientation", "Laterality", "ImageLaterality", "SeriesDescription"),
    *("ProtocolName", "BurnedInAnnotation", "NumberOfFrames"),
    # of whom and when; none of these leaves as it is
    *("PatientID", "PatientAge", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "AccessionNumber"),
    *("StudyDate", "AcquisitionDate", "ContentDate", "SpecificCharacterSet"),
    # the pixels
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"),
    *("NominalScannedPixelSpacing", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth", "PresentationLUTShape"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "ExtendedOffsetTable"),
    *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData", "ExtendedOffsetTableLengths"),
    *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)
"""All that is ever read of a file; every other element, private ones among them, is passed over."""


def recognise(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` are those of a DICOM file, with a preamble (PS3.10 section 7.1) or without."""
    return has_preamble(head) or _begins_with_element(head)


def has_preamble(head: bytes) -> bool:
    """Whether the mark ``DICM`` lies at byte 128."""
    return head[128:132] == b"DICM"


def _begins_with_element(head: bytes) -> bool:
    """Whether it begins with an element of group 2 or 8, of short length, as a file without preamble does."""
    if len(head) < 16 or head[:2] not in (b"\2\0", b"\0\2", b"\x08\0", b"\0\x08"):
        return False
    order: Literal["little", "big"] = "little" if head[1] == 0 else "big"
    explicit = head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"DA", b"SH", b"LO", b"SQ")
    element = int.from_bytes(head[2:4], order)
    length = int.from_bytes(head[6:8] if explicit else head[4:8], order)
    return element < 0x0200 and (explicit or (order == "little" and length <= 256))


def read_head(path: Path) -> bytes:
    """The first bytes of a file. Raises UnreadableImageError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableImageError(f"the file cannot be opened: {error.strerror}") from None


def open_dataset(path: Path) -> "Dataset":
    """The elements of `KEYWORDS` of a file.

    Raises RejectedImageError by the rules ``not-dicom`` and ``too-large``, UnreadableImageError where the file cannot
    be opened or is no sound DICOM.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    head = read_head(path)
    if not recognise(head):
        raise RejectedImageError("not-dicom", "the file is no DICOM")
    try:
        with path.open("rb") as file:
            _check_size(file, head)
            dataset = dcmread(file, force=not has_preamble(head), specific_tags=list(KEYWORDS))
    except RejectedImageError:
        raise
    except Exception:  # pydicom raises of every kind on a broken file, and its words may quote the header
        raise UnreadableImageError("the DICOM header is broken") from None
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        native = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = native
    return dataset


def _check_size(file: BinaryIO, head: bytes) -> None:
    """Refuse a file, or a deflated dataset, of more than `MAXIMUM_BYTES`; leave the file at its beginning."""
    too_large = RejectedImageError("too-large", f"the file holds more than {MAXIMUM_BYTES >> 20} MiB, a bomb")
    if file.seek(0, 2) > MAXIMUM_BYTES:
        raise too_large
    if DEFLATED in head:
        from pydicom.filereader import read_file_meta_info

        meta = read_file_meta_info(file.name)
        file.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflater.decompress(file.read(), MAXIMUM_BYTES)
        if inflater.unconsumed_tail:
            raise too_large
    file.seek(0)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and gdcm from warning of every oddity: what matters becomes a reason or a note, once an image."""
    import gdcm
    from pydicom import config

    logger = logging.getLogger("pydicom")
    level, mode = logger.level, config.settings.reading_validation_mode
    logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    for hush in (gdcm.Trace.DebugOff, gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff):
        hush()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        config.settings.reading_validation_mode = mode
