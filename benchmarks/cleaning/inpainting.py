"""How near a fill comes to what the text hid, and whether one can tell where the text was.

Run ``python benchmarks/cleaning/inpainting.py --datasets NIH KERMANY [--methods learned telea …] [--out FILE]``.
Text is burned into X-rays (`burn.py`), and what `inpaint` makes of it is compared with the X-ray as it was. The mask is
the ink grown by 2 pixels, so that no finding and segmenting is in the figures. On patients of validation and test, with
fonts that nothing was tuned on (`--side judging`):

- **psnr**: inside each text's mask, before grain (the fill itself) and after (what is written): mean over texts of dB;
  `gain` is the mean difference to OpenCV's Telea, in the same texts. 95 % intervals by bootstrap over X-rays.
- **ssim**: the usual one (Gaussian of 1.5 pixels), after grain, its mean over the pixels of the mask.
- **patches**: the Fréchet distance between 8 × 8 squares centred in the mask, after grain and in the truth, their means
  taken away, in squared grey levels a pixel. 0 is ideal; a fill that is too smooth or too rough has more.
- **where**: the area under the ROC curve of a classifier that is shown squares of 32 pixels centred where text was, and
  the same squares of the truth, and tells them apart: boosted trees on statistics of grain and detail, trained on
  training patients with other fonts. After grain, and before it, which shows what the classifier can see. 0.5 is ideal.
  X-rays that were JPEGs after burning are left out, since compression alone would tell.
- **seconds**: of the processor, an X-ray, for the fill, grain and paste of all of its texts.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from burn import Burned, Levels, Mask, Side, add_sources, burn, xrays
from sklearn.metrics import roc_auc_score

from synthcxr.cleaning.inpaint import FILLS, find_fill, inpaint
from synthcxr.cleaning.inpainters.base import Fill
from synthcxr.cleaning.segment import dilate
from synthcxr.devices import describe
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.images import Grey, read_grey
from synthcxr.store import Json, write_json

DILATION = 2
Floats = npt.NDArray[np.float64]

PEAK = 60.0
"""dB at which a text's PSNR is cut: over a black border nothing is wrong."""
SMALL, LARGE = 8, 32
"""Sides of the squares for the Fréchet distance and for the classifier that looks for text."""
SQUARES = 32
"""Squares of an X-ray."""
BASE = "telea"


@dataclass
class Found:
    """What was measured of one inpainter: PSNR of each text by X-ray and region, SSIM, squares, seconds.

    Squares are `small` and `large` ones after grain, and large ones before it (`bare`).
    """

    before: list[tuple[int, str, float]] = field(default_factory=list)
    after: list[tuple[int, str, float]] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    small: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    large: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    bare: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sources(parser)
    parser.add_argument("--side", choices=("tuning", "judging"), default="judging")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--methods", nargs="+", default=[*FILLS], help="of them, or diffusion")
    parser.add_argument("--model", default="bundled", help="that of diffusion")
    parser.add_argument("--without-where", action="store_true", help="train no classifier that looks for text")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    methods = {name: find_fill(name, options.model) for name in dict.fromkeys([BASE, *options.methods])}
    paths = partial(xrays, data=options.data, folders=options.datasets)
    truth, found = measure(paths(options.side)[: options.images], options.side, methods)
    result: Json = {"side": options.side, "images": options.images, "machine": describe()}
    result["methods"] = {name: summarise(found[name], found[BASE], truth, options.images) for name in methods}
    if not options.without_where:
        # the tail of the training side: a learned fill saw its patients, so let the classifier see it at its best
        other_truth, other = measure(paths("tuning")[-options.images :], "tuning", methods)
        plain = describe_squares(other_truth.large), describe_squares(truth.large)
        for name in methods:
            for where in ("large", "bare"):
                learned_from, judged = (describe_squares(getattr(side[name], where)) for side in (other, found))
                score = tell_apart(learned_from, judged, *plain)
                result["methods"][name]["where" if where == "large" else "where_before_grain"] = score
    if options.out:
        write_json(options.out, result)
    print(json.dumps(result, indent=1))
    print("\n".join(table(result["methods"])))


