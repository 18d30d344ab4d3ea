"""From stored values to grey levels, as a viewer shows them (PS3.4 annex N): modality, VOI, presentation.

Stored values have at most 16 bits, so pydicom's own functions run on a table of all of them, and the image is looked up
in it: exact, and the same time for a sigmoid as for a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.data.dicom.pixels import Stored
from synthcxr.data.dicom.values import get, integer, items, numbers, text
from synthcxr.images import Grey, resize

if TYPE_CHECKING:
    from pydicom import Dataset

PERCENTILES = (0.5, 99.5)
"""Percentiles of the pixels (without padding) that become black and white where no window is told."""
SQUARE = 0.01
"""A pixel's height and width that differ by less count as equal."""
BLOCK = 1 << 20
"""Pixels that are counted or looked up at once, so that memory does not grow with the image."""
VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A window: `center` and `width` in units after rescaling, and the VOI LUT function (PS3.3 section C.11.2.1)."""

    center: float
    width: float
    function: str = "LINEAR"

    @property
    def sensible(self) -> bool:
        """Whether the function is defined for the width."""
        return self.width >= 1 if self.function == "LINEAR" else self.width > 0


def to_grey_levels(dataset: "Dataset", stored: Stored, window: str, notes: list[str]) -> Grey:
    """Stored values (rows, columns) of 8 or 16 bits as grey ``uint8``, black to white as a viewer shows them.

    `window` is ``auto`` (the header's table or first window of sense; without, the full range of 8 bits or the
    `PERCENTILES`), ``percentile`` or ``CENTER/WIDTH``. Padding becomes black. What was done is added to `notes`.
    """
    unsigned = stored.view(np.dtype(f"u{stored.dtype.itemsize}"))
    every = np.arange(256**stored.dtype.itemsize, dtype=unsigned.dtype).view(stored.dtype)  # in order of `unsigned`
    histogram = Histogram(unsigned, padding_of(dataset, every))
    if histogram.padding.any() and not histogram.counts.any():
        notes.append("the padding value covers the whole image; it is left out of account")
        histogram = Histogram(unsigned, np.zeros(every.size, bool))
    if text(dataset, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2"):
        levels = _levels(dataset, every, histogram, window, notes)
        levels = 255 - levels if is_inverse(dataset, notes) else levels
    else:
        palette = text(dataset, "PhotometricInterpretation") == "PALETTE COLOR"
        largest = every.size - 1 if palette else 2 ** integer(dataset, "BitsStored", 8) - 1
        levels = np.rint(np.clip(every / largest, 0, 1) * 255).astype(np.uint8)
    levels[histogram.padding] = 0
    return _look_up(levels, unsigned)


@dataclass(frozen=True)
class Histogram:
    """How many pixels have each of all stored values, `padding` ones left out; counted when it is first asked for."""

    unsigned: Values
    padding: npt.NDArray[np.bool_]

    @cached_property
    def counts(self) -> Values:
        """Pixels of each value, in the order of `unsigned`."""
        return np.where(self.padding, 0, _count(self.unsigned, self.padding.size))

    def varies(self, table: Values) -> bool:
        """Whether the pixels have more than one value in a table; mostly a few of them tell."""
        few = self.unsigned[::16, ::16].reshape(-1)
        few = few[~self.padding[few]]
        return bool((few.size and np.ptp(table[few]) > 0) or np.ptp(table[self.counts > 0]) > 0)


def _levels(dataset: "Dataset", every: Values, histogram: Histogram, window: str, notes: list[str]) -> Grey:
    """The grey level of every stored value, before a presentation LUT."""
    values = apply_modality(dataset, every, notes)
    for name, way in _ways(dataset, values, histogram, window):
        levels = way.levels(values)
        if histogram.varies(levels) or not histogram.varies(values):
            break
        notes.append(f"window that shows nothing: {name}")
    notes.append(f"window: {name}")
    return levels


@dataclass(frozen=True)
class Table:
    """A VOI LUT: the first value that it maps, its entries, and its largest possible one."""

    first: int
    entries: Values
    largest: int

    def levels(self, values: Values) -> Grey:
        """Grey levels of values, by pydicom's `apply_voi`."""
        from pydicom.pixels.processing import apply_voi

        whole = np.clip(np.rint(values), self.first, self.first + self.entries.size - 1).astype(np.int64)
        shown = apply_voi(whole, _with_table("VOILUTSequence", self))
        return np.asarray(np.rint(np.minimum(shown / self.largest, 1) * 255), np.uint8)


