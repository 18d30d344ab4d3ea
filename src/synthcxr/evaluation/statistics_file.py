"""Statistics files: mean and covariance of features as ``.npz``, as pytorch-fid and clean-fid read and write them."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.frechet import Moments, moments_of
from synthcxr.store import Json, atomic_writer

ABOUT = "synthcxr"
"""The array beside ``mu`` and ``sigma`` that says what they are of, as JSON. Others pass it over."""


def describe_statistics(extractor: Extractor, count: int, source: str = "") -> Json:
    """What a statistics file says of itself."""
    return {
        "extractor": extractor.name,
        "extractor_sha256": extractor.sha256,
        "fingerprint": extractor.fingerprint,
        "preprocessing": extractor.preprocessing,
        "n": count,
        "source": source,
    }


def write_statistics(path: Path, fitted: Moments, about: Mapping[str, object]) -> None:
    """Write moments as ``mu`` (D,) and ``sigma`` (D, D) in float64, and beside them what they are of, as JSON."""
    with atomic_writer(path) as opened:
        text = np.array(json.dumps(dict(about), sort_keys=True))
        np.savez_compressed(opened, mu=fitted.mean, sigma=fitted.covariance, synthcxr=text)


def read_statistics(path: Path) -> tuple[Moments, Json]:
    """Moments from a statistics file, and what it says of itself: nothing where another tool wrote it.

    Raises UsageError where there is no file, SynthCXRError where it does not hold a mean and a covariance.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = (np.asarray(arrays[key], np.float64) for key in ("mu", "sigma"))
            about: Json = json.loads(str(arrays[ABOUT])) if ABOUT in arrays else {}
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except (KeyError, ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise SynthCXRError(f"{path} is no statistics file (.npz with mu and sigma): {error}") from error
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise SynthCXRError(f"{path} holds mu {mean.shape} and sigma {covariance.shape}, not (D,) and (D, D).")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise SynthCXRError(f"{path} holds values that are not finite numbers.")
    return moments_of(mean, covariance, about.get("n")), about


def check_statistics(about: Mapping[str, object], extractor: Extractor, path: Path) -> None:
    """Raise SynthCXRError where a statistics file says that it is of another extractor or preprocessing."""
    if about and about.get("fingerprint") != extractor.fingerprint:
        raise SynthCXRError(
            f"{path} is of {about.get('extractor')} ({about.get('preprocessing')}), and this is {extractor.name} "
            f"({extractor.preprocessing}): the two do not compare."
        )
