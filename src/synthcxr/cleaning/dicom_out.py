"""DICOM in, DICOM out: the stored values outside the mask are those of the input, and the header says what was done."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr import __version__
from synthcxr.cleaning.deidentify import Profile, deidentify
from synthcxr.cleaning.picture import Picture, Values, with_full_range
from synthcxr.data.dicom.display import to_grey_levels
from synthcxr.data.dicom.file import open_dataset, quiet
from synthcxr.data.dicom.header import frame_count
from synthcxr.data.dicom.pixels import Stored, read_stored_values
from synthcxr.data.dicom.values import text
from synthcxr.data.records import RejectedImageError
from synthcxr.images import Grey, UnreadableImageError
from synthcxr.store import sha256_bytes

if TYPE_CHECKING:
    from pydicom import Dataset

LOSSY = {
    "JPEGBaseline8Bit": "ISO_10918_1",
    "JPEGExtended12Bit": "ISO_10918_1",
    "JPEGLSNearLossless": "ISO_14495_1",
    "JPEG2000": "ISO_15444_1",
    "HTJ2K": "ISO_15444_15",
}
"""Transfer syntaxes whose pixels have lost something, and the code of their method (PS3.3 section C.7.6.1.1.5)."""
STALE = (
    *("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "ExtendedOffsetTable"),
    *("ExtendedOffsetTableLengths", "PixelDataProviderURL", "DataSetTrailingPadding"),
)
"""Elements that show, or vouch for, the pixels as they were."""
OF_COLOUR = (
    "PlanarConfiguration",
    *(
        f"{colour}PaletteColorLookupTable{what}"
        for colour in ("Red", "Green", "Blue")
        for what in ("Descriptor", "Data")
    ),
)


@dataclass(frozen=True)
class DicomImage:
    """A DICOM file: its whole dataset, its stored values (rows, columns) as they are, and the same as a picture.

    The picture's values are the stored ones moved up to where they are not negative.
    """

    dataset: "Dataset"
    stored: Stored
    picture: Picture


def read_dicom(path: Path) -> DicomImage:
    """Read a DICOM file of one grey frame, of any part of the body. Raises RejectedImageError, UnreadableImageError."""
    from pydicom import dcmread

    notes: list[str] = []
    with quiet():
        pixels = open_dataset(path)
        if "PixelData" not in pixels:
            raise RejectedImageError("no-pixels", "the file holds no image")
        if frame_count(pixels) > 1:
            raise RejectedImageError("multi-frame", "it has several frames; only single X-rays are cleaned")
        stored = read_stored_values(pixels, "one", notes)
        grey = to_grey_levels(pixels, stored, "auto", notes)
        try:
            dataset = dcmread(path, force=True)
            dataset.file_meta.TransferSyntaxUID = pixels.file_meta.TransferSyntaxUID
            dataset.decode()
            list(dataset.iterall())  # every element is read now, so that a broken one is found now
        except Exception:
            raise UnreadableImageError("the DICOM header is broken") from None
    values = to_values(stored)
    tables = with_full_range([table_of(values, grey)], values)
    return DicomImage(dataset, stored, Picture(values, tables, tuple(notes)))


def to_values(stored: Stored) -> Values:
    """Stored values of either sign as unsigned ones of the same order and depth."""
    if stored.dtype.kind == "i":
        stored = (stored ^ np.array(np.iinfo(stored.dtype).min, stored.dtype)).view(f"u{stored.dtype.itemsize}")
    return stored.astype(np.uint8, copy=False) if stored.dtype.itemsize == 1 else stored.astype(np.uint16, copy=False)


def to_stored(values: Values, like: Stored) -> Stored:
    """The way back of `to_values`."""
    if like.dtype.kind == "u":
        return np.asarray(values, like.dtype)
    top = np.array(np.iinfo(like.dtype).min, like.dtype)
    return np.asarray(values.view(like.dtype) ^ top)


def table_of(values: Values, grey: Grey) -> Grey:
    """The table by which values were shown, from both images; between values that occur it is drawn on in a line."""
    size = np.iinfo(values.dtype).max + 1
    levels = np.zeros(size)
    levels[values] = grey
    present = np.zeros(size, bool)
    present[values] = True
    known = np.flatnonzero(present)
    return np.rint(np.interp(np.arange(size), known, levels[known])).astype(np.uint8)


def make_dicom(
    image: DicomImage,
    values: Values,
    *,
    changed: bool,
    free_of_text: bool,
    profile: Profile | None = None,
    key: bytes = b"",
) -> bytes:
    """The bytes of a new DICOM file with other values: uncompressed, derived, under a UID of its own.

    `changed` says whether any pixel is another, `free_of_text` whether no reader finds anything: only then does it say
    that nothing is burned in. Raises RejectedImageError where the header cannot be written again.
    """
    from pydicom import Dataset

    from synthcxr.generation.dicom import encode_dicom

    dataset = Dataset()
    dataset.update({element.tag: element for element in image.dataset})
    source_class, source_uid = text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
    syntax = image.dataset.file_meta.TransferSyntaxUID
    stored = to_stored(values, image.stored)
    with quiet():
        _native(dataset, swap=not syntax.is_little_endian)
        _drop(dataset)
        _say_lossy(dataset, syntax.keyword)
        _set_pixels(dataset, stored)
        if profile is not None:
            dataset = deidentify(dataset, profile, key, free_of_text=free_of_text)
        _say_derived(dataset, source_class, source_uid, stored, known=profile is None, changed=changed)
        if free_of_text:
            dataset.BurnedInAnnotation = "NO"
        elif text(dataset, "BurnedInAnnotation") != "YES" and "BurnedInAnnotation" in dataset:
            del dataset.BurnedInAnnotation  # whoever said NO did not know
        dataset.file_meta = _meta(dataset)
        try:
            return encode_dicom(dataset)
        except Exception:  # pydicom raises of every kind, and its words may quote the header
            raise RejectedImageError(
                "bad-header", "the DICOM header holds what no DICOM may; it cannot be written"
            ) from None


def _native(dataset: "Dataset", *, swap: bool) -> None:
    """Turn the words of bulk elements round where the file was big endian; pydicom keeps their bytes as they are."""
    if not swap:
        return
    for element in dataset.iterall():
        if element.VR == "OW" and isinstance(element.value, bytes) and element.keyword != "PixelData":
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


def _drop(dataset: "Dataset") -> None:
    """Remove what shows the pixels as they were, and overlays, which are text drawn over them; from all levels."""
    for tag in [element.tag for element in dataset if 0x6000 <= element.tag.group <= 0x60FF]:
        del dataset[tag]
    for keyword in STALE:
        if keyword in dataset:
            del dataset[keyword]


def _say_lossy(dataset: "Dataset", syntax: str) -> None:
    """Once lossy, always lossy (PS3.3 section C.7.6.1.1.5): the pixels do not come back by writing them losslessly."""
    if syntax in LOSSY:
        dataset.LossyImageCompression = "01"
        if "LossyImageCompressionMethod" not in dataset:
            dataset.LossyImageCompressionMethod = LOSSY[syntax]


def _set_pixels(dataset: "Dataset", stored: npt.NDArray[Any]) -> None:
    """Put stored values in; what was grey in colours or a palette is written as grey."""
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.SamplesPerPixel = 1
        bits = 8 * stored.dtype.itemsize
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = 0
        for keyword in OF_COLOUR:
            if keyword in dataset:
                del dataset[keyword]
    if "NumberOfFrames" in dataset:
        dataset.NumberOfFrames = 1
    for keyword, value in (("SmallestImagePixelValue", stored.min()), ("LargestImagePixelValue", stored.max())):
        if keyword in dataset:
            setattr(dataset, keyword, int(value))
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    if "PixelData" in dataset:
        del dataset.PixelData
    dataset.add_new("PixelData", "OB" if dataset.BitsAllocated <= 8 else "OW", data + b"\0" * (len(data) % 2))


def _say_derived(
    dataset: "Dataset", source_class: str, source_uid: str, stored: npt.NDArray[Any], *, known: bool, changed: bool
) -> None:
    """DERIVED, how, a new UID; from which instance only where that may be `known`."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    kind = [str(value) for value in dataset.get("ImageType", None) or ["ORIGINAL", "PRIMARY"]]
    dataset.ImageType = ["DERIVED", *(kind[1:] or ["PRIMARY"])]
    done = "burned-in text removed by inpainting inside a mask" if changed else "searched for burned-in text"
    earlier = [text(dataset, "DerivationDescription")] if known else []
    dataset.DerivationDescription = "; ".join([*filter(None, earlier), done, f"synthcxr {__version__}"])[-1024:]
    if known:
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[source_uid, __version__, sha256_bytes(stored.tobytes())])
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source_class, source_uid
        if source_class and source_uid:
            dataset.SourceImageSequence = [item]


def _meta(dataset: "Dataset") -> Any:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    if not text(dataset, "SOPClassUID"):
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return meta
