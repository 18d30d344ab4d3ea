"""Train the learned inpainter on random text masks over the training patients of prepared datasets.

python recipes/inpainter/train.py WORK --data ../shared/data --datasets NIH KERMANY [--steps 2400] [--install]

A call goes on from the checkpoint in WORK. `--install` puts the averaged weights of the checkpoint into the package.
"""

import argparse
import copy
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from masks import random_mask

from synthcxr.cleaning.inpainters.classical import membrane
from synthcxr.cleaning.inpainters.network import UNIT, build_network
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, read_grey, resize
from synthcxr.seeds import seed_for
from synthcxr.store import Json, atomic_writer, read_jsonl, sha256_bytes, write_jsonl

SIDE = 128
SCALES = {1.0: 0.55, 0.5: 0.3, 1.6: 0.15}
"""Sizes that crops are taken at, relative to the original's own, so that grain of all sizes is seen."""
BATCH = 16
RATE = 1e-3
DECAY = 0.35
"""The last part of the steps, over which the rate falls to zero."""
AVERAGE = 0.995
VALIDATION = 96
EVERY = 100

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


def main() -> None:
    """Train, and say every hundred steps how good it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the X-rays at full size")
    parser.add_argument("--datasets", type=Path, nargs="+", required=True, help="what `prepare` made of them")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--install", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    names = {split: file_names(options.datasets, split) for split in ("train", "validation")}
    if options.install:
        install(options.work, names["train"])
    else:
        train(options, names)


def file_names(datasets: list[Path], split: str) -> list[str]:
    """The original files (source/file) of a split's patients."""
    rows = [row for folder in datasets for row in read_rows(folder, split)]
    return sorted(f"{row.fields['source']}/{row.fields['source_file']}" for row in rows)


def make_batch(images: list[Grey], seed: int, size: int = BATCH) -> Batch:
    """Crops in the network's units: smooth fills, masks, and what lacks to the truth, each (size, side, side)."""
    random = np.random.default_rng(seed)
    found = [make_example(images[int(random.integers(len(images)))], random) for _ in range(size)]
    fills, masks, missing = (np.stack(part) for part in zip(*found, strict=True))
    return fills, masks, missing


def make_example(image: Grey, random: np.random.Generator) -> Batch:
    """One crop of an X-ray under a random mask."""
    scale = float(random.choice(list(SCALES), p=list(SCALES.values())))
    side = min(round(SIDE / scale), *image.shape)
    top, left = (int(random.integers(length - side + 1)) for length in image.shape)
    crop = image[top : top + side, left : left + side]
    truth = (crop if side == SIDE else resize(np.ascontiguousarray(crop), SIDE, SIDE)).astype(np.float32) / UNIT
    mask = random_mask(random, SIDE)
    fill = membrane(truth, mask)
    return fill - fill.mean(), mask.astype(np.float32), truth - fill


def train(options: argparse.Namespace, names: dict[str, list[str]]) -> None:
    """Steps of AdamW on the absolute error, and that of the gradient, inside the masks."""
    import torch

    images = [read_grey(options.data / name) for name in names["train"]]
    held_out = make_batch([read_grey(options.data / name) for name in names["validation"][::2]], 0, VALIDATION)
    torch.manual_seed(0)
    network = build_network().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    checkpoint = options.work / "checkpoint.pt"
    log = options.work / "log.jsonl"
    first, said = 0, list[Json]()
    if checkpoint.is_file():
        held = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(held["network"])
        average.load_state_dict(held["average"])
        optimizer.load_state_dict(held["optimizer"])
        first, said = held["step"], read_jsonl(log)
    losses: list[float] = []
    for step in count(first):
        if (step % EVERY == 0 and step > first) or step == options.steps:
            parts = {"network": network, "average": average, "optimizer": optimizer}
            with atomic_writer(checkpoint) as file:
                torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, file)
            said.append({"step": step, "loss": float(np.mean(losses[-EVERY:])), **validate(average, held_out)})
            write_jsonl(log, said)
        if step >= options.steps:
            return
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50, (options.steps - step) / (DECAY * options.steps))
        loss = inside_loss(network, make_batch(images, seed_for("inpainter", step)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, 1 - min(AVERAGE, (step + 1) / (step + 10)))


def run(network: Any, fills: npt.NDArray[np.float32], masks: npt.NDArray[np.float32]) -> Any:
    """What the network would add to the fills, (n, 1, side, side)."""
    import torch

    given = torch.from_numpy(np.stack([fills, masks], axis=1)).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        return network(given).float()


def inside_loss(network: Any, batch: Batch) -> Any:
    """Mean absolute error inside the masks, and half of that of differences between neighbours."""
    import torch

    fills, masks, missing = batch
    inside = torch.from_numpy(masks)[:, None]
    error = (run(network, fills, masks) - torch.from_numpy(missing)[:, None]) * inside
    steps = error.diff(dim=2).abs().sum() + error.diff(dim=3).abs().sum()
    return (error.abs().sum() + 0.25 * steps) / inside.sum()


def validate(network: Any, batch: Batch) -> dict[str, float]:
    """PSNR in dB inside the masks of held-out crops, over all their pixels: the smooth fill's and the network's."""
    import torch

    fills, masks, missing = batch
    with torch.no_grad():
        parts = [run(network, *pair) for pair in zip(np.split(fills, 6), np.split(masks, 6), strict=True)]
    added = torch.cat(parts)[:, 0].numpy()
    inside = masks > 0
    found = {"smooth": missing[inside], "learned": (missing - added)[inside]}
    return {name: round(float(-10 * np.log10(np.mean((error * UNIT / 255) ** 2))), 3) for name, error in found.items()}


def install(work: Path, names: list[str]) -> None:
    """Put the averaged weights into the package, with what they were trained on."""
    import torch

    from synthcxr.cleaning.inpainters.learned import write_weights

    held = torch.load(work / "checkpoint.pt", weights_only=True)
    about = {
        "recipe": "recipes/inpainter/train.py",
        "steps": held["step"],
        "crops": held["step"] * BATCH,
        "crop_side": SIDE,
        "training_images": len(names),
        "training_images_sha256": sha256_bytes("\n".join(names).encode()),
        "sources": sorted({name.partition("/")[0] for name in names}),
    }
    write_weights(held["average"], about)


if __name__ == "__main__":
    main()
