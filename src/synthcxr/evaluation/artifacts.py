"""Artifacts: burned-in text, borders, grids, saturation, and whether noise and fine detail are as in real images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from synthcxr.evaluation.answer import Answer, Chart, Sheet, Table
from synthcxr.evaluation.distributions import COLUMNS, Compared, Kind, differs, oddest
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Estimate, Floats, Ints, wilson
from synthcxr.evaluation.measure import metric
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, to_square
from synthcxr.store import Json

READ = 100
"""Images a side that are read for text: one takes seconds."""
STRIP = 0.02
"""Part of the side from which a uniform strip along an edge counts as a border."""
FLAT = 2.0
"""Deviation in grey levels up to which a row or column of pixels counts as uniform."""
STRIDES = (0.0, 0.125, 0.25, 0.375, 0.5)
"""Frequencies, in cycles a pixel, at which up-sampling by 2, 4 and 8 and JPEG leave grids."""
FINE = 0.25
"""Cycles a pixel from which detail counts as fine: half of the highest that pixels can show."""
BANDS = 32
"""Bands of the power spectrum, from 0 to half a cycle a pixel."""
SHOWN = 8

SIGNS = {
    "noise": Kind("Noise", "noise in grey levels (Immerkær 1996)", "grey levels"),
    "fine_detail": Kind("Fine detail", "power beyond a quarter of a cycle a pixel, as a power of ten", "decades"),
    "grid": Kind("Grid", "how far a grid of 2, 4 or 8 pixels stands out of the spectrum, as a power of ten", "decades"),
    "saturation": Kind("Saturation", "the share of pixels at black or white", "share"),
}
"""What is measured of every image."""
_WILSON = "95 % Wilson interval, of real images at the number of patients"


@dataclass(frozen=True)
class Signs:
    """What one image shows: the measures of `SIGNS`, its widest `border` in parts of the side, its power `spectrum`
    (log10, `BANDS` of it), and the words burned in (None where it was not read)."""

    noise: float
    fine_detail: float
    grid: float
    saturation: float
    border: float
    spectrum: Floats
    text: tuple[str, ...] | None = None


def answer_artifacts(real: FeatureSet, synthetic: FeatureSet, *, workers: int = 1, seed: int = 0) -> Answer:
    """What synthetic images show that real ones do not, or less often; `workers` processes, 0 for one a core.

    Both sides are measured at the smaller side's size. Where the real images are not at hand, nothing is compared.
    """
    sizes: Json = {"n_real": len(real), "n_synthetic": len(synthetic)}
    missing = next((side.name for side in (real, synthetic) if None in side.rows), None)
    if missing:
        reason = f"{missing} has features alone: the images are needed."
        none = metric("artifacts", None, title="Artifacts", reason=reason, **sizes)
        return Answer("artifacts", f"Not answered: {reason}", (none,))
    side = min(min(size) for each in (real, synthetic) for size in each.sizes)
    resized = any(size != (side, side) for each in (real, synthetic) for size in each.sizes)
    on_real, on_drawn = (look(each, side, workers, seed + i) for i, each in enumerate((real, synthetic)))
    compared = [
        Compared(name, kind, _values(name, on_real), _values(name, on_drawn), real.patients, seed)
        for name, kind in SIGNS.items()
    ]
    rates = [_rate(name, on_real, on_drawn, real.patients) for name in RATES]
    metrics = [*rates, *(entry for each in compared for entry in each.metrics())]
    warnings = (
        f"Not all images have {side} × {side} pixels: they were brought to it, which changes noise and fine detail.",
    )
    return Answer(
        "artifacts",
        _verdict(rates, compared),
        tuple(metrics),
        warnings if resized else (),
        (
            Table(
                "Artifacts",
                COLUMNS,
                tuple(each.row() for each in compared),
                "Odd: outside the range of 95 % of real images.",
            ),
        ),
        (_chart(on_real, on_drawn),),
        (_sheet(synthetic, on_drawn, compared),),
        {"artifacts.jsonl": [_line(name, each) for name, each in zip(synthetic.labels, on_drawn, strict=True)]},
    )


# --- one image ---------------------------------------------------------------------------------------------


def look(images: FeatureSet, side: int, workers: int, seed: int) -> list[Signs]:
    """The signs of every image; of `READ` of them, chosen by the seed, with what is burned in."""
    from synthcxr.workers import map_in_workers

    rows = [row for row in images.rows if row]
    read = set(np.random.default_rng(seed).permutation(len(rows))[:READ].tolist())
    items = [(row, i in read) for i, row in enumerate(rows)]
    return list(map_in_workers(partial(_look, side=side), items, workers))


def _look(item: tuple[Row, bool], side: int) -> Signs:
    row, read = item
    image = row.read()
    found = signs(image if image.shape == (side, side) else to_square(image, side))
    if not read:
        return found
    return replace(found, text=tuple(words(image)))


def words(image: Grey) -> list[str]:
    """The lines of text in an image, as `clean` finds them."""
    from synthcxr.cleaning.detect import shared_reader
    from synthcxr.cleaning.remove import find
    from synthcxr.data.burned_in import MINIMUM_SCORE

    return [box.text for box in find(image, lambda grey: shared_reader().read(grey, MINIMUM_SCORE))]


def signs(image: Grey) -> Signs:
    """What a grey square image shows, text left out."""
    power = log_power(image)
    frequency = _radius(len(power))
    fine = 10 ** power[(frequency > FINE) & (frequency <= 0.5)]
    return Signs(
        noise=noise(image),
        fine_detail=float(np.log10(fine.mean())),
        grid=grid(power),
        saturation=float(np.mean((image == 0) | (image == 255))),
        border=border(image),
        spectrum=bands(power),
    )


def noise(image: Grey) -> float:
    """The deviation of noise in grey levels (Immerkær, "Fast noise variance estimation", CVIU 1996).

    Edges and planes drop out of the difference of two Laplacians; fine structure does not quite.
    """
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
    answer = cv2.filter2D(image.astype(np.float64), -1, mask)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) * np.abs(answer).mean() / 6)


def log_power(image: Grey) -> Floats:
    """log10 of a square image's power spectrum (side, side), lowest frequencies first; Hann windows fade its edges."""
    window = np.hanning(len(image))
    grey = image.astype(np.float64) - image.mean()
    return np.asarray(np.log10(np.abs(np.fft.fft2(grey * window[:, None] * window) / len(image)) ** 2 + 1e-6))


