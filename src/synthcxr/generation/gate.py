"""The gate of `generate --accept`: every image is looked at, and drawn again where it breaks a rule.

An attempt is whole before the next begins: its images lie in ``.work/attempts/N/``, what was found of them beside them,
and only then the accepted ones go into the set. So which images an attempt draws, and in which blocks, does not depend
on when a run was stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.data.burned_in import MINIMUM_SCORE
from synthcxr.data.gate.pixels import check_image
from synthcxr.data.records import RejectedImageError
from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.encoder import FOLDER, LABELS, Encoder, encoder_sha256, load_encoder
from synthcxr.evaluation.features import (
    FeatureSet,
    is_reference,
    is_stored,
    join,
    read_features,
    read_folder,
    read_reference,
    reference_file,
)
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.neighbours import MINIMUM_HELD_OUT, Calibration, calibrate, nearest
from synthcxr.evaluation.training import BUNDLED_TRAINING, Training, find_training
from synthcxr.generation import acceptance
from synthcxr.generation.acceptance import Threshold
from synthcxr.generation.drawing import Outcome, with_places
from synthcxr.images import Grey, read_grey
from synthcxr.models.registry import IN_PACKAGE, Reference
from synthcxr.progress import say, track
from synthcxr.seeds import row_seed
from synthcxr.store import Json, manifest_hash, read_json, sha256_file, write_json
from synthcxr.workers import map_in_workers

THRESHOLDS = "acceptance.json"
"""The thresholds' file, beside the encoder and tied to its hash."""
HELD_OUT = "reference:all"
"""Real patients who ship as features, where the run's own held-out ones are not at hand."""
AT_ONCE = 32
"""Images that are looked at, and noted, together."""
REJECTED = "rejected"
NOT_FINITE = "not-finite"
OTHER_PIXEL_RULES = frozenset({"tiny", "aspect", "text-only"})

Draw = Callable[[list[Json], Path, Path], Outcome]
"""Draws rows into a folder, keeping its journal in another."""


# --- before any work --------------------------------------------------------------------------------------


def identify_gate(rules: tuple[str, ...], reference: Reference) -> Json:
    """Hashes of all that a verdict depends on, so that a set that was begun with others does not go on."""
    known: Json = {"rules": list(rules), "encoder_sha256": encoder_sha256()}
    if acceptance.LABELS_OF.keys() & set(rules):
        known["thresholds_sha256"] = sha256_file(FOLDER / THRESHOLDS)
    if "copy" in rules:
        training = find_sources(reference, kept_first=True)
        known["training_sha256"] = [_hash(source) for source in training.sources]
    return known


def _hash(source: Path | str) -> str | None:
    if is_reference(str(source)):
        return sha256_file(reference_file(str(source)))
    return sha256_file(Path(source)) if is_stored(source) else manifest_hash(Path(source))


def find_sources(reference: Reference, *, kept_first: bool) -> Training:
    """Where the training images of a model are, or their features, which are quicker to read (`kept_first`)."""
    if reference.run:
        return find_training(reference.run, kept_first=kept_first)
    if reference.name in IN_PACKAGE:
        return Training((BUNDLED_TRAINING,))
    return Training(gaps=(f"The data of the model {reference.name} is not at hand.",))


def load_thresholds(encoder: Encoder, folder: Path = FOLDER) -> list[Threshold]:
    """The thresholds that ship with the encoder. Raises SynthCXRError where they are of another one."""
    held = read_json(folder / THRESHOLDS)
    if held.get("encoder_sha256") != encoder.sha256:
        raise SynthCXRError(
            f"{folder / THRESHOLDS} does not belong to the encoder {encoder.name} ({encoder.sha256[:12]}…). Reinstall "
            "synthcxr, or calibrate with recipes/bundled/calibrate_acceptance.py."
        )
    return acceptance.from_json(held["thresholds"])


@dataclass(frozen=True)
class Copies:
    """The training images' identities (M, 64), and from which distance on an image is no near-copy of one of them."""

    training: FeatureSet
    held_out: str
    calibration: Calibration
    gaps: tuple[str, ...]

    def to_json(self) -> Json:
        """As the manifest says it."""
        return {
            "threshold": self.calibration.threshold,
            "expected": self.calibration.expected,
            "n_held_out": len(self.calibration.held_out),
            "held_out": self.held_out,
            "n_training": len(self.training),
            "gaps": list(self.gaps),
        }


