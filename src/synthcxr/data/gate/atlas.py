"""How unlike frontal chest X-rays an image is: the share of its perceptual hash that no mixture of theirs explains.

The atlas is the subspace of the training images' hashes (principal components, uncentred). It needs no network, and an
image of anything else lies outside it: a network trained on chests alone sees chests everywhere.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from synthcxr.data.gate.duplicates import perceptual_hash
from synthcxr.images import Grey

COMPONENTS = 32
Floats = npt.NDArray[np.float64]


def fit_atlas(directions: Floats) -> Floats:
    """The atlas (32, 255) of frontal chest X-rays' directions (N, 255): orthonormal rows, the commonest first."""
    return np.asarray(np.linalg.svd(directions, full_matrices=False)[2][:COMPONENTS])


def strangeness(images: Iterable[Grey], atlas: Floats) -> Floats:
    """Scores (n,) of images: 0 for a mixture of the atlas's X-rays, 1 for what has nothing in common with them."""
    return outside(directions_of(images), atlas)


def outside(directions: Floats, atlas: Floats) -> Floats:
    """The same of directions (n, 255)."""
    return np.asarray(1 - np.linalg.norm(directions @ atlas.T, axis=1))


def directions_of(images: Iterable[Grey]) -> Floats:
    """The perceptual hashes (n, 255) of images, each of length 1."""
    hashes = np.array([perceptual_hash(image) for image in images], np.float64)
    return np.asarray(hashes / np.maximum(np.linalg.norm(hashes, axis=1, keepdims=True), 1e-9))


def encode_atlas(atlas: Floats) -> list[str]:
    """The rows of an atlas as hexadecimal text, a signed byte a number."""
    return [np.asarray(np.rint(row / np.abs(row).max() * 127), np.int8).tobytes().hex() for row in atlas]


def decode_atlas(rows: list[str]) -> Floats:
    """The atlas from its text, its rows made orthonormal again."""
    values = np.array([np.frombuffer(bytes.fromhex(row), np.int8) for row in rows], np.float64)
    return np.asarray(np.linalg.qr(values.T)[0].T)
