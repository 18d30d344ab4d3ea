"""The quality gate: rules by name that an image must pass to become part of a dataset.

In the worker: `pixels.check_image` and `pixels.thumbnail`, `duplicates.fingerprint`, on the image at full size.
In the main process, on the written squares: `duplicates.find_duplicates`, then `looks.judge` by the encoder.
"""

import difflib
from collections.abc import Iterable

from synthcxr.errors import UsageError

CHECKS = {
    "secondary-capture": "by a DICOM header: a screenshot, a scanned film, an exported picture",
    "for-processing": "by a DICOM header: raw data of the detector, which no radiologist reads",
    "not-chest": "by a DICOM header: no radiograph (CR, DX, RG), or another part of the body than the chest",
    "tiny": "the short side has fewer than 128 pixels",
    "aspect": "the long side is more than 2.5 times the short one",
    "blank": "the image is almost uniform",
    "saturated": "most of the image is pure black or pure white",
    "text-only": "the image has dark strokes on a plain ground (or light on dark) and nothing between",
    "duplicate-same-patient": "the same picture as an earlier image of the same patient, but for size or contrast",
    "duplicate-other-patient": "the same picture as an earlier image of another patient",
    "not-frontal": "out of distribution: unlike the frontal chest X-rays that the gate knows",
    "inverted": "black and white are the wrong way round",
    "rotated": "turned by 90, 180 or 270 degrees",
    "wrong-label": "a child by its label and an adult by the encoder, or the reverse (a warning; the image stays)",
}
"""The rules by name, each in a line."""


def parse_skip(names: Iterable[str]) -> frozenset[str]:
    """The rules that `--skip-checks` leaves out, ``all`` for every one. Raises UsageError for an unknown name."""
    skipped = set(names)
    for name in sorted(skipped - CHECKS.keys() - {"all"}):
        near = difflib.get_close_matches(name, [*CHECKS, "all"], n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"--skip-checks {name}: there is no such rule. {hint} The rules: {', '.join(CHECKS)}, all.")
    return frozenset(CHECKS if "all" in skipped else skipped)