@dataclass(frozen=True)
class Windowing:
    """A window, applied by pydicom's `apply_windowing` onto grey levels."""

    window: Window

    def levels(self, values: Values) -> Grey:
        """Grey levels of values."""
        from pydicom import Dataset
        from pydicom.pixels.processing import apply_windowing
        from pydicom.valuerep import DSfloat

        settings = Dataset()
        settings.PhotometricInterpretation = "MONOCHROME2"
        settings.BitsStored, settings.PixelRepresentation = 8, 0  # so the output range is that of grey levels
        settings.WindowCenter = DSfloat(self.window.center, validation_mode=0)
        settings.WindowWidth = DSfloat(self.window.width, validation_mode=0)
        settings.VOILUTFunction = self.window.function
        with np.errstate(over="ignore"):  # far below a sigmoid
            return np.asarray(np.rint(apply_windowing(values, settings)), np.uint8)


def _ways(
    dataset: "Dataset", values: Values, histogram: Histogram, window: str
) -> "Iterator[tuple[str, Table | Windowing]]":
    """Ways to show the values, the first choice first, each with its name."""
    if window == "auto":
        table, own = read_table(dataset, "VOILUTSequence"), read_window(dataset)
        if table:
            yield "table", table
        if own:
            yield own.function.lower().replace("_", " "), Windowing(own)
        elif not table and integer(dataset, "BitsStored", 16) <= 8:
            yield "full range", Windowing(_full_range(dataset, values))
    elif window != "percentile":
        yield "as asked for", Windowing(parse_window(window))
        return
    yield "percentiles", Windowing(_percentile_window(values, histogram.counts))


def parse_window(written: str) -> Window:
    """``CENTER/WIDTH`` as a window."""
    center, width = written.split("/")
    return Window(float(center), float(width), "LINEAR" if float(width) >= 1 else "LINEAR_EXACT")


def read_window(dataset: "Dataset") -> Window | None:
    """The first window of a header that makes sense."""
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if function not in VOI_FUNCTIONS:
        function = "LINEAR"
    pairs = zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False)
    windows = (Window(center, width, function) for center, width in pairs)
    return next((window for window in windows if window.sensible), None)


def _full_range(dataset: "Dataset", values: Values) -> Window:
    """The window of all values that the bits stored can have."""
    bits, signed = integer(dataset, "BitsStored", 8), integer(dataset, "PixelRepresentation")
    ends = (0, 2**bits - 1) if not signed else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    first, last = (float(values[end % values.size]) for end in ends)
    return _between(min(first, last), max(first, last))


def _percentile_window(values: Values, counts: Values) -> Window:
    """From the low to the high percentile of the pixels; of an image of one value, everything above it."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(counts[order])
    low, high = (
        float(values[order][np.searchsorted(cumulative, share / 100 * cumulative[-1])]) for share in PERCENTILES
    )
    if low == high:  # more than 99 % of the pixels are equal
        low, high = float(values[counts > 0].min()), float(values[counts > 0].max())
    return _between(low, high)


def _between(low: float, high: float) -> Window:
    return Window((low + high) / 2, max(high - low, 1e-6), "LINEAR_EXACT")


# --- tables, rescale, polarity, padding -------------------------------------------------------------------


def apply_modality(dataset: "Dataset", every: Values, notes: list[str]) -> Values:
    """Stored values as modality values, by pydicom's `apply_modality_lut`: a table, a rescale, or nothing."""
    from pydicom import Dataset
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.valuerep import DSfloat

    if table := read_table(dataset, "ModalityLUTSequence"):
        wide = np.clip(every.astype(np.int64), table.first, table.first + table.entries.size - 1)
        return np.asarray(apply_modality_lut(wide, _with_table("ModalityLUTSequence", table))).astype(np.int64)
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    if not slope or not intercept:
        return every.astype(np.int64)
    if slope[0] == 0 or max(abs(slope[0]), abs(intercept[0])) > 1e9:
        notes.append("the rescale slope makes no sense")
        return every.astype(np.int64)
    settings = Dataset()
    settings.RescaleSlope = DSfloat(slope[0], validation_mode=0)
    settings.RescaleIntercept = DSfloat(intercept[0], validation_mode=0)
    return np.asarray(apply_modality_lut(every, settings))


