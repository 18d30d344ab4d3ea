"""Features of one side of a comparison: of a dataset's split, of a set, or of images that are not at hand."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.intervals import Floats, Ints
from synthcxr.imagefolder import Row, read_rows
from synthcxr.store import Json, atomic_writer, describe_input, find_manifest, read_json, sha256_file, write_json

if TYPE_CHECKING:
    from synthcxr.evaluation.encoder import Encoder
    from synthcxr.evaluation.extractors.base import Extractor

DATA = ("dataset", "clean")
"""Kinds of a folder that hold real images: a dataset, and a cleaned one."""
REFERENCE = "reference:"
REFERENCES = Path(__file__).parents[1] / "models" / "bundled" / "reference"
"""The reference features that ship: ``NAME.npz`` and, saying what they are, ``NAME.json``."""


@dataclass(frozen=True)
class FeatureSet:
    """Features (N, D) and identities (N, I) of N images, and what is known of the images.

    `patients` are codes (N,), equal for images of one patient. `keys` name the same patients in words that
    compare between folders, and `rows` are the images; both are None for stored features, which have
    neither. `labels` name the images in a report. `sizes` are the (height, width) that occur, `crop` is the
    dataset's way to square them. `split` is the part of a dataset they are from, `is_dataset` whether one of
    this tool's. `rejected` lists files that could not be read, with the reason.
    """

    name: str
    features: Floats
    identity: Floats
    patients: Ints
    labels: tuple[str, ...]
    keys: tuple[str | None, ...]
    rows: tuple[Row | None, ...]
    encoder: str
    encoder_sha256: str
    preprocessing: str
    notes: str = ""
    split: str = "all"
    is_dataset: bool = False
    sizes: frozenset[tuple[int, int]] = frozenset()
    crop: str | None = None
    rejected: tuple[Json, ...] = ()

    def __len__(self) -> int:
        """The number of images."""
        return len(self.features)


def label(path: Path, folder: Path) -> str:
    """An image's name in a report: its path as seen from its folder."""
    return path.relative_to(folder).as_posix()


def _patient_key(row: Row) -> str:
    """A patient in words that compare between folders; where none is known, the image's own file."""
    patient = row.fields.get("patient_id")
    return f"{row.fields.get('source', '')}/{patient}" if patient else str(row.path.resolve())


def read_folder(folder: Path, split: str, encoder: Encoder, batch_size: int, device: str) -> FeatureSet:
    """Features of a split (or "all") of a dataset, a set, or any folder of images.

    Raises UsageError where there is no folder or no image, SynthCXRError where no image can be read.
    """
    from synthcxr.evaluation.cache import extract_rows
    from synthcxr.evaluation.extractors.bundled import as_extractor

    rows = read_rows(folder, split)
    found = extract_rows(rows, as_extractor(encoder), batch_size=batch_size, device=device)
    rejected = tuple({"file_name": label(rows[i].path, folder), "reason": reason} for i, reason in found.rejected)
    if not found.kept:
        raise SynthCXRError(f"None of the {len(rows)} images of {folder} can be read. {rejected[0]['reason']}")
    kept = [rows[i] for i in found.kept]
    vectors = found.vectors.astype(np.float64)
    keys = [_patient_key(row) for row in kept]
    manifest = find_manifest(folder)
    config = read_json(manifest).get("config", {}) if manifest else {}
    is_dataset = manifest is not None and manifest.stem in DATA
    splits = {row.split for row in kept}
    return FeatureSet(
        name=folder.resolve().name,
        features=vectors[:, : encoder.dimension],
        identity=vectors[:, encoder.dimension :],
        patients=np.unique(keys, return_inverse=True)[1].astype(np.int64),
        labels=tuple(label(row.path, folder) for row in kept),
        keys=tuple(keys),
        rows=tuple(kept),
        encoder=encoder.name,
        encoder_sha256=encoder.sha256,
        preprocessing=encoder.preprocessing,
        notes=str(config.get("licence", "")),
        split=splits.pop() if is_dataset and len(splits) == 1 else "all",
        is_dataset=is_dataset,
        sizes=found.sizes,
        crop=config.get("crop"),
        rejected=rejected,
    )


def with_extractor(side: FeatureSet, extractor: Extractor, batch_size: int, device: str) -> FeatureSet:
    """The same images with features of another extractor. Raises SynthCXRError where the images are not at hand."""
    from synthcxr.evaluation.cache import extract_rows

    rows = [row for row in side.rows if row is not None]
    if len(rows) < len(side):
        raise SynthCXRError(f"{side.name} has features of {side.encoder} alone; {extractor.name} needs the images.")
    found = extract_rows(rows, extractor, batch_size=batch_size, device=device)
    if len(found.kept) < len(rows):  # they were all readable a moment ago
        raise SynthCXRError(f"{rows[found.rejected[0][0]].path}: {found.rejected[0][1]}")
    return replace(
        side,
        features=found.vectors.astype(np.float64),
        encoder=extractor.name,
        encoder_sha256=extractor.sha256,
        preprocessing=extractor.preprocessing,
    )


def is_reference(name: str) -> bool:
    """Whether a name stands for shipped features, not for a folder."""
    return name.startswith(REFERENCE)


