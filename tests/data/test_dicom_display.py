"""Grey levels as pydicom's own functions give them, and what these leave open."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_presentation_lut, apply_voi_lut

from synthcxr.data.dicom.display import make_square, to_grey_levels
from synthcxr.data.dicom.file import quiet
from synthcxr.data.dicom.header import pixel_aspect, read_spacing
from synthcxr.images import Grey
from tests.data.dicom_files import make, pattern

Values = npt.NDArray[Any]


def show(dataset: Dataset, values: Values, window: str = "auto") -> Grey:
    with quiet():
        return to_grey_levels(dataset, values, window, [])


def notes_of(dataset: Dataset, values: Values, window: str = "auto") -> list[str]:
    notes: list[str] = []
    with quiet():
        to_grey_levels(dataset, values, window, notes)
    return notes


def by_pydicom(dataset: Dataset, values: Values) -> Values:
    """Modality, VOI and presentation LUT of pydicom, scaled from the output range to 0 to 255."""
    ends: Values = np.array([-np.inf, np.inf])
    with quiet(), np.errstate(over="ignore"):
        shown = apply_voi_lut(apply_modality_lut(values, dataset), dataset)
        if "VOILUTSequence" in dataset:
            low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
        else:
            low, high = apply_voi_lut(ends, dataset)
        grey = (shown - low) / (high - low) * 255
        # black and white go along, because pydicom inverts at the largest value that it is given
        return np.asarray(apply_presentation_lut(np.append(grey, (0, 255)), dataset))[:-2].reshape(values.shape)


def lut(entries: Values, first: int, bits: int, vr: str = "US") -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.tolist() if vr == "US" else entries.astype("<u2").tobytes()
    item["LUTData"].VR = vr
    return item


# --- windows and tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rescale", "shape"), [((1, 0), None), ((2.5, -1024), "INVERSE"), ((0.01, 3), "IDENTITY")])
@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, True), (16, False)])
def test_windows_are_as_pydicom_has_them(
    bits: int, signed: bool, function: str | None, rescale: tuple[float, float], shape: str | None
) -> None:
    values = pattern(bits, signed=signed)
    slope, intercept = rescale
    middle = 0 if signed else 2 ** (bits - 1)
    dataset = make(values, bits, RescaleSlope=slope, RescaleIntercept=intercept)
    dataset.WindowCenter = round(middle * slope + intercept + 2**bits * slope / 20, 3)
    dataset.WindowWidth = round(2**bits * slope / 3 + 2, 3)
    if function:
        dataset.VOILUTFunction = function
    if shape:
        dataset.PresentationLUTShape = shape
    grey = show(dataset, values)
    assert np.ptp(grey) > 100
    assert np.abs(grey - by_pydicom(dataset, values)).max() <= 0.5 + 1e-6


@settings(max_examples=25)
@given(st.data())
def test_any_window_is_as_pydicom_has_it(data: st.DataObject) -> None:
    bits = data.draw(st.integers(8, 16))
    signed = data.draw(st.booleans())
    values = pattern(bits, signed=signed)
    dataset = make(values, bits)
    dataset.WindowCenter = data.draw(st.integers(-(2**bits), 2**bits))
    dataset.WindowWidth = data.draw(st.integers(2, 2 ** (bits + 1)))
    dataset.VOILUTFunction = data.draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    expected = by_pydicom(dataset, values)
    if np.ptp(np.rint(expected)) == 0:  # shows nothing, and is not used
        assert "nothing" in notes_of(dataset, values)[0]
    else:
        assert np.abs(show(dataset, values) - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize(("first", "size"), [(0, 4096), (1000, 2000), (-500, 3000)])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_voi_table_is_as_pydicom_has_it(bits: int, first: int, size: int, vr: str) -> None:
    entries = np.rint((np.arange(size) / (size - 1)) ** 2 * (2**bits - 1)).astype(np.uint16)
    values = pattern(signed=first < 0)
    dataset = make(values, VOILUTSequence=[lut(entries, first, bits, vr)], WindowCenter=1, WindowWidth=2)
    dataset.VOILUTSequence[0]["LUTDescriptor"].VR = "SS"
    assert np.abs(show(dataset, values) - by_pydicom(dataset, values)).max() <= 0.5 + 1e-6
    assert notes_of(dataset, values) == ["window: table"]


def test_a_voi_table_follows_the_modality_table() -> None:
    falling = lut(np.arange(4095, -1, -1).astype(np.uint16), 0, 16)
    square = lut((np.arange(4096) ** 2 >> 8).astype(np.uint16), 0, 16)
    values = pattern()
    dataset = make(values, ModalityLUTSequence=[falling], VOILUTSequence=[square])
    assert np.abs(show(dataset, values) - by_pydicom(dataset, values)).max() <= 0.5 + 1e-6
    assert show(dataset, values)[0, 0] == 255


def test_a_window_follows_the_modality_table() -> None:
    values = pattern()
    dataset = make(values, ModalityLUTSequence=[lut(np.arange(4096).astype(np.uint16) * 3, 0, 16)])
    dataset.WindowCenter, dataset.WindowWidth = 6000, 5000
    assert np.abs(show(dataset, values) - by_pydicom(dataset, values)).max() <= 0.5 + 1e-6


def test_a_table_of_bytes_with_more_than_256_entries() -> None:
    """8 bits an entry, two entries a word (PS3.3 section C.11.2.1.1), where pydicom's own function gives up."""
    entries = (np.arange(4096) // 16).astype(np.uint8)
    item = lut(entries.view("<u2"), 0, 8, "OW")
    item.LUTDescriptor = [4096, 0, 8]
    values = pattern()
    assert np.array_equal(show(make(values, VOILUTSequence=[item]), values), values // 16)


def test_a_table_that_claims_more_bits_than_it_uses_is_not_shown_dark() -> None:
    values = pattern()
    dataset = make(values, VOILUTSequence=[lut(np.arange(4096).astype(np.uint16), 0, 16)])
    assert show(dataset, values).max() == 255


@pytest.mark.parametrize("entries", [np.zeros(4096, np.uint16), np.arange(10, dtype=np.uint16)])
def test_a_table_of_nothing_or_cut_off_is_left_out(entries: Values) -> None:
    item = lut(entries, 0, 12)
    item.LUTDescriptor = [4096, 0, 12]
    values = pattern()
    dataset = make(values, VOILUTSequence=[item], WindowCenter=2048, WindowWidth=4096)
    assert notes_of(dataset, values) == ["window: linear"]


def test_of_several_windows_the_first_of_sense_counts() -> None:
    values = pattern()
    first = make(values, WindowCenter=[500, 2000], WindowWidth=[100, 3000])
    assert np.array_equal(show(first, values), show(make(values, WindowCenter=500, WindowWidth=100), values))
    zero = make(values, WindowCenter=[500, 2000], WindowWidth=[0, 3000])
    assert np.array_equal(show(zero, values), show(make(values, WindowCenter=2000, WindowWidth=3000), values))


def test_a_window_that_shows_nothing_gives_way_to_percentiles() -> None:
    values = pattern()
    dataset = make(values, WindowCenter=60_000, WindowWidth=10)
    assert notes_of(dataset, values) == ["window that shows nothing: linear", "window: percentiles"]
    assert np.array_equal(show(dataset, values), show(make(values), values))


# --- without a window, or with one of one's own -----------------------------------------------------------


def test_percentiles_run_from_black_to_white() -> None:
    values = pattern(16)
    low, high = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
    expected = np.clip((values - float(low)) / (high - float(low)), 0, 1) * 255
    for dataset in (make(values, 16), make(values, 16, WindowCenter=3, WindowWidth=2)):
        assert np.abs(show(dataset, values, "percentile") - expected).max() <= 0.5 + 1e-6
    assert notes_of(make(values, 16), values) == ["window: percentiles"]


def test_eight_bits_without_a_window_are_as_stored() -> None:
    for signed in (False, True):
        values = pattern(8, signed=signed)
        assert np.array_equal(show(make(values, 8), values), values.astype(int) + 128 * signed)
    seven = pattern(8) >> 1
    assert np.abs(show(make(seven, 7), seven) - seven * (255 / 127)).max() <= 0.5


def test_a_window_of_ones_own_is_in_the_units_after_rescaling() -> None:
    values = pattern()
    dataset = make(values, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1, WindowWidth=1)
    same = make(values, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3000.5, WindowWidth=2000)
    assert np.array_equal(show(dataset, values, "3000.5/2000"), show(same, values))
    assert np.ptp(show(dataset, values, "-5000/10")) == 0


def test_an_image_of_one_value() -> None:
    for value in (0, 7, 4095):
        values = np.full((8, 8), value, np.uint16)
        assert np.ptp(show(make(values), values)) == 0


# --- polarity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photometric", "shape", "inverse"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", "INVERSE", True),  # both say the same; it is done once
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "ODD", True),
    ],
)
def test_polarity(photometric: str, shape: str | None, inverse: bool) -> None:
    values = pattern()
    plain = show(make(values, WindowCenter=2000, WindowWidth=3000), values)
    dataset = make(values, PhotometricInterpretation=photometric, WindowCenter=2000, WindowWidth=3000)
    if shape:
        dataset.PresentationLUTShape = shape
    assert np.array_equal(show(dataset, values), 255 - plain if inverse else plain)
    contradicts = shape in ("IDENTITY", "INVERSE") and (photometric == "MONOCHROME1") != inverse
    assert any("contradict" in note for note in notes_of(dataset, values)) == contradicts


