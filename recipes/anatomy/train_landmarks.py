"""Learn the landmarks from marks.json and put the network into the package, with its errors on other patients.

python recipes/anatomy/train_landmarks.py DATA [--epochs 200] [--judge]

DATA holds the folders nih and kermany with the original images that marks.json names. On one core this takes minutes.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import affine_grid, grid_sample, pad

from synthcxr.errors import UsageError
from synthcxr.evaluation.anatomy import MEASURES, measures
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.landmarks import (
    FOLDER,
    INPUT_SIDE,
    MARGIN,
    MIRRORED,
    POINTS,
    Landmarks,
    build_network,
    load_landmarks,
    places,
    points_of,
    save_landmarks,
    standardised,
)
from synthcxr.images import Grey, read_grey, resize, to_square
from synthcxr.store import Json, read_json, sha256_file

MARKS = Path(__file__).with_name("marks.json")
SIDE = 256
BATCH = 10
RATE = 2e-3
SEED = 0
SHARPNESS = 0.03
"""Deviation of the wanted map around its point, in parts of the side."""


def main() -> None:
    """Train, judge, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--judge", action="store_true", help="Learn nothing: judge the network in the package anew.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    marked = read_json(MARKS)["images"]
    parts = {part: [each for each in marked if each["part"] == part] for part in ("learn", "judge")}
    judged_images = read_images(options.data, parts["judge"])
    if options.judge:
        held = load_landmarks()
        network, about = held.network, held.about
    else:
        network = train(read_images(options.data, parts["learn"]), marks_of(parts["learn"]), options.epochs)
        about = {
            "learnt_from": len(parts["learn"]),
            "epochs": options.epochs,
            "input": f"8-bit grey square, Lanczos to {INPUT_SIDE} px, mean 0 and deviation 1",
        }
    judged = judge(Landmarks(network.eval(), "", {}), judged_images, parts["judge"], marks_of(marked))
    save_landmarks(network, {**about, **judged}, FOLDER)
    show(judged)


def read_images(data: Path, entries: list[Json]) -> list[Grey]:
    """The marked images as central squares. Raises UsageError where one is missing or is another."""
    images = []
    for each in entries:
        path = data / each["file"]
        if not path.is_file() or sha256_file(path) != each["sha256"]:
            raise UsageError(f"{path} is not the image that was marked: it is missing, or its SHA-256 differs.")
        images.append(to_square(read_grey(path), SIDE))
    return images


def marks_of(entries: list[Json]) -> Floats:
    """The marks (N, 16, 2), in parts of the side; where an image was marked twice, their mean."""
    return (
        np.array([np.mean([each["marks"], each.get("marks_again", each["marks"])], axis=0) for each in entries]) / 100
    )


# --- learning ----------------------------------------------------------------------------------------------


