"""What can still be read after `clean`, of text whose truth is known, and whether a review catches it.

Run ``python benchmarks/cleaning/residual.py --datasets NIH KERMANY [--images 100] [--workers 1] [--out FILE]``.
Text is burned into X-rays of patients and in fonts that nothing was tuned on; the whole stage cleans them, nothing
kept. Then both readers read every place where text was, upright, with its true bounds given (so that nothing depends
on whether the stage found it). A text counts as readable where what a reader reads there is like the truth, by the
measure that the stage itself uses. Intervals are Wilson's, 95 %.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from burn import Burned, BurnedText, add_sources, burn, xrays
from detection import _share

from synthcxr import CleanConfig
from synthcxr.cleaning.clean import clean
from synthcxr.cleaning.detect import shared_reader
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.remove import is_legible, overlap
from synthcxr.cleaning.second_reader import read_marks
from synthcxr.devices import describe
from synthcxr.images import Grey, read_grey, write_png
from synthcxr.store import Json, read_jsonl, write_json

LEAST = 10
"""Heights in pixels of the texts that count."""


def main() -> None:
    """Burn, clean, read again, and print what is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sources(parser)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--inpainter", default="learned")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        burned = write_burned(place / "in", xrays("judging", options.data, options.datasets)[: options.images])
        clean(
            CleanConfig(
                folder=place / "in",
                out=place / "out",
                keep=["nothing"],
                allow_residual=True,
                inpainter=options.inpainter,
                workers=options.workers,
            )
        )
        result = {"machine": describe(), "inpainter": options.inpainter, **measure(place / "out", burned)}
    if options.out:
        write_json(options.out, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


def write_burned(folder: Path, paths: list[Path]) -> dict[str, Burned]:
    """X-rays with text as PNGs, and their truth by file name."""
    written = {}
    for number, path in enumerate(paths):
        name = f"{number:04d}.png"
        written[name] = burn(read_grey(path), number, "judging")
        write_png(folder / name, written[name].image)
    return written


def measure(cleaned: Path, burned: dict[str, Burned]) -> Json:
    """Shares of the texts that either reader still reads, before and after, and how many of these no review caught."""
    before, after, missed, reviewed = list[bool](), list[bool](), list[bool](), 0
    examples = []
    for row in read_jsonl(cleaned / "proof.jsonl"):
        truth = burned[Path(row["file_name"]).name]
        image, in_review = read_grey(cleaned / row["file"]), row["status"] == "residual"
        reviewed += in_review
        texts = [text for text in truth.texts if text.size >= LEAST]
        marks = [_mark(text) for text in texts]
        was, still = readable(truth.image, marks), readable(image, marks)
        before += was
        after += still
        missed += [left and not in_review for left in still]
        examples += [
            {"text": text.text, "size": text.size, "image": row["file_name"], "in_review": in_review}
            for text, left in zip(texts, still, strict=True)
            if left
        ]
    return {
        "images": len(burned),
        "images_in_review": reviewed,
        "readable_before": _share(before),
        "readable_after": _share(after),
        "readable_after_and_not_in_review": _share(missed),
        "left": examples,
    }


def _mark(text: BurnedText) -> Mark:
    """A burned text's true bounds, words and turn."""
    left, top, right, bottom = map(float, text.bounds)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Mark(corners, text.text, 1.0, text.kind, text.rotation)


def readable(image: Grey, marks: list[Mark]) -> list[bool]:
    """Whether either reader reads at each mark's place something like its words."""
    first = shared_reader().read(image)
    second = read_marks(image, marks)
    return [
        is_legible(other, [mark.text])
        or any(overlap(one, mark) >= 0.5 and is_legible(one.text, [mark.text]) for one in first)
        for mark, other in zip(marks, second, strict=True)
    ]


if __name__ == "__main__":
    main()