def test_a_negative_slope_turns_the_image_round() -> None:
    values = pattern()
    grey = show(make(values, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096), values)
    assert np.array_equal(grey, np.rint((4095 - values.astype(int)) / 4095 * 255))


# --- padding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_no_part_of_the_percentiles(photometric: str) -> None:
    inside = pattern(10, (48, 64)) + np.uint16(500)
    padded = np.full((96, 64), 4000, np.uint16)
    padded[:48] = inside
    dataset = make(padded, PhotometricInterpretation=photometric, PixelPaddingValue=4000)
    grey = show(dataset, padded)
    assert (grey[48:] == 0).all()
    assert np.array_equal(grey[:48], show(make(inside, PhotometricInterpretation=photometric), inside))


def test_a_range_of_padding_and_a_signed_one_written_unsigned() -> None:
    values = pattern(signed=True)
    values[:4] = -2000
    for padding, limit in ((-2000, -1900), (65536 - 2000, 65536 - 1900), (-1900, -2000)):
        dataset = make(values)
        dataset.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
        dataset.add_new("PixelPaddingRangeLimit", "US" if padding > 0 else "SS", limit)
        inside = (values >= -2000) & (values <= -1900)
        assert (show(dataset, values)[inside] == 0).all()
        others = np.where(inside, 0, show(dataset, values))
        assert np.array_equal(others, show(dataset, values))
        assert others.max() == 255


