"""Our `prepare` on DICOMs beside the plain loop of pydicom and Pillow, in one run, images a second.

    python benchmarks/dicom_reading.py [--count 120] [--side 2500] [--rounds 3] [--workers 0]

*plain* is what a script does, in one process: `dcmread`, `pixel_array`, modality and VOI LUT, 8 bits, Pillow's resize
and crop, a PNG. *prepare* is the whole stage with worker processes: their start, checks of each image, prompts, rows
and the manifest included, the comparison of images with each other and the encoder's judgement left out. Both read
the same made-up files; the sides take turns at going first, ratios are taken round by round, and the pictures of both
are compared in grey levels. The result is printed and kept in ``benchmarks/results/``.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.data.dicom_files import compress, make, save

from synthcxr import PrepareConfig, prepare
from synthcxr.devices import describe, worker_count
from synthcxr.images import read_grey
from synthcxr.store import write_json

RESULTS = Path(__file__).parent / "results" / "dicom_reading.json"
KINDS = {"uncompressed": "", "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90"}
RESOLUTION = 256
LEFT_OUT = [
    *("duplicate-same-patient", "duplicate-other-patient"),
    *("not-frontal", "inverted", "rotated", "wrong-label"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--side", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "images": options.count,
        "side": options.side,
        "resolution": RESOLUTION,
        "workers": worker_count(options.workers),
        "machine": describe(),
        "kinds": {name: measure(syntax, options) for name, syntax in KINDS.items()},
    }
    write_json(RESULTS, result)
    for name, found in result["kinds"].items():
        print(
            f"{name}: plain {found['images_per_second']['plain']:.2f}, prepare "
            f"{found['images_per_second']['prepare']:.2f} images a second, {found['ratio']:.2f} times "
            f"({found['ratio_lowest']:.2f} to {found['ratio_highest']:.2f}); "
            f"largest difference {found['largest_difference_levels']} grey levels"
        )


def measure(syntax: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both sides on files of one kind, round by round, and how far their pictures are apart."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        size = write_files(source, syntax, options)
        sides: dict[str, Callable[[Path], None]] = {
            "plain": lambda out: plain(source, out),
            "prepare": lambda out: ours(source, out, options.workers),
        }
        rounds: list[dict[str, float]] = [{} for _ in range(options.rounds)]
        for number, seconds in enumerate(rounds):
            for name in ("plain", "prepare") if number % 2 else ("prepare", "plain"):
                out = Path(folder, name)
                shutil.rmtree(out, ignore_errors=True)
                begun = time.perf_counter()
                sides[name](out)
                seconds[name] = time.perf_counter() - begun
        ratios = [seconds["plain"] / seconds["prepare"] for seconds in rounds]
        return {
            "bytes_a_file": size,
            "seconds": rounds,
            "images_per_second": {
                name: options.count / statistics.median(seconds[name] for seconds in rounds) for name in sides
            },
            "ratio": statistics.median(ratios),
            "ratio_lowest": min(ratios),
            "ratio_highest": max(ratios),
            "largest_difference_levels": difference(Path(folder)),
        }


def write_files(folder: Path, syntax: str, options: argparse.Namespace) -> int:
    """Made-up chests of 12 bits with the grain of a detector, each another; the mean size of a file in bytes."""
    import cv2

    y, x = np.mgrid[0 : options.side, 0 : options.side].astype(np.float32) / options.side
    sizes = []
    for number in range(options.count):
        rng = np.random.default_rng(number)
        lungs = sum(np.exp(-(((x - c) / 0.13) ** 2) - ((y - 0.5) / 0.28) ** 2) for c in (0.3, 0.7))
        clouds = cv2.resize(rng.normal(0, 1, (40, 40)).astype(np.float32), (options.side, options.side))
        grain = rng.standard_normal((options.side, options.side), np.float32)
        values = np.clip(3000 - rng.uniform(1500, 2200) * lungs + 120 * clouds + 12 * grain, 0, 4095).astype(np.uint16)
        dataset = make(values, WindowCenter=2048, WindowWidth=4096, PatientID=f"P{number}")
        path = save(compress(dataset, syntax) if syntax else dataset, folder / f"{number:04d}.dcm")
        sizes.append(path.stat().st_size)
    return round(statistics.mean(sizes))


def plain(source: Path, out: Path) -> None:
    """The loop that one finds in tutorials, its polarity included."""
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    out.mkdir()
    for path in sorted(source.iterdir()):
        dataset = dcmread(path)
        values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            values = values.max() - values
        grey = Image.fromarray(np.rint(values / (2**dataset.BitsStored - 1) * 255).astype(np.uint8))
        scale = RESOLUTION / min(grey.size)
        grey = grey.resize((round(grey.width * scale), round(grey.height * scale)), Image.Resampling.LANCZOS)
        left, top = (grey.width - RESOLUTION) // 2, (grey.height - RESOLUTION) // 2
        grey.crop((left, top, left + RESOLUTION, top + RESOLUTION)).save(out / f"{path.stem}.png")


def ours(source: Path, out: Path, workers: int) -> None:
    config = PrepareConfig(
        source_path=source,
        out=out,
        source="dicom",
        resolution=RESOLUTION,
        ids="keep",
        workers=workers,
        skip_checks=LEFT_OUT,
    )
    prepare(config)


def difference(folder: Path) -> int:
    """The largest difference between the pictures of both sides."""
    made = {path.stem: path for path in (folder / "prepare").glob("*/*.png")}
    expected = sorted((folder / "plain").iterdir())
    assert made.keys() == {path.stem for path in expected}, "prepare left images out"
    return max(int(np.abs(read_grey(path).astype(int) - read_grey(made[path.stem])).max()) for path in expected)


if __name__ == "__main__":
    main()
