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
- **where**: the area under the ROC curve of a small network that is shown squares of 32 pixels centred where text was,
  after grain, and the same squares of the truth, and tells them apart; trained on training patients, with other fonts.
  0.5 is ideal. X-rays that were JPEGs after burning are left out, since compression alone would tell.
- **seconds**: of the processor, an X-ray, for the fill, grain and paste of all of its texts.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from burn import Burned, Levels, Mask, Side, add_sources, burn, xrays
from sklearn.metrics import roc_auc_score

from synthcxr.cleaning.inpaint import FILLS, inpaint
from synthcxr.cleaning.inpainters.base import Fill
from synthcxr.cleaning.segment import dilate
from synthcxr.devices import describe
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.images import Grey, read_grey
from synthcxr.store import Json, write_json

DILATION = 2
PEAK = 60.0
"""dB at which a text's PSNR is cut: over a black border nothing is wrong."""
SMALL, LARGE = 8, 32
"""Sides of the squares for the Fréchet distance and for the network that looks for text."""
SQUARES = 12
"""Squares of an X-ray."""
BASE = "telea"


@dataclass
class Found:
    """What was measured of one inpainter: PSNR of each text by X-ray and region, SSIM, squares, seconds."""

    before: list[tuple[int, str, float]] = field(default_factory=list)
    after: list[tuple[int, str, float]] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    small: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    large: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    seconds: float = 0.0


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sources(parser)
    parser.add_argument("--side", choices=("tuning", "judging"), default="judging")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--methods", nargs="+", default=[*FILLS])
    parser.add_argument("--without-where", action="store_true", help="train no network that looks for text")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    methods = {name: FILLS[name] for name in dict.fromkeys([BASE, *options.methods])}
    paths = partial(xrays, data=options.data, folders=options.datasets)
    truth, found = measure(paths(options.side)[: options.images], options.side, methods)
    result: Json = {"side": options.side, "images": options.images, "machine": describe()}
    result["methods"] = {name: summarise(found[name], found[BASE], truth, options.images) for name in methods}
    if not options.without_where:
        # the tail of the training side: a learned fill saw its patients, and the network is to see it at its best
        other_truth, other = measure(paths("tuning")[-options.images :], "tuning", methods)
        for name in methods:
            score = tell_apart(other[name].large, other_truth.large, found[name].large, truth.large)
            result["methods"][name]["where"] = score
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
            after = inpaint(burned.image, mask, partial(_keeping, fill, kept), seed)
            found[name].seconds += time.process_time() - begun
            for where, values in ((found[name].before, kept[0]), (found[name].after, after)):
                where += [(seed, region, value) for region, value in _psnr(values, burned)]
            found[name].ssim.append(float(ssim(after, burned.truth)[mask].mean()))
            _keep_squares(found[name], after, centres, seed)
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
    for squares, side in ((found.small, SMALL), (found.large, LARGE)):
        if side == SMALL or seed % 3:
            starts = centres - side // 2
            squares += [image[top : top + side, left : left + side] for top, left in starts]


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


def tell_apart(
    cleaned: Sequence[Grey], plain: Sequence[Grey], judged: Sequence[Grey], judged_plain: Sequence[Grey]
) -> Json:
    """Train a network to tell cleaned squares from plain ones, and judge it on others: AUC with its interval."""
    network = _train([*cleaned, *plain], [1] * len(cleaned) + [0] * len(plain))
    scores = np.concatenate([network(judged), network(judged_plain)])
    kind = np.repeat([1, 0], [len(judged), len(judged_plain)])
    order = np.random.default_rng(0)
    half = len(judged)
    draws = []
    for _ in range(400):
        chosen = order.integers(half, size=half)
        both = np.concatenate([chosen, half + chosen])
        draws.append(roc_auc_score(kind[both], scores[both]))
    low, high = np.percentile(draws, (2.5, 97.5))
    return {"auc": round(float(roc_auc_score(kind, scores)), 3), "ci": [round(low, 3), round(high, 3)], "squares": half}


def _train(squares: Sequence[Grey], kinds: Sequence[int]) -> Callable[[Sequence[Grey]], npt.NDArray[np.float32]]:
    """A small network after 12 rounds over the squares, each turned and mirrored at random."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.ReLU(), nn.Conv2d(24, 48, 3, stride=2), nn.ReLU()),
        *(nn.Conv2d(48, 64, 3, stride=2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1)),
    ).to(memory_format=torch.channels_last)

    def prepare(images: Sequence[Grey]) -> Any:
        values = np.stack(images).astype(np.float32)[:, None]
        return torch.from_numpy((values - values.mean((2, 3), keepdims=True)) / 16)

    given, wanted = prepare(squares), torch.tensor(kinds, dtype=torch.float32)
    rounds, size = 12, 64
    steps = rounds * (len(given) // size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        chosen = torch.randint(len(given), (size,))
        turned = torch.rot90(given[chosen], step % 4, (2, 3))
        turned = turned.flip(3) if step % 8 > 3 else turned
        loss = nn.functional.binary_cross_entropy_with_logits(network(turned)[:, 0], wanted[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    def score(images: Sequence[Grey]) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            return np.asarray(network(prepare(images))[:, 0].numpy(), np.float32)

    return score


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
