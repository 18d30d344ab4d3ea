"""The stored values of a DICOM's pixels, checked before and after a decoder has them.

Each compressed transfer syntax has one decoder, so that what comes out does not depend on what else is installed.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.data.dicom.codestream import read_code_stream
from synthcxr.data.dicom.header import frame_count
from synthcxr.data.dicom.values import integer, text
from synthcxr.data.records import RejectedImageError
from synthcxr.images import MAXIMUM_PIXELS

if TYPE_CHECKING:
    from pydicom import Dataset

Stored = npt.NDArray[np.uint8 | np.int8 | np.uint16 | np.int16]

PLUGINS = {
    "JPEGBaseline8Bit": "pillow",
    "JPEGExtended12Bit": "pillow",  # of 8 bits; those of 12 have a decoder below
    "JPEGLossless": "gdcm",
    "JPEGLosslessSV1": "gdcm",
    "JPEGLSLossless": "pyjpegls",
    "JPEGLSNearLossless": "pyjpegls",
    "JPEG2000Lossless": "pylibjpeg",
    "JPEG2000": "pylibjpeg",
    "HTJ2KLossless": "pylibjpeg",
    "HTJ2KLosslessRPCL": "pylibjpeg",
    "HTJ2K": "pylibjpeg",
    "RLELossless": "pylibjpeg",
}
"""pydicom's name of a compressed transfer syntax, and its decoder."""
COLOUR_TOLERANCE = 12
"""Grey levels between the channels of a grey picture that a lossy code stored as colour."""
COLOURED_SHARE = 0.001
"""Part of the pixels that may differ more, at sharp edges."""


def read_stored_values(dataset: "Dataset", frames: str, notes: list[str]) -> Stored:
    """The stored values (rows, columns) of the one frame, or of the first where `frames` is ``first``.

    A colour picture whose channels are equal becomes grey. Raises RejectedImageError by the rules ``multi-frame``,
    ``too-large``, ``colour`` and ``bad-pixels``.
    """
    _check_layout(dataset)
    if frame_count(dataset) > 1:
        if frames != "first":
            raise RejectedImageError("multi-frame", "it has several frames; --frames first takes the first")
        notes.append("the first of several frames")
    values = _decode(dataset)
    if values.ndim == 3:
        notes.append("grey stored as colour")
        return _colour_to_grey(values)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        raise RejectedImageError("bad-pixels", "its pixels are not 8 to 16 bits")
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        return _palette_to_grey(dataset, values, notes)
    return values


def _check_layout(dataset: "Dataset") -> None:
    """Refuse by the header what is too large, or makes no sense, before anything is decoded."""
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    samples = integer(dataset, "SamplesPerPixel", 1)
    if rows * columns * samples > MAXIMUM_PIXELS:
        raise RejectedImageError("too-large", f"it has {rows * columns} pixels, too many for an X-ray")
    if min(rows, columns) < 1 or "PixelData" not in dataset:
        raise RejectedImageError("bad-pixels", "the header gives no size, or pixels that are no whole numbers")
    if allocated not in (8, 16) or not 1 < stored <= allocated or samples not in (1, 3):
        raise RejectedImageError("bad-pixels", "its pixels are not 8 to 16 bits, grey or of three colours")
    if integer(dataset, "HighBit", stored - 1) != stored - 1:
        raise RejectedImageError("bad-pixels", "its pixels lie in other bits than the lowest, as in files of old")


def _decode(dataset: "Dataset") -> npt.NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    syntax = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    plugin = PLUGINS.get(syntax.keyword, "") if syntax.is_transfer_syntax else ""
    if syntax.is_transfer_syntax and syntax.is_compressed and not plugin:
        raise RejectedImageError("bad-pixels", "its transfer syntax has no decoder here")
    try:
        if plugin and syntax.keyword != "RLELossless":
            frame = _first_frame(dataset)
            _check_code_stream(dataset, frame, lossy_jpeg=PLUGINS[syntax.keyword] == "pillow")
            if syntax.keyword == "JPEGExtended12Bit" and integer(dataset, "BitsStored") > 8:
                return decode_12_bit_jpeg(frame, integer(dataset, "Rows"), integer(dataset, "Columns"))
        values, _ = get_decoder(syntax).as_array(dataset, index=0, decoding_plugin=plugin)
    except ValueError as error:
        raise RejectedImageError("bad-pixels", _own_words(error)) from None
    except BaseException as error:  # decoders raise of every kind, and their words may quote the header
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":  # pylibjpeg-rle is in Rust
            raise RejectedImageError("bad-pixels", "its pixels cannot be decoded") from None
        raise
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _own_words(error: ValueError) -> str:
    """What `read_code_stream` or `_check_code_stream` says; not what a decoder does."""
    words = str(error)
    return words if words.startswith("its compressed image") else "its pixels cannot be decoded"


def _first_frame(dataset: "Dataset") -> bytes:
    from pydicom.encaps import get_frame

    offsets = None
    with suppress(AttributeError):
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=frame_count(dataset), extended_offsets=offsets))


def _check_code_stream(dataset: "Dataset", frame: bytes, *, lossy_jpeg: bool) -> None:
    """Raise ValueError where a compressed image has another size than the header: decoders trust one or the other."""
    stream = read_code_stream(frame)
    if (stream.rows, stream.columns) != (integer(dataset, "Rows"), integer(dataset, "Columns")):
        raise ValueError("its compressed image has another size than its header says")
    if stream.samples != integer(dataset, "SamplesPerPixel", 1):
        raise ValueError("its compressed image has another number of colours than its header says")
    bits = integer(dataset, "BitsStored")
    if not 2 <= stream.bits <= integer(dataset, "BitsAllocated") or (lossy_jpeg and (bits > 8) != (stream.bits == 12)):
        raise ValueError("its compressed image has another number of bits than its header says")


def decode_12_bit_jpeg(frame: bytes, rows: int, columns: int) -> Stored:
    """A grey JPEG Extended of 12 bits (transfer syntax .51) by gdcm, which pydicom's plugin for it leaves out.

    Told of 16 bits allocated, gdcm tries a decoder of 16 bits first; told of 12, it takes the right one.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 12, 12, 11, 0))
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    return np.frombuffer(buffer, "<u2").reshape(rows, columns)


def _palette_to_grey(dataset: "Dataset", values: npt.NDArray[Any], notes: list[str]) -> Stored:
    from pydicom.pixels.processing import apply_color_lut

    try:
        colours = np.asarray(apply_color_lut(values, dataset))
    except Exception:
        raise RejectedImageError("bad-pixels", "its palette makes no sense") from None
    notes.append("grey stored as a palette")
    return _colour_to_grey(colours)


def _colour_to_grey(colours: npt.NDArray[Any]) -> Stored:
    """The mean of three channels that are equal, or nearly so. Raises RejectedImageError for a picture in colour."""
    if colours.dtype.kind != "u":
        raise RejectedImageError("bad-pixels", "its colours are no whole numbers above zero")
    tolerance = COLOUR_TOLERANCE * (257 if colours.dtype == np.uint16 else 1)
    low, high = colours[..., :3].min(axis=-1), colours[..., :3].max(axis=-1)
    if np.mean(high - low > tolerance) > COLOURED_SHARE:
        raise RejectedImageError("colour", "it is a picture in colour")
    return np.asarray(low + (high - low) // 2, colours.dtype)
