"""Put the recipe's runs into the package: weights, encoder, reference features, and where they come from.

python recipes/bundled/install.py WORK [--denoiser RUN]
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.evaluation.encoder import Encoder, load_encoder
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import read_grey
from synthcxr.models.registry import BUNDLED
from synthcxr.store import atomic_writer, inherited_sources, read_manifest, sha256_file, write_json

SOURCES = {
    "nih": "NIH ChestX-ray14, a subset (Wang et al., CVPR 2017; NIH Clinical Center)",
    "kermany": "Kermany, Zhang, Goldbaum: Labeled OCT and Chest X-Ray Images, Mendeley Data v2",
}
LICENCES = {"nih": "free to use and share with credit to the NIH Clinical Center", "kermany": "CC BY 4.0"}


def main() -> None:
    """Copy the runs' results into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--denoiser", type=Path, help="Run of the denoiser; default: WORK/denoiser.")
    options = parser.parse_args()
    work: Path = options.work
    denoiser: Path = options.denoiser or work / "denoiser"
    runs = {"autoencoder": work / "autoencoder", "encoder": work / "encoder", "denoiser": denoiser}
    shutil.rmtree(BUNDLED, ignore_errors=True)
    shutil.copytree(denoiser / "model", BUNDLED)
    shutil.copytree(work / "encoder" / "encoder", BUNDLED / "encoder")
    sources = inherited_sources(denoiser, read_manifest(denoiser, "run")["inputs"])
    made = {"sources": sources, **{name: describe_run(folder) for name, folder in runs.items()}}
    write_json(BUNDLED / "made.json", made)
    write_references(work, load_encoder())


def describe_run(folder: Path) -> dict[str, Any]:
    """What the package says of a run: its settings, cost, measurements, and the hashes of what went in."""
    manifest = read_manifest(folder, "run")
    kept = ("counts", "hours", "measured", "environment", "tool")
    settings = {key: value for key, value in manifest["config"].items() if key not in ("datasets", "base")}
    return {
        **{key: manifest[key] for key in kept},
        "config": settings,
        "inputs": {role: {k: v for k, v in entry.items() if k != "path"} for role, entry in manifest["inputs"].items()},
    }


def write_references(work: Path, encoder: Encoder) -> None:
    """Features of held-out patients, and of the training patients for finding near-copies; never images."""
    test = {source: read_rows(work / source, "test") for source in SOURCES}
    adults = [row for row in test["nih"] if (row.fields["age"] or 0) >= 18]
    train = [row for source in SOURCES for row in read_rows(work / source, "train")]
    write_reference("nih-adults", adults, ["nih"], "test", encoder)
    write_reference("kermany-children", test["kermany"], ["kermany"], "test", encoder)
    write_reference("all", [*test["nih"], *test["kermany"]], list(SOURCES), "test", encoder)
    write_reference("bundled-training", train, list(SOURCES), "train", encoder)


def write_reference(name: str, rows: list[Row], sources: Iterable[str], split: str, encoder: Encoder) -> None:
    """One file of features with what it is beside it."""
    features = encoder.extract((read_grey(row.path) for row in rows), 32, "cpu")
    patients = np.unique([f"{row.fields['source']}/{row.patient}" for row in rows], return_inverse=True)[1]
    file_name = BUNDLED / "reference" / f"{name}.npz"
    with atomic_writer(file_name) as file:
        np.savez_compressed(file, features=features.astype(np.float32), patients=patients.astype(np.int32))
    about = {
        "source": "; ".join(SOURCES[source] for source in sources),
        "licence": "; ".join(LICENCES[source] for source in sources),
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "preprocessing": encoder.preprocessing,
        "n": len(rows),
        "patients": int(patients.max()) + 1,
        "split": split,
        "sha256": sha256_file(file_name),
    }
    write_json(file_name.with_suffix(".json"), about)


if __name__ == "__main__":
    main()
