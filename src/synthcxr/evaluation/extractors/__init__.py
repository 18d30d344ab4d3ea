"""Networks that turn images into features for distances, a file each, and where their weights come from."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from synthcxr.errors import UsageError
from synthcxr.evaluation.extractors.base import Extractor, Vectors
from synthcxr.evaluation.extractors.bundled import open_bundled
from synthcxr.evaluation.extractors.inception import SHA256 as INCEPTION_SHA256
from synthcxr.evaluation.extractors.inception import open_inception
from synthcxr.evaluation.extractors.raddino import FILES as RAD_DINO_FILES
from synthcxr.evaluation.extractors.raddino import open_rad_dino
from synthcxr.evaluation.extractors.weights import find_file, find_folder

__all__ = ["EXTRACTORS", "Extractor", "Vectors", "open_extractor"]

INCEPTION_SOURCES = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)
"""The same bytes under two names."""
RAD_DINO_SOURCES = ("microsoft/rad-dino@110cbc18d5133582e320b43d53bf5c44e410c936",)


@dataclass(frozen=True)
class Entry:
    """An extractor that has a name here: what it is, its terms, where its weights are, and how it is opened."""

    name: str
    about: str
    licence: str
    sources: tuple[str, ...]
    open: Callable[[Path], Extractor]
    find: Callable[[str, Sequence[str]], Path]


def _inception(name: str, about: str, open_weights: Callable[[Path], Extractor]) -> Entry:
    find = partial(find_file, sha256=INCEPTION_SHA256)
    return Entry(name, about, "Apache-2.0", INCEPTION_SOURCES, open_weights, find)


EXTRACTORS = {
    entry.name: entry
    for entry in (
        Entry("bundled", "The encoder inside this package.", "Apache-2.0", (), open_bundled, lambda *_: Path()),
        _inception("inception", "FID's Inception, resized as clean-fid does.", open_inception),
        _inception(
            "inception-pytorch",
            "FID's Inception, resized as pytorch-fid does.",
            partial(open_inception, resizing="legacy_pytorch"),
        ),
        _inception(
            "inception-tensorflow",
            "FID's Inception, resized as torch-fidelity and the original FID do.",
            partial(open_inception, resizing="legacy_tensorflow"),
        ),
        Entry(
            "rad-dino",
            "Rad-DINO, a vision transformer trained on chest X-rays without labels.",
            "As the page of microsoft/rad-dino says",
            RAD_DINO_SOURCES,
            open_rad_dino,
            partial(find_folder, files=RAD_DINO_FILES),
        ),
    )
}


def open_extractor(reference: str) -> Extractor:
    """The extractor behind a name, or behind ``NAME=PATH`` with weights of the user's own.

    By name, its weights are looked for on this machine, then fetched, and must be the published ones. Raises
    UsageError for an unknown name, SynthCXRError where weights are not there or are others.
    """
    name, _, path = reference.partition("=")
    if name not in EXTRACTORS:
        near = difflib.get_close_matches(name, EXTRACTORS, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(EXTRACTORS)}."
        raise UsageError(f"There is no extractor named {name!r}. {hint}")
    entry = EXTRACTORS[name]
    if path and not Path(path).exists():
        raise UsageError(f"{path} does not exist. Give the weights of {name} as {name}=PATH.")
    return entry.open(Path(path) if path else entry.find(name, entry.sources))
