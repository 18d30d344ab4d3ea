"""Small piles of images for the tests of the reader study: real ones are rough, synthetic ones smooth."""

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from synthcxr.config import StudyNewConfig
from synthcxr.imagefolder import write_rows
from synthcxr.images import Grey, write_png
from synthcxr.store import Json, open_output, read_jsonl
from synthcxr.study.folder import SHEET, TRUTH
from synthcxr.study.new import new

Cells = dict[str, str]


def rough(index: int, side: int = 16) -> Grey:
    return np.random.default_rng(index).integers(0, 256, (side, side), dtype=np.uint8)


def smooth(index: int, side: int = 16) -> Grey:
    return np.full((side, side), 10 + index, np.uint8)


def plain_folder(folder: Path, images: Iterable[Grey]) -> Path:
    for index, image in enumerate(images):
        write_png(folder / f"img{index}.png", image)
    return folder


def image_folder(folder: Path, kind: str, split: str, rows: list[tuple[Json, Grey]]) -> Path:
    """A dataset or a set of one split, sealed by a manifest as its stage would."""
    with open_output(folder, kind, {}) as output:
        for fields, image in rows:
            write_png(folder / split / fields["file_name"], image, {"made by": "somebody"})
        write_rows(folder, split, [fields for fields, _ in rows])
        output.finish(inputs={}, counts={}, environment={})
    return folder


def make_piles(root: Path, real: int = 6, synthetic: int = 5) -> tuple[Path, Path]:
    drawn = [({"file_name": f"{i}.png", "text": f"prompt {i}", "seed": 100 + i}, smooth(i)) for i in range(synthetic)]
    return (
        plain_folder(root / "real", (rough(i) for i in range(real))),
        image_folder(root / "synthetic", "set", "train", drawn),
    )


def make_study(root: Path, count: int = 3, seed: int = 7) -> Path:
    real, synthetic = make_piles(root)
    return new(StudyNewConfig(real=real, synthetic=synthetic, count=count, seed=seed, out=root / "study"))


def truth_of(study: Path) -> dict[str, str]:
    return {row["image"]: row["truth"] for row in read_jsonl(study / TRUTH)}


def sheet_rows(study: Path) -> list[Cells]:
    return list(csv.DictReader(io.StringIO((study / SHEET).read_text())))


def write_csv(path: Path, rows: list[Cells]) -> Path:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(buffer.getvalue())
    return path


def fill(study: Path, path: Path, reader: str, answer: Callable[[str, str], Cells]) -> Path:
    """Fill in the blank sheet of a study: `answer` gives the cells for an image and its truth."""
    truth = truth_of(study)
    rows = [{**row, "reader": reader, **answer(row["image"], truth[row["image"]])} for row in sheet_rows(study)]
    return write_csv(path, rows)


def original_reading() -> bytes:
    """The reading that this project starts from: 43 of 50 synthetic and 38 of 50 real images called right."""
    called = {"synthetic": ["synthetic"] * 43 + ["real"] * 7, "real": ["real"] * 38 + ["synthetic"] * 12}
    lines = [f"R1,{truth}-{i}.png,{truth},{word}" for truth in called for i, word in enumerate(called[truth])]
    return "\n".join(["reader,image,truth,answer", *lines, ""]).encode()