def train(images: list[Grey], marks: Floats, epochs: int) -> Any:
    """The network's moving average after `epochs` over randomly moved, turned, lit images."""
    torch.manual_seed(SEED)
    x = torch.from_numpy(np.stack([resize(image, INPUT_SIDE, INPUT_SIDE) for image in images])).float()[:, None]
    y = torch.from_numpy(marks).float()
    network = build_network()
    average = torch.optim.swa_utils.AveragedModel(
        network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995),  # type: ignore[no-untyped-call]
    )
    steps = epochs * math.ceil(len(x) / BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(x)), BATCH):
            seen, wanted = disturb(x[chosen], y[chosen])
            loss = loss_of(network(seen), wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += float(loss) * len(chosen)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {total / len(x):.4f}", flush=True)
    return average.module


def loss_of(maps: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far the maps (n, 16, h, h) are from bells around the points, and their means from the points (n, 16, 2)."""
    place = places(maps.shape[-1])
    bells = [-((place - wanted[..., axis, None]) ** 2) / (2 * SHARPNESS**2) for axis in (0, 1)]
    wanted_maps = (bells[1][..., :, None] + bells[0][..., None, :]).flatten(2).softmax(-1)
    scores = maps.flatten(2).log_softmax(-1)
    return 20 * (points_of(maps) - wanted).abs().mean() + 0.2 * -(wanted_maps * scores).sum(-1).mean()


def disturb(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as the network takes them and their points after a random mirroring, move, turn, stretch and lighting.

    A point that leaves the image is put on its edge, as the marks are.
    """
    n = len(x)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.empty(n).uniform_(low, high)

    mirrored = torch.rand(n) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    flipped = y[:, MIRRORED] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    y = torch.where(mirrored[:, None, None], flipped, y)
    angle, size, stretch = uniform(-0.12, 0.12), uniform(0.85, 1.18), uniform(0.94, 1.06)
    columns = [torch.stack([angle.cos(), angle.sin()], -1), torch.stack([-angle.sin(), angle.cos()], -1)]
    turn = torch.stack(columns, -1) * (size[:, None] * torch.stack([stretch, 1 / stretch], -1))[:, None, :]
    move = torch.stack([uniform(-0.12, 0.12), uniform(-0.12, 0.12)], -1)
    grid = affine_grid(torch.cat([turn, move[..., None]], -1), list(x.shape), align_corners=False)
    x = grid_sample(x, grid, align_corners=False, padding_mode="zeros")
    centred = (2 * y - 1 - move[:, None]) @ torch.linalg.inv(turn).transpose(1, 2)
    y = ((centred + 1) / 2).clamp(0, 1)
    x = 255 * (x.clamp(0, 255) / 255) ** uniform(0.6, 1.7)[:, None, None, None]
    x = x + uniform(0, 8)[:, None, None, None] * torch.randn_like(x)
    return pad(standardised(x), [MARGIN] * 4), y


# --- judging -----------------------------------------------------------------------------------------------


def judge(landmarks: Landmarks, images: list[Grey], entries: list[Json], all_marks: Floats) -> Json:
    """Errors of points, in parts of the side, and of measures, beside their spread among all marked patients."""
    marks = marks_of(entries)
    found = landmarks.find(images)
    far = np.linalg.norm(found - marks, axis=-1)
    seen, true, spread = measures(found), measures(marks), measures(all_marks)
    errors = {}
    for name in MEASURES:
        known = np.isfinite(seen[name]) & np.isfinite(true[name])
        difference = seen[name][known] - true[name][known]
        errors[name] = {
            "n": int(known.sum()),
            "error": float(np.sqrt(np.mean(difference**2))),
            "bias": float(np.mean(difference)),
            "spread": float(np.nanstd(spread[name], ddof=1)),
            "correlation": float(np.corrcoef(seen[name][known], true[name][known])[0, 1]),
        }
    again = np.array([each["marks_again"] for each in entries]) / 100
    once = np.array([each["marks"] for each in entries]) / 100
    return {
        "marks_sha256": sha256_file(MARKS),
        "judged_on": len(images),
        "marked_again_median": float(np.median(np.linalg.norm(again - once, axis=-1))),
        "median_distance": float(np.median(far)),
        "points_median": {name: float(value) for name, value in zip(POINTS, np.median(far, axis=0), strict=True)},
        "points_mean": {name: float(value) for name, value in zip(POINTS, far.mean(0), strict=True)},
        "measures": errors,
    }


def show(judged: Json) -> None:
    """Print the errors as tables."""
    half = 100 * judged["median_distance"]
    again = 100 * judged["marked_again_median"]
    print(f"{judged['judged_on']} images of other patients, median distances in parts of the side:")
    print(f"  network to marks {half:.1f} %, two markings to each other {again:.1f} %")
    for name in POINTS:
        median, mean = (100 * judged[kind][name] for kind in ("points_median", "points_mean"))
        print(f"  {name:22} median {median:4.1f} %, mean {mean:4.1f} %")
    for name, each in judged["measures"].items():
        ratio = each["error"] / each["spread"]
        numbers = f"n {each['n']:3}  error {each['error']:.4f}  bias {each['bias']:+.4f}  spread {each['spread']:.4f}"
        print(f"  {name:22} {numbers}  error / spread {ratio:.2f}  correlation {each['correlation']:.2f}")


if __name__ == "__main__":
    main()