def learn_copies(reference: Reference, encoder: Encoder, device: str) -> Copies | str:
    """What a near-copy is for a model, or why that cannot be said.

    The threshold is that of `evaluate`: the 1 % quantile of the distances of real patients outside the training. These
    are the validation patients of the run's datasets where those are at hand, else the ones that ship as features.
    """
    known = find_sources(reference, kept_first=True)
    if not known.sources:
        return f"The training images are not known: {' '.join(known.gaps)}"
    training = join([_read_side(source, "train", encoder, device) for source in known.sources])
    folders = [source for source in find_sources(reference, kept_first=False).sources if _is_folder(source)]
    held = [side for folder in folders if (side := _read_validation(Path(folder), encoder, device)) is not None]
    outside, name = (join(held), "validation patients of the training's datasets") if held else (None, HELD_OUT)
    if outside is None or len(outside) < MINIMUM_HELD_OUT:
        outside, name = read_reference(HELD_OUT, encoder), HELD_OUT
    calibration = calibrate(nearest(outside.identity, training.identity).distance)
    return Copies(training, name, calibration, known.gaps)


def _is_folder(source: Path | str) -> bool:
    return not is_reference(str(source)) and not is_stored(source)


def _read_side(source: Path | str, split: str, encoder: Encoder, device: str) -> FeatureSet:
    if is_reference(str(source)):
        return read_reference(str(source), encoder)
    if is_stored(source):
        return read_features(Path(source), Path(source).parent.name, encoder)
    return read_folder(Path(source), split, encoder, AT_ONCE, device)


def _read_validation(folder: Path, encoder: Encoder, device: str) -> FeatureSet | None:
    try:
        return _read_side(folder, "validation", encoder, device)
    except SynthCXRError:  # no such split, or no image in it
        return None


@dataclass(frozen=True)
class Gate:
    """All that a verdict takes. `silent` says by rule what it cannot judge."""

    rules: tuple[str, ...]
    encoder: Encoder
    thresholds: list[Threshold] = field(default_factory=list)
    copies: Copies | None = None
    silent: Json = field(default_factory=dict)
    device: str = "auto"

    def judge(self, rows: Sequence[Json], images: Sequence[Grey], texts: Sequence[list[str]]) -> list[dict[str, str]]:
        """Of each image the rules that it breaks, with the reason; `texts` are the lines that were read in it."""
        found = self.encoder.extract(images, AT_ONCE, self.device)
        probabilities = self.encoder.label(found.features)
        far = self._distances(found.identity.astype(np.float64))
        verdicts = []
        for row, image, text, seen, distance in zip(rows, images, texts, probabilities, far, strict=True):
            by_label = dict(zip(LABELS, map(float, seen), strict=True))
            broken = acceptance.not_as_asked(self.rules, row, by_label, self.thresholds)
            if "blank" in self.rules and (why := why_blank(image)):
                broken["blank"] = why
            if text:
                broken["text"] = f"text can be read: {', '.join(text)}"
            if self.copies and distance < self.copies.calibration.threshold:
                broken["copy"] = (
                    f"a training image lies at a distance of {distance:.4f} by identity, nearer than "
                    f"{self.copies.calibration.threshold:.4f}"
                )
            verdicts.append(broken)
        return verdicts

    def _distances(self, identity: Floats) -> Floats:
        if not self.copies:
            return np.full(len(identity), np.inf)
        return nearest(identity, self.copies.training.identity).distance

    def to_json(self) -> Json:
        """The rules with what they go by, as the manifest says it."""
        rules: Json = {}
        for rule in self.rules:
            if rule in acceptance.LABELS_OF:
                label = acceptance.LABELS_OF[rule]
                rules[rule] = {"thresholds": acceptance.to_json(t for t in self.thresholds if t.label == label)}
            elif rule == "copy":
                rules[rule] = self.copies.to_json() if self.copies else {}
            else:
                rules[rule] = {"minimum_score": MINIMUM_SCORE} if rule == "text" else {}
        return {"rules": rules, "encoder_sha256": self.encoder.sha256, "not_judged": self.silent}


def load_gate(rules: tuple[str, ...], reference: Reference, rows: Sequence[Mapping[str, Any]], device: str) -> Gate:
    """Load what the rules take, and say what they cannot judge in these rows."""
    encoder = load_encoder()
    thresholds = load_thresholds(encoder) if acceptance.LABELS_OF.keys() & set(rules) else []
    silent = acceptance.cannot_judge(rules, rows, thresholds)
    copies = learn_copies(reference, encoder, device) if "copy" in rules else None
    if isinstance(copies, str):
        silent["copy"] = [copies]
        copies = None
    for rule, sentences in silent.items():
        for sentence in sentences:
            say(f"--accept {rule}: {sentence}")
    return Gate(rules, encoder, thresholds, copies, silent, device)