def measure(paths: Sequence[Path], side: Side, methods: dict[str, Fill]) -> tuple[Found, dict[str, Found]]:
    """Squares of the truth, and what each method made of the same texts."""
    truth, found = Found(), {name: Found() for name in methods}
    for seed, path in enumerate(paths):
        burned = burn(read_grey(path), seed, side)
        mask = dilate(burned.mask, DILATION)
        centres = _centres(mask, np.random.default_rng(seed))
        _keep_squares(truth, burned.truth, centres, seed)
        for name, fill in methods.items():
            kept: list[Levels] = []
            begun = time.process_time()
            after = inpaint(burned.image, mask, partial(_keeping, fill, kept))
            found[name].seconds += time.process_time() - begun
            for where, values in ((found[name].before, kept[0]), (found[name].after, after)):
                where += [(seed, region, value) for region, value in _psnr(values, burned)]
            found[name].ssim.append(float(ssim(after, burned.truth)[mask].mean()))
            _keep_squares(found[name], after, centres, seed)
            if seed % 3:
                found[name].bare += _cut(np.rint(kept[0]).astype(np.uint8), centres, LARGE)
    return truth, found


def _keeping(fill: Fill, kept: list[Levels], levels: Levels, mask: Mask) -> Levels:
    kept.append(fill(levels, mask))
    return kept[-1]


def _psnr(values: npt.NDArray[Any], burned: Burned) -> Iterator[tuple[str, float]]:
    """The region of each text, and the PSNR inside its mask."""
    wrong = (values.astype(np.float64) - burned.truth) ** 2
    for number, text in enumerate(burned.texts, start=1):
        own = dilate(burned.owner == number, DILATION)
        yield text.region, float(min(PEAK, -10 * np.log10(max(wrong[own].mean(), 1e-9) / 255**2)))


def ssim(one: Grey, other: Grey) -> Levels:
    """The map of structural similarity (Wang et al. 2004): K1 0.01, K2 0.03, Gaussian windows of 1.5 pixels."""
    import cv2

    def blur(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5))

    x, y = one.astype(np.float64), other.astype(np.float64)
    x_mean, y_mean = blur(x), blur(y)
    x_spread, y_spread = blur(x * x) - x_mean**2, blur(y * y) - y_mean**2
    both = blur(x * y) - x_mean * y_mean
    light = (2 * x_mean * y_mean + 2.55**2) / (x_mean**2 + y_mean**2 + 2.55**2)
    return np.asarray(light * (2 * both + 7.65**2) / (x_spread + y_spread + 7.65**2), np.float32)


def _centres(mask: Mask, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Masked pixels around which a large square lies in the image, chosen at random."""
    half = LARGE // 2
    inner = mask.copy()
    inner[:half], inner[-half:], inner[:, :half], inner[:, -half:] = False, False, False, False
    places = np.argwhere(inner)
    return random.permutation(places)[:SQUARES]


def _keep_squares(found: Found, image: Grey, centres: npt.NDArray[np.int64], seed: int) -> None:
    found.small += _cut(image, centres, SMALL)
    if seed % 3:
        found.large += _cut(image, centres, LARGE)


def _cut(image: Grey, centres: npt.NDArray[np.int64], side: int) -> list[Grey]:
    return [image[top : top + side, left : left + side] for top, left in centres - side // 2]


def summarise(found: Found, base: Found, truth: Found, images: int) -> Json:
    """Means and their intervals, by region."""
    regions: dict[str, Json] = {}
    for region in ("lung", "bone", "border"):
        rows = [
            (seed, before, after, before - rough)
            for (seed, where, before), (_, _, after), (_, _, rough) in zip(
                found.before, found.after, base.before, strict=True
            )
            if where == region
        ]
        if rows:
            regions[region] = {
                "texts": len(rows),
                **{name: _mean([(row[0], row[index]) for row in rows]) for index, name in enumerate(COLUMNS, start=1)},
            }
    return {
        "psnr": regions,
        "ssim": round(float(np.mean(found.ssim)), 4),
        "patches": round(_patch_distance(found.small, truth.small), 3),
        "seconds": round(found.seconds / images, 3),
    }


COLUMNS = ("before_grain", "after_grain", "gain")


def _mean(values: Sequence[tuple[int, float]]) -> Json:
    """A mean, and the 95 % interval of its bootstrap over X-rays."""
    groups: dict[int, list[float]] = defaultdict(list)
    for seed, value in values:
        groups[seed].append(value)
    sums = np.array([(sum(group), len(group)) for group in groups.values()])
    draws = np.random.default_rng(0).integers(len(sums), size=(1000, len(sums)))
    means = sums[draws, 0].sum(1) / sums[draws, 1].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return {"mean": round(float(sums[:, 0].sum() / sums[:, 1].sum()), 2), "ci": [round(low, 2), round(high, 2)]}


def _patch_distance(squares: Sequence[Grey], truth: Sequence[Grey]) -> float:
    flat = [np.reshape(part, (len(part), -1)).astype(np.float64) for part in (squares, truth)]
    return float(frechet_distance(*(moments(part - part.mean(1, keepdims=True)) for part in flat))) / SMALL**2


def tell_apart(cleaned: Floats, judged: Floats, plain: Floats, judged_plain: Floats) -> Json:
    """Train a classifier to tell `cleaned` squares from `plain` ones, and judge it on the others: AUC, its interval.

    The interval is a bootstrap over squares.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, l2_regularization=1.0, random_state=0)
    trees.fit(np.concatenate([cleaned, plain]), [1] * len(cleaned) + [0] * len(plain))
    scores = trees.predict_proba(np.concatenate([judged, judged_plain]))[:, 1]
    half = len(judged)
    kind = np.repeat([1, 0], half)
    order = np.random.default_rng(0)
    draws = []
    for _ in range(300):
        chosen = order.integers(half, size=half)
        both = np.concatenate([chosen, half + chosen])
        draws.append(roc_auc_score(kind[both], scores[both]))
    low, high = np.percentile(draws, (2.5, 97.5))
    return {"auc": round(float(roc_auc_score(kind, scores)), 3), "ci": [round(low, 3), round(high, 3)], "squares": half}


