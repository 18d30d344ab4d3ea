"""Calibrate the quality gate for the encoder in the package: thresholds and measured rates, as JSON beside it.

python recipes/bundled/calibrate_gate.py WORK [--objects FOLDER] [--split test]

WORK holds the prepared datasets nih and kermany. Training patients fit, validation patients set the thresholds and
are measured on. With `--split test` nothing is fitted: the thresholds that are there are measured on test patients.
Folders in `--objects` hold images that are no frontal chest X-rays, one kind a folder.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from synthcxr.data.gate.calibration import calibrate, measure
from synthcxr.data.gate.looks import CALIBRATION
from synthcxr.evaluation.encoder import FOLDER, load_encoder
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, list_images, read_grey, to_square
from synthcxr.prompts import Subject
from synthcxr.store import read_json, write_json

SOURCES = ("nih", "kermany")
SIDE = 256
OBJECTS = 40
"""Made-up images of each kind."""


def main() -> None:
    """Write gate.json, or measure what it says on test patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--objects", type=Path, help="Folders of images that are no frontal chest X-rays.")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    options = parser.parse_args()
    encoder = load_encoder()
    real = {source: read_split(options.work / source, options.split) for source in SOURCES}
    path = FOLDER / CALIBRATION
    if options.split == "validation":
        rows = [row for source in SOURCES for row in read_rows(options.work / source, "train")]
        training = [read_grey(row.path) for row in rows]
        patients = [f"{row.fields['source']}/{row.patient}" for row in rows]
        images = [image for source in SOURCES for image in real[source][0]]
        subjects = [subject for source in SOURCES for subject in real[source][1]]
        held = {
            "encoder": encoder.name,
            "encoder_sha256": encoder.sha256,
            **calibrate(encoder, training, patients, images, subjects),
        }
    else:
        held = read_json(path)
    objects = made_up_objects() | (read_objects(options.objects) if options.objects else {})
    held.setdefault("measured", {})[options.split] = measure(held, encoder, real, objects)
    write_json(path, held)
    for name, entry in held["measured"][options.split].items():
        shares = ", ".join(f"{rule} {value['share']:.1%}" for rule, value in entry["rules"].items()) or "nothing"
        print(f"{name} (N = {entry['images']}): {shares}" + f"; warnings {entry.get('warnings', 0)}")


def read_split(folder: Path, split: str) -> tuple[list[Grey], list[Subject]]:
    """Images and labels of a dataset's split."""
    rows = read_rows(folder, split)
    return [read_grey(row.path) for row in rows], [Subject.from_fields(row.fields) for row in rows]


def read_objects(folder: Path) -> dict[str, list[Grey]]:
    """Squares of the images in each folder of a folder, by the folder's name."""
    return {
        kind.name: [to_square(read_grey(path), SIDE) for path in list_images(kind)]
        for kind in sorted(folder.iterdir())
        if kind.is_dir()
    }


def made_up_objects() -> dict[str, list[Grey]]:
    """Things that are no X-ray of a chest, drawn, and two photographs that scikit-learn has."""
    from sklearn.datasets import load_sample_images

    makers = {"noise": noise, "clouds": clouds, "text page": text_page, "drawn hand": hand, "stripes": stripes}
    found = {name: [maker(np.random.default_rng(seed)) for seed in range(OBJECTS)] for name, maker in makers.items()}
    photographs = [np.asarray(image).mean(axis=2).astype(np.uint8) for image in load_sample_images().images]
    rng = np.random.default_rng(0)
    found["pieces of photographs"] = []
    for number in range(OBJECTS):
        photograph = photographs[number % len(photographs)]
        top, left = (int(rng.integers(0, size - SIDE + 1)) for size in photograph.shape)
        found["pieces of photographs"].append(np.ascontiguousarray(photograph[top : top + SIDE, left : left + SIDE]))
    return found


def noise(rng: np.random.Generator) -> Grey:
    """Independent pixels."""
    return rng.integers(0, 256, (SIDE, SIDE), np.uint8)


def clouds(rng: np.random.Generator) -> Grey:
    """Noise with the spectrum of natural images: amplitudes fall with the frequency."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIDE), np.fft.fftfreq(SIDE)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(SIDE, SIDE))) / frequency ** rng.uniform(0.8, 1.6)
    field = np.real(np.fft.ifft2(spectrum))
    low, high = np.percentile(field, (1, 99))
    return np.asarray(np.clip((field - low) / (high - low), 0, 1) * 255, np.uint8)


def text_page(rng: np.random.Generator) -> Grey:
    """Dark lines of letters on white, or the other way round."""
    import cv2

    page = np.full((SIDE, SIDE), 255, np.uint8)
    height = int(rng.integers(10, 24))
    for line in range(height, SIDE, height):
        letters = "".join(chr(c) for c in rng.integers(65, 91, int(rng.integers(4, 60))))
        cv2.putText(page, letters, (6, line), cv2.FONT_HERSHEY_SIMPLEX, height / 40, 20, 1, cv2.LINE_AA)
    return page if rng.random() < 0.5 else 255 - page


def hand(rng: np.random.Generator) -> Grey:
    """A palm and five fingers of bones in soft tissue, as a child would draw a hand's X-ray."""
    import cv2

    tissue, bones = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    wrist = np.array([SIDE / 2, SIDE * 0.95])
    for finger in range(5):
        angle = np.deg2rad(-90 + (finger - 2) * rng.uniform(14, 20) + rng.uniform(-3, 3))
        way = np.array([np.cos(angle), np.sin(angle)])
        joints = [wrist + way * SIDE * reach for reach in (0.15, 0.45, 0.62, 0.74, 0.84)]
        for one, other in pairwise(joints):
            start, end = one.astype(int).tolist(), (other - way * 4).astype(int).tolist()
            cv2.line(tissue, start, end, [90], int(rng.integers(20, 28)), cv2.LINE_AA)
            cv2.line(bones, start, end, [130], int(rng.integers(6, 11)), cv2.LINE_AA)
    picture = tissue.astype(np.float32) + bones + rng.normal(0, 5, (SIDE, SIDE))
    return np.asarray(cv2.GaussianBlur(np.clip(picture, 0, 255).astype(np.uint8), (0, 0), 1.2), np.uint8)


def stripes(rng: np.random.Generator) -> Grey:
    """A grating of any direction."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    angle = rng.uniform(0, np.pi)
    wave = np.sin(2 * np.pi * rng.uniform(2, 20) * (x * np.cos(angle) + y * np.sin(angle)))
    return np.asarray(127.5 + 120 * wave, np.uint8)


if __name__ == "__main__":
    main()