def _radius(side: int) -> Floats:
    """The frequency of every bin of a spectrum (side, side), in cycles a pixel."""
    each = np.fft.fftfreq(side)
    return np.asarray(np.hypot(each[:, None], each))


def bands(power: Floats) -> Floats:
    """Mean log power (BANDS,) in rings of equal width from 0 to half a cycle a pixel."""
    ring = np.minimum((_radius(len(power)) / 0.5 * BANDS).astype(int), BANDS).ravel()
    sums, counts = np.bincount(ring, power.ravel(), BANDS + 1), np.bincount(ring, minlength=BANDS + 1)
    return np.asarray(sums[:BANDS] / np.maximum(counts[:BANDS], 1), np.float64)


def grid(power: Floats) -> float:
    """How far the highest of the bins at `STRIDES`, both ways, stands out of the median around it, in decades.

    A bin on an axis is compared along that axis: straight edges, as an image's border has, raise all of it.
    """
    side, found = len(power), []
    near = np.r_[-5:-1, 2:6]
    for v, u in product(STRIDES, STRIDES):
        y, x = round(v * side), round(u * side)
        if v and u:
            around = power.take(y + np.arange(-5, 6), 0, mode="wrap").take(x + near, 1, mode="wrap")
        elif v or u:
            around = (power[:, 0] if v else power[0]).take(y + x + near, mode="wrap")
        else:
            continue
        found.append(float(power[y, x] - np.median(around)))
    return max(found)


def border(image: Grey) -> float:
    """The widest uniform strip along an edge, in parts of the side; 1 for an image of one grey level."""
    widths = []
    for lines in (image, image[::-1], image.T, image.T[::-1]):
        changes = lines.std(1) > FLAT
        widths.append(int(np.argmax(changes)) if changes.any() else len(lines))
    return max(widths) / len(image)


def _values(name: str, signs: Sequence[Signs]) -> Floats:
    return np.array([getattr(each, name) for each in signs])


# --- a set -------------------------------------------------------------------------------------------------

RATES = {
    "burned_in_text": ("Burned-in text", "share of images in which the reader reads letters"),
    "border": ("Borders", f"share of images with a uniform strip of {STRIP:.0%} of the side along an edge"),
}


