"""How much burned-in text is found, and how often something is found where there is none.

Run ``python benchmarks/cleaning/detection.py --datasets NIH KERMANY [--side judging] [--images 200] [--out FILE]``.
Four questions, on patients and with fonts that nothing was tuned on (`--side judging`):

- **burned**: of the texts that `burn.py` burned into real X-rays, how many are found: at least 0.9 of a text's ink lies
  within the marks, each grown by 2 pixels. By kind, height of a capital, what lies under it, turn, and JPEG.
- **precision**: of the marks found in these images, how many lie on burned text or on a labelled real marker.
- **plain**: in how many X-rays without any text something is found. They are the middles (0.76 of each side) of the
  labelled X-rays, where no label reaches in; by collection and view: NIH's AP ones have the tubes and wires.
- **real**: of the markers in `real_markers.json` (200 X-rays, labelled by hand: each was pointed at in the picture, its
  bounds were drawn by a threshold and looked at), how many are found: the middle of one of the two lies in the other.

Intervals are Wilson's, 95 %.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from burn import Burned, BurnedText, Mask, add_sources, burn, xrays
from statsmodels.stats.proportion import proportion_confint

from synthcxr.cleaning.detect import MINIMUM_SCORE, shared_reader
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.solid import find_solid
from synthcxr.devices import describe
from synthcxr.images import Grey, read_grey
from synthcxr.store import Json, read_json, sha256_file, write_json

LABELS = Path(__file__).with_name("real_markers.json")
COVERED = 0.9
GROWN = 2
MIDDLE = 0.12
"""Part of each side that is cut away from an X-ray to get a piece without text."""


def main() -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sources(parser)
    parser.add_argument("--side", choices=("tuning", "judging"), default="judging")
    parser.add_argument("--images", type=int, default=200, help="X-rays into which text is burned")
    parser.add_argument("--skip", type=int, default=0, help="X-rays to leave out at first")
    parser.add_argument("--parts", nargs="+", default=["burned", "real", "plain"])
    parser.add_argument("--minimum-score", type=float, default=MINIMUM_SCORE)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    labels = _labels(options.data)

    def read(image: Grey) -> list[Mark]:
        marks = shared_reader().read(image, options.minimum_score)
        return [*marks, *find_solid(image, marks)]

    result: Json = {"side": options.side, "minimum_score": options.minimum_score, "machine": describe()}
    if "burned" in options.parts:
        paths = xrays(options.side, options.data, options.datasets)[options.skip : options.skip + options.images]
        result |= measure_burned(paths, options, labels, read)
    if "real" in options.parts:
        result["real"] = measure_real(options.data, labels, read)
    if "plain" in options.parts:
        result["plain"] = measure_plain(options, labels, read)
    if options.out:
        write_json(options.out, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


def _labels(data: Path) -> dict[str, list[Json]]:
    """The labelled marks by file. Raises SystemExit where an X-ray is not the one that was labelled."""
    held = read_json(LABELS)
    for name, row in held.items():
        path = _path(data, name)
        if path.is_file() and sha256_file(path) != row["sha256"]:
            raise SystemExit(f"{path} is not the X-ray that was labelled.")
    return {name: row["marks"] for name, row in held.items()}


def _path(data: Path, name: str) -> Path:
    source, _, file = name.partition("/")
    return data / source / "images" / file


def _name(path: Path) -> str:
    return f"{path.parents[1].name}/{path.name}"


def measure_burned(
    paths: Sequence[Path],
    options: argparse.Namespace,
    labels: dict[str, list[Json]],
    read: Callable[[Grey], list[Mark]],
) -> Json:
    """Recall of burned texts by group, precision where the real markers are known, and the texts that were missed."""
    found: dict[str, list[bool]] = defaultdict(list)
    right: list[bool] = []
    missed, seconds = [], 0.0
    for number, path in enumerate(paths):
        seed = options.skip + number
        image = read_grey(path)
        burned = burn(image, seed, options.side, avoid=_area(labels.get(_name(path), []), image.shape))
        begun = time.process_time()
        marks = read(burned.image)
        seconds += time.process_time() - begun
        cover = _cover(marks, image.shape)
        for index, text in enumerate(burned.texts):
            ink = burned.owner == index + 1
            share = float((cover & ink).sum() / ink.sum())
            for group in _groups(text, seed):
                found[group].append(share >= COVERED)
            if share < COVERED:
                missed.append({**text.__dict__, "image": path.name, "seed": seed, "covered": round(share, 2)})
        if _name(path) in labels:
            right += [_is_right(mark, burned, labels[_name(path)]) for mark in marks]
    return {
        "recall": {group: _share(found[group]) for group in sorted(found)},
        "precision": _share(right),
        "seconds_of_processor_an_image": round(seconds / len(paths), 3),
        "missed": missed,
    }


def _groups(text: BurnedText, seed: int) -> Iterator[str]:
    """The groups that a text counts in; but for the heights themselves, only texts of 10 pixels and more."""
    low, high = next(pair for pair in ((8, 10), (10, 14), (14, 20), (20, 40), (40, 61)) if text.size < pair[1])
    yield f"height {low:02d} to {high - 1}"
    if text.size >= 10:
        yield "all from 10 pixels"
        yield f"kind {text.kind}"
        yield f"under it {text.region}"
        yield f"turned {text.rotation:03d}"
        yield f"{'bright' if text.contrast > 0 else 'dark'} text"
        yield "JPEG" if seed % 3 == 0 else "no JPEG"
        if len(text.text) == 1:
            yield f"single {text.text}"


def measure_real(data: Path, labels: dict[str, list[Json]], read: Callable[[Grey], list[Mark]]) -> Json:
    """Recall of the labelled real markers by kind, and the marks that lie on none of them, by X-ray."""
    found: dict[str, list[bool]] = defaultdict(list)
    missed, extra, images = [], [], []
    for name, labelled in labels.items():
        marks = read(read_grey(_path(data, name)))
        for label in labelled:
            hit = any(_meet(mark, label["box"]) for mark in marks)
            held = f" in a {label['holder']}" if "holder" in label else ""
            found["all"].append(hit)
            found[f"kind {label['kind']}{held}"].append(hit)
            if not hit:
                missed.append({"image": name, **label})
        off = [mark for mark in marks if not any(_touch(mark, label["box"]) for label in labelled)]
        extra += [{"image": name, **mark.as_json()} for mark in off]
        images.append(bool(off))
    return {
        "recall": {group: _share(found[group]) for group in sorted(found)},
        "images with a mark on no label": _share(images),
        "missed": missed,
        "extra": extra,
    }


def measure_plain(
    options: argparse.Namespace, labels: dict[str, list[Json]], read: Callable[[Grey], list[Mark]]
) -> Json:
    """In how many middles of X-rays, all without text, something is found."""
    from synthcxr.imagefolder import read_rows

    views = {
        f"{row.fields['source']}/{Path(row.fields['source_file']).name}": row.fields.get("view")
        for folder in options.datasets
        for row in read_rows(folder)
    }
    false: dict[str, list[bool]] = defaultdict(list)
    which = []
    for name, labelled in labels.items():
        image = read_grey(_path(options.data, name))
        high, wide = image.shape
        top, left = round(MIDDLE * high), round(MIDDLE * wide)
        middle = np.zeros(image.shape, bool)
        middle[top : high - top, left : wide - left] = True
        if (middle & _area(labelled, image.shape)).any():
            continue
        marks = read(np.ascontiguousarray(image[top : high - top, left : wide - left]))
        for group in ("all", f"{name.partition('/')[0]} {views[name]}"):
            false[group].append(bool(marks))
        which += [{"image": name, **mark.as_json()} for mark in marks]
    return {"false": {group: _share(false[group]) for group in sorted(false)}, "marks": which}


def _cover(marks: Sequence[Mark], shape: tuple[int, ...]) -> Mask:
    """Where marks lie, grown a little."""
    import cv2

    area = np.zeros(shape, np.uint8)
    for mark in marks:
        cv2.fillPoly(area, [np.rint(mark.points).astype(np.int32)], 1)
    return np.asarray(cv2.dilate(area, np.ones((2 * GROWN + 1, 2 * GROWN + 1), np.uint8)), bool)


def _area(labelled: Sequence[Json], shape: tuple[int, ...]) -> Mask:
    """Where labelled boxes lie, grown by 8 pixels."""
    area = np.zeros(shape, bool)
    for label in labelled:
        left, top, right, bottom = label["box"]
        area[max(0, top - 8) : bottom + 8, max(0, left - 8) : right + 8] = True
    return area


def _is_right(mark: Mark, burned: Burned, labelled: Sequence[Json]) -> bool:
    on_text = bool((_cover([mark], burned.image.shape) & burned.mask).any())
    return on_text or any(_touch(mark, label["box"]) for label in labelled)


def _meet(mark: Mark, box: Sequence[float]) -> bool:
    """Whether the middle of a mark or of a box lies in the other."""
    low, high = mark.points.min(0), mark.points.max(0)
    own, other = (low + high) / 2, np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    inside = (box[0] <= own[0] <= box[2]) and (box[1] <= own[1] <= box[3])
    return bool(inside or ((low <= other).all() and (other <= high).all()))


def _touch(mark: Mark, box: Sequence[float]) -> bool:
    """Whether a mark reaches into a box that is grown by 8 pixels."""
    low, high = mark.points.min(0), mark.points.max(0)
    return bool(low[0] < box[2] + 8 and high[0] > box[0] - 8 and low[1] < box[3] + 8 and high[1] > box[1] - 8)


def _share(hits: Sequence[bool]) -> Json:
    if not hits:
        return {"of": 0}
    low, high = proportion_confint(sum(hits), len(hits), method="wilson")
    return {
        "share": round(sum(hits) / len(hits), 4),
        "ci": [round(float(low), 4), round(float(high), 4)],
        "number": sum(hits),
        "of": len(hits),
    }


if __name__ == "__main__":
    main()