def test_padding_that_covers_everything_is_left_out_of_account() -> None:
    values = pattern()
    dataset = make(values, PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    assert np.array_equal(show(dataset, values), show(make(values), values))
    assert "padding" in notes_of(dataset, values)[0]


# --- the shape of pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "shape", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.2]}, (48, 64), (0.2, 0.2)),
        ({"PixelSpacing": [0.2, 0.1]}, (96, 64), (0.1, 0.1)),
        ({"PixelSpacing": [0.1, 0.2]}, (48, 128), (0.1, 0.1)),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelAspectRatio": ["2", "1"]}, (48, 64), (0.15, 0.15)),
        ({"PixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0.1, 0.1]}, (48, 64), (0.3, 0.3)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.1, 0.1]}, (48, 64), (0.1, 0.1)),
        ({"NominalScannedPixelSpacing": [0.17, 0.17]}, (48, 64), (0.17, 0.17)),
        ({"PixelAspectRatio": ["2", "1"]}, (96, 64), None),
        ({"PixelAspectRatio": ["1", "2"]}, (48, 128), None),
        ({"PixelAspectRatio": ["0", "1"]}, (48, 64), None),
        ({"PixelAspectRatio": ["100", "1"]}, (48, 64), None),
        ({"PixelSpacing": [140, 140]}, (48, 64), None),
        ({}, (48, 64), None),
    ],
    ids=str,
)
def test_pixels_become_square(
    elements: dict[str, Any], shape: tuple[int, int], spacing: tuple[float, float] | None
) -> None:
    values = pattern()
    dataset = make(values, **elements)
    with quiet():
        known = read_spacing(dataset, [])
        image, kept = make_square(show(dataset, values), pixel_aspect(dataset, known, []), known)
    assert image.shape == shape
    assert kept == spacing


def test_a_circle_stays_a_circle() -> None:
    """Drawn with pixels twice as high as wide, it measures as much across as along when these are square."""
    y, x = np.mgrid[:100, :200]
    disc = (((y - 50) * 2) ** 2 + (x - 100) ** 2 < 80**2).astype(np.uint8) * 255
    image, _ = make_square(disc, 2.0, None)
    assert image.shape == (200, 200)
    wide, high = (image > 127).any(axis=0).sum(), (image > 127).any(axis=1).sum()
    assert abs(int(wide) - int(high)) <= 2