def reference_file(name: str) -> Path:
    """The features behind ``reference:NAME``. Raises UsageError with the names there are."""
    wanted = name.removeprefix(REFERENCE)
    known = sorted(path.stem for path in REFERENCES.glob("*.npz"))
    if wanted in known:
        return REFERENCES / f"{wanted}.npz"
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known) or 'none'}."
    raise UsageError(f"There are no reference features named {wanted!r}. {hint}")


def read_reference(name: str, encoder: Encoder) -> FeatureSet:
    """Shipped features by ``reference:NAME``. Raises UsageError for an unknown name, else as `read_features`."""
    return read_features(reference_file(name), name, encoder)


def write_features(file: Path, rows: list[Row], encoder: Encoder, about: Mapping[str, object], device: str) -> None:
    """Write what the encoder gives of images, never the images: ``NAME.npz``, and ``NAME.json`` that says what it is.

    `about` has ``source``, ``licence`` and ``split``. Patients are numbered, not named.
    """
    features, identity = encoder.extract((row.read() for row in rows), 32, device)
    patients = np.unique([_patient_key(row) for row in rows], return_inverse=True)[1]
    with atomic_writer(file) as opened:
        np.savez_compressed(opened, features=features, identity=identity, patients=patients.astype(np.int32))
    known = {
        "encoder": encoder.name,
        "encoder_sha256": encoder.sha256,
        "preprocessing": encoder.preprocessing,
        "n": len(rows),
        "patients": int(patients.max()) + 1,
        "sha256": sha256_file(file),
    }
    write_json(file.with_suffix(".json"), {**about, **known})


def read_features(file: Path, name: str, encoder: Encoder) -> FeatureSet:
    """Features that `write_features` wrote.

    Raises SynthCXRError where they are of another encoder or their file is damaged.
    """
    about = read_json(file.with_suffix(".json"))
    if about["encoder_sha256"] != encoder.sha256:
        raise SynthCXRError(
            f"{name} was made with the encoder {about['encoder']} ({about['encoder_sha256'][:12]}…), and "
            f"this is {encoder.name} ({encoder.sha256[:12]}…): their features do not compare. "
            "Reinstall synthcxr so that both are of one version, or judge against a dataset."
        )
    if about["sha256"] != sha256_file(file):
        raise SynthCXRError(
            f"{file} is damaged: its SHA-256 is not the one in {file.stem}.json. Write it again, or reinstall synthcxr."
        )
    with np.load(file) as arrays:
        features, identity = (arrays[key].astype(np.float64) for key in ("features", "identity"))
        patients = arrays["patients"].astype(np.int64)
    fits = features.shape == (len(patients), encoder.dimension) and len(identity) == len(patients)
    if not (fits and np.isfinite(features).all() and np.isfinite(identity).all()):
        raise SynthCXRError(f"{file} does not hold features of {encoder.name}. Write it again, or reinstall synthcxr.")
    return FeatureSet(
        name=name,
        features=features,
        identity=identity,
        patients=patients,
        labels=tuple(f"{name}#{i}" for i in range(len(features))),
        keys=(None,) * len(features),
        rows=(None,) * len(features),
        encoder=encoder.name,
        encoder_sha256=encoder.sha256,
        preprocessing=about["preprocessing"],
        notes=f"{about['source']}; {about['licence']}",
        split=about["split"],
    )


def describe_side(name: str | Path, start: Path) -> Json:
    """How a manifest names a side: a folder as every stage does, shipped features by name and hash.

    Features that a run keeps are named by the run.
    """
    if isinstance(name, str) and is_reference(name):
        file = reference_file(name)
        about = read_json(file.with_suffix(".json"))
        source = {"name": about["source"], "kind": "reference", "licence": about["licence"], "restricted": False}
        return {"name": name, "kind": "reference", "sha256": sha256_file(file), "sources": [source]}
    return describe_input(Path(name).parent if is_stored(name) else Path(name), start)


def is_stored(side: str | Path) -> bool:
    """Whether a side is a file of features that a run keeps of its training images."""
    return isinstance(side, Path) and side.suffix == ".npz"


def join(sets: list[FeatureSet]) -> FeatureSet:
    """Several feature sets as one, for a model that was trained on several datasets."""
    if len(sets) == 1:
        return sets[0]
    offsets = np.cumsum([0] + [int(s.patients.max()) + 1 for s in sets[:-1]])
    crops = {s.crop for s in sets}
    return FeatureSet(
        name=" + ".join(s.name for s in sets),
        features=np.concatenate([s.features for s in sets]),
        identity=np.concatenate([s.identity for s in sets]),
        patients=np.concatenate([s.patients + offset for s, offset in zip(sets, offsets, strict=True)]),
        labels=tuple(each if each.startswith(f"{s.name}#") else f"{s.name}/{each}" for s in sets for each in s.labels),
        keys=tuple(key for s in sets for key in s.keys),
        rows=tuple(row for s in sets for row in s.rows),
        encoder=sets[0].encoder,
        encoder_sha256=sets[0].encoder_sha256,
        preprocessing=sets[0].preprocessing,
        notes="; ".join(s.notes for s in sets if s.notes),
        split="train",
        is_dataset=all(s.is_dataset for s in sets),
        sizes=frozenset().union(*(s.sizes for s in sets)),
        crop=crops.pop() if len(crops) == 1 else None,
        rejected=tuple(row for s in sets for row in s.rejected),
    )