def read_table(dataset: "Dataset", keyword: str) -> Table | None:
    """The first item of a LUT sequence (PS3.3 section C.11.1.1 and C.11.2.1.1); None where it makes no sense.

    Entries may be words, or bytes where they have 8 bits. The largest possible entry is by the bits that the entries
    need: some machines write 16 bits into the descriptor of a table of 12.
    """
    for item in items(dataset, keyword):
        descriptor = numbers(item, "LUTDescriptor")
        entries = _entries(dataset, item)
        if len(descriptor) != 3 or entries is None:
            continue
        size = int(descriptor[0]) % 65536 or 65536
        first = int(descriptor[1])
        if first >= 32768 and integer(dataset, "PixelRepresentation"):
            first -= 65536
        if entries.size == -(-size // 2) and descriptor[2] <= 8:  # two entries of 8 bits a word
            entries = entries.astype("<u2").view(np.uint8)
        if entries.size >= size > 1 and np.ptp(entries[:size]) > 0:
            used = entries[:size]
            return Table(first, used, (1 << int(used.max()).bit_length()) - 1)
    return None


def _entries(dataset: "Dataset", item: "Dataset") -> Values | None:
    data = get(item, "LUTData")
    if isinstance(data, bytes):
        order = "<" if dataset.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.2" else ">"
        return np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2").astype(np.uint16)
    try:
        return np.array(data, np.int64).astype(np.uint16) if data is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def _with_table(keyword: str, table: Table) -> "Dataset":
    """A dataset with one LUT in the one form that all of pydicom's functions take: words of 16 bits."""
    from pydicom import Dataset

    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [table.entries.size % 65536, table.first, 16])
    item.add_new("LUTData", "US", table.entries.tolist())
    settings = Dataset()
    setattr(settings, keyword, [item])
    return settings


def is_inverse(dataset: "Dataset", notes: list[str]) -> bool:
    """Whether small values are white: by Presentation LUT Shape where it is told, else by MONOCHROME1.

    Both say it (PS3.3 section C.8.11.3.1), and it is done once.
    """
    by_photometric = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    shape = text(dataset, "PresentationLUTShape").upper()
    if shape not in ("IDENTITY", "INVERSE"):
        return by_photometric
    if by_photometric != (shape == "INVERSE"):
        notes.append("photometric interpretation and presentation LUT shape contradict each other; the shape counts")
    return shape == "INVERSE"


def padding_of(dataset: "Dataset", every: Values) -> npt.NDArray[np.bool_]:
    """Which of all stored values are padding: from Pixel Padding Value to its Range Limit (PS3.3 C.7.5.1.1.2)."""
    value = numbers(dataset, "PixelPaddingValue")
    if not value:
        return np.zeros(every.size, bool)
    limit = numbers(dataset, "PixelPaddingRangeLimit") or value
    # a padding value may be written unsigned where pixels are signed
    ends = [end - every.size if every.dtype.kind == "i" and end > every.max() else end for end in (value[0], limit[0])]
    return np.asarray((every >= min(ends)) & (every <= max(ends)))


def make_square(
    image: Grey, aspect: float, spacing: tuple[float, float] | None
) -> tuple[Grey, tuple[float, float] | None]:
    """Resample pixels of `aspect` (height over width) to square ones of the shorter side; the spacing with them."""
    if abs(aspect - 1) < SQUARE:
        return image, spacing
    height, width = image.shape
    if aspect > 1:
        resampled = resize(image, width, round(height * aspect))
    else:
        resampled = resize(image, round(width / aspect), height)
    return resampled, (min(spacing), min(spacing)) if spacing else None


# --- the image, block by block ----------------------------------------------------------------------------


def _count(unsigned: Values, size: int) -> Values:
    """How many pixels have each stored value."""
    flat = unsigned.reshape(-1)
    blocks = (flat[start : start + BLOCK] for start in range(0, flat.size, BLOCK))
    return np.asarray(sum(np.bincount(block, minlength=size) for block in blocks))


def _look_up(levels: Grey, unsigned: Values) -> Grey:
    flat, grey = unsigned.reshape(-1), np.empty(unsigned.size, np.uint8)
    for start in range(0, flat.size, BLOCK):
        grey[start : start + BLOCK] = levels[flat[start : start + BLOCK]]
    return grey.reshape(unsigned.shape)
