"""Rules that compare an image with the training images: not frontal, inverted, rotated, and a label that does not fit.

Every threshold comes from `calibration`, as a small JSON beside the encoder, tied to its hash.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthcxr.data.gate.atlas import decode_atlas, strangeness
from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.encoder import FOLDER, LABELS, Encoder, load_encoder
from synthcxr.images import Grey, to_square
from synthcxr.prompts import Subject
from synthcxr.store import Json, read_json

RULES = frozenset({"not-frontal", "inverted", "rotated", "wrong-label"})
CALIBRATION = "gate.json"
WAYS = ("as it is", "inverted", "turned by 90°", "turned by 180°", "turned by 270°")
"""What may have been done to an image; turns are counter-clockwise."""
UNDONE_BY = (0, 1, 4, 3, 2)
"""The way that undoes each way."""
SMALLEST_CONTENT = 64
"""Pixels between black margins, below which there is too little to look at."""
OLDEST_CHILD, YOUNGEST_ADULT = 10, 18
"""Years; in between the encoder is not asked."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The `rule` that an image breaks and the `reason`, both empty where it passes; `warning` leaves it in."""

    rule: str = ""
    reason: str = ""
    warning: str = ""


def change(image: Grey, way: int) -> Grey:
    """The image after one of `WAYS`."""
    return 255 - image if way == 1 else np.ascontiguousarray(np.rot90(image, max(0, way - 1)))