def describe_squares(squares: Sequence[Grey]) -> Floats:
    """Statistics of many squares, (n, statistics)."""
    return np.stack([*map(describe_square, squares)])


def describe_square(square: Grey) -> npt.NDArray[np.float64]:
    """Statistics of a square that show where grain is missing or other than around.

    Of three bands of detail: quantiles of its local strength, its strength in the middle and at the rim, its
    correlation between neighbours, its kurtosis; the mean power of the cosine transform of 8 × 8 blocks in the middle
    and of those at the rim.
    """
    import cv2

    values = square.astype(np.float32)
    levels = [values, *(cv2.GaussianBlur(values, (0, 0), width) for width in (0.8, 1.6, 3.2))]
    middle = np.zeros(square.shape, bool)
    middle[LARGE // 4 : -LARGE // 4, LARGE // 4 : -LARGE // 4] = True
    found: list[float] = []
    for finer, coarser in pairwise(levels):
        band = finer - coarser
        strength = np.log(cv2.GaussianBlur(band * band, (0, 0), 2) + 1e-2)
        found += [*np.percentile(strength, (2, 10, 25, 50, 75, 90, 98))]
        found += [strength[middle].mean(), strength[~middle].mean(), strength[middle].min() - np.median(strength)]
        spread = band.std() + 1e-3
        found += [float((band[:, 1:] * band[:, :-1]).mean()), float((band[1:] * band[:-1]).mean())]
        found += [float(((band / spread) ** 4).mean()), float(spread)]
    blocks = values.reshape(4, 8, 4, 8).swapaxes(1, 2)
    power = np.array([[np.log(cv2.dct(np.ascontiguousarray(block)) ** 2 + 0.1) for block in row] for row in blocks])
    inner = power[1:3, 1:3].mean((0, 1)).ravel()[1:]
    outer = (power.sum((0, 1)).ravel()[1:] - 4 * inner) / 12
    return np.array([*found, *inner, *(inner - outer)])


def table(methods: Json) -> Iterator[str]:
    """The figures as a table of Markdown."""
    yield "| inpainter | lung, dB | bone, dB | gain in both | after grain | SSIM | patches | where (AUC) | seconds |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, row in methods.items():
        lung, bone = row["psnr"]["lung"], row["psnr"]["bone"]
        where = f"{row['where']['auc']} ({row['where']['ci'][0]} to {row['where']['ci'][1]})" if "where" in row else ""
        cells = [
            *(name, lung["before_grain"]["mean"], bone["before_grain"]["mean"]),
            *(f"{lung['gain']['mean']:+.2f}, {bone['gain']['mean']:+.2f}",),
            *(f"{lung['after_grain']['mean']}, {bone['after_grain']['mean']}", row["ssim"], row["patches"]),
            *(where, row["seconds"]),
        ]
        yield f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