def why_blank(image: Grey) -> str:
    """Why an image counts as blank, by the rules of `prepare`; empty where it does not."""
    try:
        check_image(image, OTHER_PIXEL_RULES)
    except RejectedImageError as error:
        return str(error)
    return ""


def read_text(path: Path) -> list[str]:
    """The lines of text in an image, as `clean` finds them."""
    from synthcxr.cleaning.detect import shared_reader
    from synthcxr.cleaning.remove import find

    return [box.text for box in find(read_grey(path), lambda image: shared_reader().read(image, MINIMUM_SCORE))]


# --- attempt after attempt --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gated:
    """A set's rows in the order of their index, every drawing that was rejected, and the report for the manifest."""

    rows: list[Json]
    rejected: list[Json]
    report: Json


def draw_accepted(
    gate: Gate,
    asked: list[Json],
    draw: Draw,
    *,
    seed: int,
    attempts: int,
    batch_size: int,
    workers: int,
    folder: Path,
    out: Path,
    scratch: Path,
    keep: bool,
) -> Gated:
    """Draw rows until each has an image that passes, `attempts` times at most.

    Attempt 0 draws all of them; the next draws, in the order of their index, those whose image broke a rule, in blocks
    of their own. The accepted images go into `folder`, with `keep` the others into ``rejected/`` in `out`.
    """
    pending, accepted, rejected, counts = asked, [], [], []
    for attempt in range(attempts):
        if not pending:
            break
        rows = [{**row, "attempt": attempt, "seed": row_seed(seed, row["index"], attempt)} for row in pending]
        rows = with_places(rows, batch_size)
        passed, failed = _attempt(gate, rows, draw, workers, scratch / "attempts" / str(attempt))
        for row in passed:
            _move(scratch / "attempts" / str(attempt) / row["file_name"], folder / row["file_name"])
        for row in failed:
            source = scratch / "attempts" / str(attempt) / row["file_name"]
            row["file_name"] = f"{REJECTED}/{Path(row['file_name']).stem}-{attempt}.png" if keep else None
            if keep and NOT_FINITE not in row["rules"]:
                _move(source, out / row["file_name"])
        accepted += passed
        rejected += failed
        counts.append(acceptance.count_attempt(attempt, len(rows), failed))
        missing = {row["index"] for row in failed}
        pending = [row for row in pending if row["index"] in missing]
    given_up = {row["index"] for row in pending}
    for row in rejected:
        row["given_up"] = row["index"] in given_up
    report = gate.to_json() | {"attempts": counts, "given_up": len(given_up)}
    say(acceptance.tell(len(asked), len(accepted), counts))
    return Gated(
        sorted(accepted, key=lambda row: int(row["index"])),
        sorted(rejected, key=lambda row: (int(row["index"]), int(row["attempt"]))),
        report,
    )


def _attempt(gate: Gate, rows: list[Json], draw: Draw, workers: int, folder: Path) -> tuple[list[Json], list[Json]]:
    """The rows of an attempt that passed, and those that failed with ``rules`` and ``reason``; known ones are read."""
    journal = folder / "verdicts.json"
    if not journal.is_file():
        drawn = draw(rows, folder, folder / "blocks")
        broken = {row["index"]: {NOT_FINITE: str(row["reason"])} for row in drawn.rejected}
        broken |= dict(_judge_all(gate, drawn.rows, workers, folder))
        write_json(journal, {"broken": [broken[row["index"]] for row in rows]})
    verdicts: list[dict[str, str]] = read_json(journal)["broken"]
    pairs = list(zip(rows, verdicts, strict=True))
    return [row for row, rules in pairs if not rules], [
        {**row, "rules": rules, "reason": "; ".join(f"{rule}: {why}" for rule, why in rules.items())}
        for row, rules in pairs
        if rules
    ]


def _judge_all(gate: Gate, rows: list[Json], workers: int, folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Of every row's index what it breaks; a block that was judged by an earlier call is not judged anew."""
    blocks = [rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)]
    files = [folder / "verdicts" / f"{number:06d}.json" for number in range(len(blocks))]
    missing = [(block, file) for block, file in zip(blocks, files, strict=True) if not file.is_file()]
    paths = [folder / row["file_name"] for block, _ in missing for row in block]
    texts = map_in_workers(read_text, paths, workers) if "text" in gate.rules else repeat([])
    for block, file in track(missing, "Judging", len(missing)):
        images = [read_grey(folder / row["file_name"]) for row in block]
        write_json(file, {"broken": gate.judge(block, images, list(islice(texts, len(block))))})
    for block, file in zip(blocks, files, strict=True):
        for row, rules in zip(block, read_json(file)["broken"], strict=True):
            yield row["index"], rules


def _move(source: Path, target: Path) -> None:
    """Move a file, unless an earlier call did."""
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
