"""What the gate says once all images are there: which show the same picture, and what the encoder thinks of each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from synthcxr.data.gate import looks
from synthcxr.data.gate.duplicates import find_duplicates
from synthcxr.images import Grey
from synthcxr.progress import say, track
from synthcxr.prompts import Subject
from synthcxr.store import Json

DUPLICATES = {"duplicate-same-patient", "duplicate-other-patient"}


@dataclass
class Verdicts:
    """By an image's position: why it is left out (as in rejected.jsonl), what is doubtful of it; pairs of one picture.

    `twins` are pairs that both stay, because the rule that would leave out the second is skipped.
    """

    dropped: dict[int, Json] = field(default_factory=dict)
    warnings: dict[int, str] = field(default_factory=dict)
    twins: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Candidates:
    """All images of a dataset to be, by position: names in the dataset and in the source, patients, fingerprints.

    `read` gives the square that was written, `subjects` go through what is stated of each, in order.
    """

    names: Sequence[str]
    files: Sequence[str]
    patients: Sequence[str]
    fingerprints: Sequence[str]
    read: Callable[[int], Grey]
    subjects: Callable[[], Iterable[Subject]]


def judge_all(images: Candidates, skipped: frozenset[str]) -> Verdicts:
    """Look for images that show one picture, then ask the encoder of each that is left."""
    verdicts = Verdicts()
    if not skipped >= DUPLICATES:
        say(f"Comparing {len(images.files)} images with each other.")
        for found in find_duplicates(images.fingerprints, images.patients, images.read):
            if found.rule in skipped:
                verdicts.twins.append((found.kept, found.index))
            else:
                reason = found.reason(images.files[found.kept])
                verdicts.dropped[found.index] = _row(images, found.index, found.rule, reason) | {
                    "duplicate_of": images.names[found.kept]
                }
    left = [position for position in range(len(images.files)) if position not in verdicts.dropped]
    if not skipped >= looks.RULES:
        gone = frozenset(verdicts.dropped)
        subjects = (subject for position, subject in enumerate(images.subjects()) if position not in gone)
        judged = looks.judge((images.read(position) for position in left), subjects, skipped)
        for position, verdict in zip(left, track(judged, "Checking", len(left)), strict=True):
            if verdict.rule:
                verdicts.dropped[position] = _row(images, position, verdict.rule, verdict.reason)
            elif verdict.warning:
                verdicts.warnings[position] = verdict.warning
    return verdicts


def _row(images: Candidates, position: int, rule: str, reason: str) -> Json:
    return {"file": images.files[position], "rule": rule, "reason": reason}
