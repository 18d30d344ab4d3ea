"""Stored values out of every transfer syntax, and every kind of pixels that is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from synthcxr.data.dicom.codestream import CodeStream, read_code_stream
from synthcxr.data.dicom.file import open_dataset, quiet
from synthcxr.data.dicom.pixels import read_stored_values
from synthcxr.data.records import RejectedImageError
from synthcxr.images import UnreadableImageError
from tests.data.dicom_files import (
    HTJ2K_OF_PATTERN,
    JPEG_12_BIT_OF_RAMP,
    RAMP,
    compress,
    make,
    pattern,
    save,
    with_frame,
)

LOSSLESS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG Lossless": "1.2.840.10008.1.2.4.57",
    "JPEG Lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def stored(dataset: Dataset, frames: str = "reject") -> Any:
    with quiet():
        return read_stored_values(dataset, frames, [])


def reread(dataset: Dataset, path: Path, **how: Any) -> Any:
    with quiet():
        return read_stored_values(open_dataset(save(dataset, path, **how)), "reject", [])


def refused(dataset: Dataset) -> str:
    with pytest.raises(RejectedImageError) as caught:
        stored(dataset)
    return caught.value.rule


# --- transfer syntaxes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_lossless_codes_give_every_value_back(syntax: str, bits: int, signed: bool, tmp_path: Path) -> None:
    values = pattern(bits, signed=signed)
    if signed and syntax.endswith((".57", ".70")):  # gdcm's encoder takes the same bits as unsigned values only
        unsigned = values.view(f"u{values.itemsize}") & (2**bits - 1)
        dataset = compress(make(unsigned, bits), syntax)
        dataset.PixelRepresentation = 1
    else:
        dataset = compress(make(values, bits), syntax)
    read = reread(dataset, tmp_path / "a")
    assert read.dtype == values.dtype
    assert np.array_equal(read, values)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_gives_every_value_back(syntax: Any, bits: int, signed: bool, tmp_path: Path) -> None:
    values = pattern(bits, signed=signed)
    dataset = make(values, bits)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = values.byteswap().tobytes()
    assert np.array_equal(reread(dataset, tmp_path / "a"), values)


@pytest.mark.parametrize(("syntax", "largest"), [("1.2.840.10008.1.2.4.81", 2), ("1.2.840.10008.1.2.4.91", 40)])
def test_lossy_codes_stay_near(syntax: str, largest: int) -> None:
    values = np.add.outer(np.arange(48) * 30, np.arange(64) * 40).astype(np.uint16)
    assert np.abs(stored(compress(make(values), syntax)).astype(int) - values).max() <= largest


def test_baseline_jpeg_stays_near() -> None:
    values = (RAMP // 16).astype(np.uint8)
    assert np.abs(stored(compress(make(values, 8), "1.2.840.10008.1.2.4.50")).astype(int) - values).max() <= 2


def test_jpeg_of_12_bits_is_as_libjpeg_turbo_reads_it() -> None:
    dataset = with_frame(make(RAMP.astype(np.uint16)), "1.2.840.10008.1.2.4.51", JPEG_12_BIT_OF_RAMP)
    assert np.array_equal(stored(dataset), RAMP)


def test_jpeg_of_12_bits_is_as_pydicom_tests_have_it() -> None:
    values = stored(dcmread(str(get_testdata_file("JPGExtended.dcm"))))
    # pydicom's tests/pixels/pixels_reference.py has these for JPGExtended.dcm, by pylibjpeg-libjpeg
    assert (values[420, 140], values[230, 120]) == (244, 95)


@pytest.mark.parametrize("kind", ["201", "202", "203"])
def test_high_throughput_jpeg_2000(kind: str) -> None:
    values = pattern(shape=(24, 32))
    dataset = with_frame(make(values), f"1.2.840.10008.1.2.4.{kind}", HTJ2K_OF_PATTERN)
    read = stored(dataset)
    assert np.array_equal(read.ravel()[1:-1], values.ravel()[1:-1])


def test_bits_above_those_stored_are_no_part_of_a_value() -> None:
    values = pattern()
    assert np.array_equal(stored(make(values | 0x5000)), values)


def test_a_file_without_preamble_and_meta_is_read(tmp_path: Path) -> None:
    values = pattern()
    for number, (implicit, little) in enumerate([(True, True), (False, True), (False, False)]):
        dataset = make(values if little else values.byteswap())
        del dataset.file_meta
        path = tmp_path / str(number)
        dataset.save_as(path, implicit_vr=implicit, little_endian=little)
        assert path.read_bytes()[128:132] != b"DICM"
        with quiet():
            assert np.array_equal(read_stored_values(open_dataset(path), "reject", []), values)


def test_pydicoms_own_files_are_alike_in_all_syntaxes() -> None:
    names = [
        f"MR_small{kind}.dcm" for kind in ("_RLE", "_jp2klossless", "_jpeg_ls_lossless", "_bigendian", "_implicit")
    ]
    expected = stored(dcmread(str(get_testdata_file("MR_small.dcm"))))
    # pydicom's tests/pixels/pixels_reference.py has these for MR_small.dcm
    assert (*expected[0, 31:34], *expected[31, :3], *expected[-1, -3:]) == (
        422,
        319,
        361,
        366,
        363,
        322,
        1369,
        1129,
        862,
    )
    for name in names:
        assert np.array_equal(stored(dcmread(str(get_testdata_file(name)))), expected), name


# --- frames and colours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["", *LOSSLESS.values()], ids=["uncompressed", *LOSSLESS])
def test_the_first_of_several_frames_by_option(syntax: str) -> None:
    frames = np.stack([pattern(), pattern()[::-1]])
    dataset = make(frames[0], NumberOfFrames=2, PixelData=frames.tobytes())
    dataset["PixelData"].VR = "OW"
    dataset = compress(dataset, syntax) if syntax else dataset
    assert refused(dataset) == "multi-frame"
    assert np.array_equal(stored(dataset, "first"), frames[0])


@pytest.mark.parametrize("planar", [0, 1])
def test_grey_that_is_stored_as_colour_becomes_grey(planar: int) -> None:
    grey = pattern(8)
    colours = np.repeat(grey[..., None], 3, axis=-1)
    dataset = make(colours, 8, PlanarConfiguration=planar)
    if planar:
        dataset.PixelData = colours.transpose(2, 0, 1).tobytes()
    assert np.array_equal(stored(dataset), grey)


def test_a_picture_in_colour_is_refused() -> None:
    colours = np.repeat(pattern(8)[..., None], 3, axis=-1)
    colours[..., 2] = 255 - colours[..., 2]
    assert refused(make(colours, 8)) == "colour"
    assert refused(dcmread(str(get_testdata_file("examples_palette.dcm")))) == "colour"


def test_a_palette_of_greys_becomes_grey() -> None:
    values = pattern(8)
    dataset = make(values, 8, PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes(range(255, -1, -1)))
    assert np.array_equal(stored(dataset), 255 - values)


# --- what is refused --------------------------------------------------------------------------------------


def test_bombs_are_refused_by_the_header_alone() -> None:
    assert refused(make(pattern(), Rows=60_000, Columns=60_000)) == "too-large"
    compressed = compress(make(pattern()), "1.2.840.10008.1.2.5")
    compressed.Rows = compressed.Columns = 20_000
    assert refused(compressed) == "too-large"


def test_a_deflated_bomb_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(pattern())
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091001, "OB", bytes(4_000_000))
    path = save(dataset, tmp_path / "bomb")
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("synthcxr.data.dicom.file.MAXIMUM_BYTES", 1_000_000)
    with pytest.raises(RejectedImageError) as caught, quiet():
        open_dataset(path)
    assert caught.value.rule == "too-large"


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 0},
        {"Rows": None},
        {"Rows": 49},
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
        {"BitsStored": 20},
        {"BitsStored": 0},
        {"HighBit": 15},
        {"SamplesPerPixel": 2},
        {"PixelData": b"short"},
        {"PixelData": b""},
        {"PixelRepresentation": None},
    ],
    ids=str,
)
def test_pixels_that_make_no_sense_are_refused(elements: dict[str, Any]) -> None:
    assert refused(make(pattern(), **elements)) == "bad-pixels"


@pytest.mark.parametrize("syntax", [s for s in LOSSLESS.values() if s != LOSSLESS["RLE"]])
def test_a_compressed_image_that_contradicts_its_header_is_refused(syntax: str) -> None:
    for elements in (
        {"Columns": 65},
        {"Rows": 24, "Columns": 128},
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    ):
        dataset = compress(make(pattern()), syntax)
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        assert refused(dataset) == "bad-pixels", elements


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS)
def test_a_compressed_image_that_is_cut_off_is_refused(syntax: str) -> None:
    from pydicom.encaps import encapsulate, get_frame

    dataset = compress(make(pattern()), syntax)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    for length in (0, 2, 40, len(frame) // 2, len(frame) - 8):
        dataset.PixelData = encapsulate([frame[:length]]) if length else b""
        assert refused(dataset) == "bad-pixels", length


def test_a_transfer_syntax_without_decoder_is_refused() -> None:
    for syntax in ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102", "1.2.3.4"):  # MPEG-2, MPEG-4, nobody's
        assert refused(with_frame(make(pattern()), syntax, b"\0\0")) == "bad-pixels"


def test_reasons_do_not_quote_the_header() -> None:
    dataset = make(pattern(), PhotometricInterpretation="DOE^JANE", PixelData=b"short")
    with pytest.raises(RejectedImageError) as caught:
        stored(dataset)
    assert "DOE" not in str(caught.value)


def test_a_file_that_is_no_dicom(tmp_path: Path) -> None:
    for content in (b"", b"\x08\0", b"hello" * 100, bytes(2000), b"\x89PNG\r\n\x1a\n" + bytes(200)):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(RejectedImageError) as caught:
            open_dataset(tmp_path / "a")
        assert caught.value.rule == "not-dicom"
    with pytest.raises(UnreadableImageError, match="cannot be opened: No such file") as missing:
        open_dataset(tmp_path / "Doe^Jane")
    assert "Doe" not in str(missing.value)


# --- code streams -----------------------------------------------------------------------------------------


def test_heads_of_code_streams() -> None:
    assert read_code_stream(HTJ2K_OF_PATTERN) == CodeStream(24, 32, 1, 16)
    assert read_code_stream(JPEG_12_BIT_OF_RAMP) == CodeStream(24, 32, 1, 12)
    for padding in (b"", b"\0", b"\xff"):
        assert read_code_stream(HTJ2K_OF_PATTERN + padding) == CodeStream(24, 32, 1, 16)
    with pytest.raises(ValueError, match="cut off"):
        read_code_stream(HTJ2K_OF_PATTERN[:-4])
    with pytest.raises(ValueError, match="no head"):
        read_code_stream(b"\xff\xd8\xff\xe0\x00\x04ab")
    jfif, tables = JPEG_12_BIT_OF_RAMP.index(b"JFIF"), JPEG_12_BIT_OF_RAMP.index(b"\xff\xc4")
    for place, value in ((jfif + 5, b"\2"), (tables, b"\0\0"), (tables + 2, b"\0\0"), (tables + 2, b"\0\5")):
        broken = bytearray(JPEG_12_BIT_OF_RAMP)
        broken[place : place + len(value)] = value
        with pytest.raises(ValueError, match="broken head"):  # gdcm would end the process
            read_code_stream(bytes(broken))
    tiles = bytearray(HTJ2K_OF_PATTERN)
    tiles[24:32] = (1).to_bytes(4) * 2  # tiles of one pixel
    tiles[8:16] = (60_000).to_bytes(4) * 2
    with pytest.raises(ValueError, match="tiles"):
        read_code_stream(bytes(tiles))