def content(image: Grey) -> Grey:
    """The central square of what lies between margins of pure black, such as the bars of a padded image."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return image
    inside = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = min(inside.shape)
    return to_square(inside, side) if side >= SMALLEST_CONTENT else image


@dataclass(frozen=True)
class Calibration:
    """The rules in numbers.

    `atlas` (32, 255) spans the training images' perceptual hashes; `far` is the score beside it from which an image
    is not frontal. `weights` (5, D) and `bias` (5,) of a linear classifier tell the `WAYS` apart by the encoder's
    features; `evidence` is the sum of log odds from which an image counts as inverted or turned. An adult whose
    probability of a child is above `child_above`, or a child below `adult_below`, is a wrong label.
    """

    atlas: Floats
    far: float
    weights: Floats
    bias: Floats
    evidence: float
    child_above: float
    adult_below: float

    def log_odds(self, features: npt.NDArray[np.float32]) -> Floats:
        """Logarithms of the odds (n, 5) of each of `WAYS` against the image as it is; the first column is 0."""
        scores = features.astype(np.float64) @ self.weights.T + self.bias
        return np.asarray(scores - scores[:, :1])


def load_calibration(encoder: Encoder, folder: Path = FOLDER) -> Calibration:
    """The calibration that ships with the encoder. Raises SynthCXRError where it is of another one."""
    path = folder / CALIBRATION
    held = read_json(path) if path.is_file() else {}
    if held.get("encoder_sha256") != encoder.sha256:
        raise SynthCXRError(
            f"{path} does not belong to the encoder {encoder.name} ({encoder.sha256[:12]}…), so the rules "
            f"{', '.join(sorted(RULES))} have no thresholds. Reinstall synthcxr, calibrate with "
            "recipes/bundled/calibrate_gate.py, or leave the rules out with --skip-checks."
        )
    return from_json(held)


def from_json(held: Json) -> Calibration:
    """A calibration from its JSON."""
    return Calibration(
        decode_atlas(held["not_frontal"]["atlas"]),
        held["not_frontal"]["far"],
        np.array(held["orientation"]["weights"], np.float64),
        np.array(held["orientation"]["bias"], np.float64),
        held["orientation"]["evidence"],
        held["wrong_label"]["child_above"],
        held["wrong_label"]["adult_below"],
    )


def judge(
    images: Iterable[Grey],
    subjects: Iterable[Subject],
    skip: frozenset[str] = frozenset(),
    batch_size: int = 64,
    device: str = "auto",
) -> Iterator[Verdict]:
    """A verdict on each written square, in order, `batch_size` in memory at once.

    Without a rule to apply nothing is loaded and no image is read.
    """
    if skip >= RULES:
        yield from (Verdict() for _ in subjects)
        return
    encoder = load_encoder()
    calibration = load_calibration(encoder)
    pairs = zip(images, subjects, strict=True)
    while block := list(islice(pairs, batch_size)):
        yield from judge_block(
            [image for image, _ in block], [subject for _, subject in block], encoder, calibration, skip, device
        )


def judge_block(
    images: Sequence[Grey],
    subjects: Sequence[Subject],
    encoder: Encoder,
    calibration: Calibration,
    skip: frozenset[str] = frozenset(),
    device: str = "auto",
) -> list[Verdict]:
    """Verdicts on a few images."""
    images = [content(image) for image in images]
    features = encoder.extract(images, len(images), device).features
    scores = strangeness(images, calibration.atlas)
    ways = orientation(images, features, encoder, calibration, device)
    children = classify_child(encoder, features)
    return [
        _verdict(score, way, evidence, subject, child, calibration, skip)
        for score, (way, evidence), subject, child in zip(scores, ways, subjects, children, strict=True)
    ]


def _verdict(
    score: float,
    way: int,
    evidence: float,
    subject: Subject,
    child: float,
    calibration: Calibration,
    skip: frozenset[str],
) -> Verdict:
    rule = ("", "inverted", "rotated", "rotated", "rotated")[way]
    if rule and rule not in skip:
        return Verdict(rule, f"it looks like a frontal chest X-ray {WAYS[way]} (log odds {evidence:.1f})")
    if "not-frontal" not in skip and not rule and score > calibration.far:
        return Verdict(
            "not-frontal",
            f"its out-of-distribution score is {score:.2f}, above {calibration.far:.2f}: it is unlike the frontal "
            "chest X-rays that the gate knows",
        )
    return Verdict(warning="" if "wrong-label" in skip else wrong_label(subject, child, calibration))


def orientation(
    images: Sequence[Grey],
    features: npt.NDArray[np.float32],
    encoder: Encoder,
    calibration: Calibration,
    device: str = "auto",
) -> list[tuple[int, float]]:
    """What was done to each image, by its place in `WAYS`, and the evidence (0 for an image as it is).

    Where the classifier finds a way likelier than none, the way is undone, and the result must look upright by
    the same measure, and like a frontal chest X-ray. The evidence is the sum of both log odds.
    """
    odds = calibration.log_odds(features)
    suspects = [int(index) for index in np.nonzero(odds.max(axis=1) > 0)[0]]
    found = [(0, 0.0)] * len(images)
    if not suspects:
        return found
    ways = [int(odds[index].argmax()) for index in suspects]
    undone = [change(images[index], UNDONE_BY[way]) for index, way in zip(suspects, ways, strict=True)]
    restored = encoder.extract(undone, len(undone), device).features
    scores, back = strangeness(undone, calibration.atlas), calibration.log_odds(restored)
    for row, (index, way) in enumerate(zip(suspects, ways, strict=True)):
        evidence = float(odds[index, way] - back[row, UNDONE_BY[way]])
        if evidence > calibration.evidence and scores[row] <= calibration.far:
            found[index] = (way, evidence)
    return found


def classify_child(encoder: Encoder, features: npt.NDArray[np.float32]) -> Floats:
    """Probabilities (n,) of a child, by the encoder's classifier."""
    import torch

    with torch.no_grad():
        heads = encoder.heads.cpu()
        scores = heads(torch.from_numpy(np.ascontiguousarray(features, np.float32))).sigmoid()
    return np.asarray(scores[:, LABELS.index("child")], np.float64)


def stated_child(subject: Subject) -> bool | None:
    """Whether a label says a child of at most 10 years (True) or an adult (False); None where neither."""
    youngest, oldest = (subject.age, subject.age) if subject.age is not None else (subject.age_range or (None, None))
    if oldest is not None and oldest <= OLDEST_CHILD:
        return True
    return False if youngest is not None and youngest >= YOUNGEST_ADULT else None


def wrong_label(subject: Subject, child: float, calibration: Calibration) -> str:
    """The warning about a label that does not fit the picture, empty where it does."""
    stated = stated_child(subject)
    if stated is False and child > calibration.child_above:
        return f"labelled an adult, but the encoder sees a child (probability {child:.2f})"
    if stated is True and child < calibration.adult_below:
        return f"labelled a child, but the encoder sees an adult (probability of a child {child:.2f})"
    return ""


def concerns(rejected: dict[str, int], images: int) -> list[str]:
    """Notes where the encoder's rules leave out so much that they, not the images, are likely at fault."""
    return [
        f"The rule {rule} left out {count} of {images} images. So many are rarely wrong: the encoder may not know this "
        f"kind of X-ray. Look at the thumbnails, and leave the rule out with --skip-checks {rule} if they are right."
        for rule in ("not-frontal", "inverted", "rotated")
        if (count := rejected.get(rule, 0)) > max(5, 0.03 * images)
    ]
