"""Near-duplicates: the same picture again, resized, compressed, with another contrast, a small crop or a mark.

Two steps. A perceptual hash of every image finds all pairs that may be the same picture; each such pair is then laid
on each other at 128 px, and its details must agree. Images of one patient from one day fail the second step.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey

HASH_SIDE, FREQUENCIES = 64, 16
SHA_DIGITS = 32
CANDIDATE = 0.87
"""Correlation of two perceptual hashes from which the images themselves are compared."""
ALIGNED_SIDE = 128
SAME_PICTURE = 0.82
"""Correlation of the details of two aligned images from which they are one picture."""
BLOCK = 2048

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Image `index` is the picture of image `kept`, which comes before it.

    `correlation` is that of their details, 1 at most; `exact` says that all pixels of the source images are equal.
    """

    index: int
    kept: int
    correlation: float
    same_patient: bool
    exact: bool

    @property
    def rule(self) -> str:
        """The name of the rule that it breaks."""
        return "duplicate-same-patient" if self.same_patient else "duplicate-other-patient"

    def reason(self, kept: str) -> str:
        """The words for a rejected row, with the name of the image that is kept."""
        whose = "the same patient" if self.same_patient else "another patient"
        how = "equal in every pixel" if self.exact else f"details correlate at {self.correlation:.2f}"
        return f"it is the same picture as {kept} of {whose} ({how})"


def fingerprint(image: Grey) -> str:
    """An image's fingerprint as text: 32 hexadecimal digits of the SHA-256 of its pixels, 510 of its perceptual hash.

    The hash: central square at 64 px, contrast made equal everywhere, the 255 lowest frequencies of its cosine
    transform as signed bytes. It does not change with size, compression, brightness or contrast.
    """
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()[:SHA_DIGITS] + perceptual_hash(image).tobytes().hex()


def perceptual_hash(image: Grey) -> npt.NDArray[np.int8]:
    """The 255 lowest frequencies, but for the mean, of the image's central square with equal local contrast."""
    import cv2

    waves = cv2.dct(local_contrast(_central(image, HASH_SIDE), HASH_SIDE * 0.1))[:FREQUENCIES, :FREQUENCIES].ravel()[1:]
    largest = float(np.abs(waves).max())
    return np.asarray(np.rint(waves * (127 / largest if largest > 0 else 0.0)), np.int8)


def local_contrast(image: Grey, sigma: float) -> Floats:
    """Each pixel's difference to its surroundings (Gaussian of `sigma` pixels), in their standard deviations.

    The limit of ±1.5 keeps burned-in letters, which are far brighter than their surroundings, from outweighing all.
    """
    import cv2

    difference = image.astype(np.float32)
    difference -= cv2.GaussianBlur(difference, (0, 0), sigma)
    deviation = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), 1.5 * sigma)) + 4
    return np.asarray(np.clip(difference / deviation, -1.5, 1.5), np.float32)


def _central(image: Grey, side: int) -> Grey:
    import cv2

    height, width = image.shape
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = image[top : top + short, left : left + short]
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def find_duplicates(
    fingerprints: Sequence[str], patients: Sequence[str], read: Callable[[int], Grey]
) -> list[Duplicate]:
    """The images that show the same picture as an earlier one that is kept, by their index.

    `read` gives the written square of an image. Of each picture the first image is kept, so the order should be a
    stable one. An image is compared with kept ones only: a chain of small changes does not add up.
    """
    first: dict[str, int] = {}
    exact = {i: j for i, text in enumerate(fingerprints) if (j := first.setdefault(text[:SHA_DIGITS], i)) != i}
    single = [i for i in range(len(fingerprints)) if i not in exact]
    details = lru_cache(maxsize=4096)(lambda index: _central(read(index), ALIGNED_SIDE))
    found = {i: Duplicate(i, j, 1.0, patients[i] == patients[j], True) for i, j in exact.items()}
    for earlier, later in candidates([fingerprints[i] for i in single]):
        i, j = single[later], single[earlier]
        if i in found or j in found:
            continue
        correlation = compare(details(j), details(i))
        if correlation >= SAME_PICTURE:
            found[i] = Duplicate(i, j, round(correlation, 4), patients[i] == patients[j], False)
    for i, j in exact.items():  # an exact copy of an image that itself went is a copy of what that one was
        if (near := found.get(j)) is not None:
            found[i] = Duplicate(i, near.kept, near.correlation, patients[i] == patients[near.kept], False)
    return [found[i] for i in sorted(found)]


def candidates(fingerprints: Sequence[str]) -> Iterator[tuple[int, int]]:
    """All pairs (earlier, later) whose perceptual hashes correlate at `CANDIDATE` or more, by the later one.

    Every pair is looked at, as blocks of a matrix product: no bucket can miss one, and at 100,000s of images it is
    minutes, less than reading them takes.
    """
    hashes = np.array(
        [np.frombuffer(bytes.fromhex(text[SHA_DIGITS:]), np.int8) for text in fingerprints], np.int8
    ).reshape(-1, FREQUENCIES**2 - 1)
    for start in range(0, len(hashes), BLOCK):
        rows = _unit(hashes[start : start + BLOCK])
        pairs: list[tuple[int, int]] = []
        for other in range(0, start + 1, BLOCK):
            near = rows @ _unit(hashes[other : other + BLOCK]).T >= CANDIDATE
            later, earlier = np.nonzero(near)
            pairs += [(b + start, a + other) for b, a in zip(later.tolist(), earlier.tolist(), strict=True)]
        for later_one, earlier_one in sorted(pairs):
            if earlier_one < later_one:
                yield earlier_one, later_one


def _unit(hashes: npt.NDArray[np.int8]) -> Floats:
    values = hashes.astype(np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6), np.float32)


def compare(one: Grey, other: Grey) -> float:
    """Correlation of the details of two squares of 128 px, after the one is laid on the other.

    The alignment is affine (enhanced correlation coefficient, Evangelidis and Psarakis, TPAMI 2008), so that a small
    crop or another aspect does not count. Details are what differs from a surrounding of 3 px.
    """
    import cv2

    a, b = (local_contrast(image, ALIGNED_SIDE * 0.1) for image in (one, other))
    warp = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        _, warp = cv2.findTransformECC(a, b, warp, cv2.MOTION_AFFINE, criteria, None, 5)
    except cv2.error:  # no alignment is found: they are compared as they lie
        warp = np.eye(2, 3, dtype=np.float32)
    size = (ALIGNED_SIDE, ALIGNED_SIDE)
    moved = cv2.warpAffine(other.astype(np.float32), warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    seen = cv2.warpAffine(np.ones(size, np.uint8), warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    inside = cv2.erode(seen, np.ones((9, 9), np.uint8), borderValue=0).astype(bool)
    if inside.mean() < 0.5:
        return 0.0
    fine = [local_contrast(image, 3.0)[inside] for image in (one, moved)]
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.corrcoef(*fine)[0, 1]))
