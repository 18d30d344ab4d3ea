"""Seconds an image of `clean`, beside the original way: one process an image, which loads every model anew.

Run ``python benchmarks/cleaning/speed.py --datasets NIH KERMANY``. X-rays of the judging side at a short side of
512 px, each with up to two texts burned in, are cleaned by ``synthcxr clean`` with its default options, with and
without the second reader, and then the first few of them the original way: for each a process that loads the detector,
Segment Anything (ViT-B, its exact layout; the weights are random, on which time does not depend) and the bundled
diffusion model, masks the boxes, and draws them anew in 30 steps. The original took SAM's ViT-H and Stable Diffusion 2,
which are larger, so the ratio is a lower bound. It proves nothing and reads nothing again, where `clean` does.

Processor seconds are those of all processes together: on an idle machine of two cores, twice the seconds.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from burn import add_sources, burn, xrays

from synthcxr.images import Grey, read_grey, resize, write_png

SIDE = 512


def main() -> None:
    """Time both ways and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--images", type=int, default=24, help="images that `clean` gets")
    parser.add_argument("--original", type=int, default=3, help="images that are cleaned the original way")
    parser.add_argument("--workers", type=int, default=0, help="processes of `clean`; 0 takes one a core")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    if sys.argv[1:2] == ["one"]:
        clean_one(*map(Path, sys.argv[2:5]))
        return
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = measure(Path(place), options)
    print("| way | images | seconds an image | processor seconds an image |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row['way']} | {row['images']} | {row['seconds']:.2f} | {row['processor_seconds']:.2f} |")
    ratios = {name: rows[-1][name] / rows[0][name] for name in ("seconds", "processor_seconds")}
    print(
        f"\n`clean` is {ratios['seconds']:.0f} times faster, by processor time {ratios['processor_seconds']:.0f} times."
    )
    if options.out:
        options.out.write_text(json.dumps({"rows": rows, "ratios": ratios}, indent=1) + "\n")


def measure(place: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each way, all on the same images."""
    images = write_images(place / "in", xrays("judging", options.data, options.datasets)[: options.images])
    command = [sys.executable, "-m", "synthcxr.cli", "clean", place / "in", "--allow-residual", "--keep", "nothing"]
    command += ["--workers", options.workers]
    one_reader = ["--out", place / "one", "--second-reader", "off"]
    sam = write_sam(place / "sam")
    originals = [[sys.executable, __file__, "one", path, sam, place / "original.jpg"] for path in images]
    return [
        spend("clean", len(images), lambda: run([*command, "--out", place / "both"])),
        spend("clean, one reader", len(images), lambda: run([*command, *one_reader])),
        spend("original way", options.original, lambda: run_all(originals[: options.original])),
    ]


def write_images(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """X-rays with text, the short side 512 px; the files that were written."""
    written = []
    for index, path in enumerate(paths):
        grey = read_grey(path)
        scale = SIDE / min(grey.shape)
        small = resize(grey, round(grey.shape[1] * scale), round(grey.shape[0] * scale))
        written.append(folder / f"{index:03d}.png")
        write_png(written[-1], burn(small, index, "judging", count=2).image)
    return written


def write_sam(folder: Path) -> Path:
    """Segment Anything with a ViT-B and random weights."""
    from transformers import SamConfig, SamModel

    SamModel(SamConfig()).save_pretrained(folder)
    return folder


def run_all(commands: Sequence[Sequence[object]]) -> None:
    """Run commands one after the other."""
    for words in commands:
        run(words)


def run(words: Sequence[object]) -> None:
    """Run a command; its words are shown where it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)


def spend(way: str, images: int, work: Callable[[], object]) -> dict[str, Any]:
    """What a way takes an image, in seconds and in processor seconds of all its processes."""
    before, begun = processor_seconds(), time.perf_counter()
    work()
    seconds, spent = time.perf_counter() - begun, processor_seconds() - before
    return {"way": way, "images": images, "seconds": seconds / images, "processor_seconds": spent / images}


def processor_seconds() -> float:
    """Of the processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# --- the original way -------------------------------------------------------------------------------------


def clean_one(path: Path, sam: Path, out: Path) -> None:
    """One image in a process of its own: every model is loaded, used once, and forgotten; a JPEG comes out."""
    from PIL import Image

    from synthcxr.cleaning.detect import TextReader
    from synthcxr.cleaning.segment import dilate
    from synthcxr.config import EditConfig
    from synthcxr.devices import pick
    from synthcxr.generation.edit import edit_image
    from synthcxr.models.registry import load, resolve

    image = read_grey(path)
    boxes = [(*mark.points.min(0), *mark.points.max(0)) for mark in TextReader().read(image)]
    mask = segment(image, boxes, sam)
    for left, top, right, bottom in np.array(boxes, int):  # random weights find no letters; the boxes are as large
        mask[top:bottom, left:right] = True
    config = EditConfig(image=path, out=out.parent, prompt="Chest X-ray.", strength=1.0)
    model = load(resolve(config.model), pick(config.device, config.dtype))
    Image.fromarray(edit_image(model, config, image, dilate(mask, 2), seed=0)).save(out, quality=95)


def segment(image: Grey, boxes: Sequence[tuple[float, ...]], folder: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Segment Anything, prompted by each box: nothing of what it says is used here, only the time it takes."""
    import torch
    from transformers import SamImageProcessor, SamModel, SamProcessor

    mask = np.zeros(image.shape, bool)
    model, processor = SamModel.from_pretrained(folder), SamProcessor(SamImageProcessor())
    colours = np.repeat(image[..., None], 3, axis=2)
    prompts = [[[float(value) for value in box] for box in boxes]] if boxes else [[[0.0, 0.0, 8.0, 8.0]]]
    given = processor(colours, input_boxes=prompts, return_tensors="pt")
    with torch.inference_mode():
        model(**given)
    return mask


if __name__ == "__main__":
    main()