def _has(name: str, signs: Sequence[Signs]) -> Floats:
    """1, 0, or NaN where it was not looked for."""
    if name == "border":
        return np.array([float(each.border >= STRIP) for each in signs])
    return np.array([np.nan if each.text is None else float(bool(each.text)) for each in signs])


def _share(has: Floats, owners: Ints) -> tuple[Estimate, int]:
    known = has[np.isfinite(has)]
    count = len(np.unique(owners[np.isfinite(has)]))
    share = float(known.mean())
    return Estimate(share, *wilson(share * count, count)), len(known)


def _rate(name: str, real: Sequence[Signs], synthetic: Sequence[Signs], patients: Ints) -> Json:
    title, meaning = RATES[name]
    drawn, n_drawn = _share(_has(name, synthetic), np.arange(len(synthetic)))
    beside, n_real = _share(_has(name, real), patients)
    return metric(
        f"{name}_rate",
        drawn,
        n_real=n_real,
        n_synthetic=n_drawn,
        unit="share",
        better="real",
        interval=_WILSON,
        estimand="The share among endless images of this model.",
        title=title,
        meaning=f"{meaning}; of real images {beside.value:.1%} do",
        ceiling=beside.value,
        real=asdict(beside),
    )


def _verdict(rates: Sequence[Json], compared: Sequence[Compared]) -> str:
    said = [
        f"{each['title'].lower()} in {100 * each['value']:.0f} % of images ({100 * each['ci_low']:.0f} to "
        f"{100 * each['ci_high']:.0f} %; of real ones {100 * each['real']['value']:.0f} %)"
        for each in rates
    ]
    other = []
    for each in compared:
        difference, odd = each.metrics()
        if differs(difference) or differs(odd):
            share = (
                f", {100 * odd['value']:.0f} % of images outside the range of 95 % of real ones" if differs(odd) else ""
            )
            other.append(f"{_more_or_less(each.kind, difference)}{share}")
    tail = (
        f" Unlike real images: {'; '.join(other)}."
        if other
        else " Noise, fine detail, grids and saturation are as in real images."
    )
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}.{tail}"


def _more_or_less(kind: Kind, difference: Json) -> str:
    less = difference["value"] < 0
    if kind.unit == "decades":
        amount = f"{10 ** abs(difference['value']):.2g} times {'lower' if less else 'higher'}"
    else:
        means = (difference[side]["mean"] for side in ("synthetic", "real"))
        amount = " against ".join(f"{mean:.2g}" for mean in means) + f" {kind.unit}"
    return f"{'less' if less else 'more'} {kind.title.lower()} ({amount})"


def _chart(real: Sequence[Signs], synthetic: Sequence[Signs]) -> Chart:
    from synthcxr.report.charts import curves

    middle = (np.arange(BANDS) + 0.5) / BANDS / 2
    means = {
        name: np.mean([each.spectrum for each in s], axis=0) for name, s in (("real", real), ("synthetic", synthetic))
    }
    lowest = min(mean.min() for mean in means.values())
    lines = {name: list(zip(middle.tolist(), (mean - lowest).tolist(), strict=True)) for name, mean in means.items()}
    return Chart(
        "Power spectrum",
        str(curves(lines, "cycles a pixel", "Mean power of real and synthetic images by frequency")),
        "Powers of ten above the lowest. To the right is fine detail and noise: below real images means too smooth.",
    )


def _sheet(synthetic: FeatureSet, signs: Sequence[Signs], compared: Sequence[Compared]) -> Sheet:
    """Images with text, then those that stand out most by any measure."""
    shown = {i: f"text: {' / '.join(each.text)}" for i, each in enumerate(signs) if each.text}
    shown = dict(list(shown.items())[: SHOWN // 2])
    for i, each in oddest(compared, SHOWN):
        if len(shown) < SHOWN:
            shown.setdefault(i, f"{each.kind.title.lower()} {each.synthetic[i]:.3g} {each.kind.unit}")
    return Sheet(
        "What stands out",
        tuple((synthetic.rows[i], f"{synthetic.labels[i]}: {words}") for i, words in shown.items()),
        note="Synthetic images with text in them, and those farthest from real ones by each measure.",
    )


def _line(label: str, signs: Signs) -> Json:
    values = {name: round(float(getattr(signs, name)), 5) for name in (*SIGNS, "border")}
    return {"file_name": label, **values, "text": None if signs.text is None else list(signs.text)}
