"""``study import``: readers' answers, added to a study or made into one.

An imported file is kept byte for byte. The manifest is then written anew with that file added: the hashes of
all other files stay as they were, and are proven to hold before anything is added.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthcxr.config import StudyImportConfig
from synthcxr.devices import describe
from synthcxr.errors import UsageError
from synthcxr.store import Json, open_output, read_manifest, sha256_bytes, write_bytes
from synthcxr.study.answers import Answer, blank_sheet, check_truth, parse, refuse
from synthcxr.study.folder import ANSWERS, KIND, MANIFEST, SHEET, TRUTH, Study, answer_files, load


@dataclass(frozen=True)
class Imported:
    """What an import added to which study: the file in it, its readers, how many answers and empty rows."""

    folder: Path
    file: str
    readers: tuple[str, ...]
    answers: int
    unanswered: int

    def to_json(self) -> Json:
        """The same as plain JSON."""
        return {
            "folder": str(self.folder),
            "file": self.file,
            "readers": list(self.readers),
            "answers": self.answers,
            "unanswered": self.unanswered,
        }


def import_answers(config: StudyImportConfig) -> Imported:
    """Take in a CSV of answers, whole or not at all.

    Raises UsageError for a file that is wrong or was imported before, SynthCXRError for a changed study.
    """
    try:
        data = config.answers.read_bytes()
    except OSError as error:
        raise UsageError(f"The answers {config.answers} cannot be read: {error.strerror}.") from None
    if config.study is not None:
        return _add(config.study, config.answers, data)
    assert config.out is not None  # the config takes one of the two
    return _found(config, config.out, data)


def _add(folder: Path, source: Path, data: bytes) -> Imported:
    """Add answers to a study that exists, under the store's lock."""
    with open_output(folder, KIND, read_manifest(folder, KIND)["config"]) as output:
        manifest = read_manifest(folder, KIND)
        _refuse_twice(manifest, folder, source, data)
        file = _file_name(len(answer_files(manifest)) + 1, data)
        # A stopped import leaves its file unlisted; and a reader may fill in the study's own sheet.
        own_sheet = source.resolve() == (folder / SHEET).resolve()
        excused = [f"extra: {file}"] + [f"changed: {SHEET}"] * own_sheet
        study = load(folder, excused)
        added = _check(study, data, str(source))
        write_bytes(folder / file, data)
        if own_sheet:  # blank again for the next reader: its answers are kept under `file` now
            write_bytes(folder / SHEET, blank_sheet(sorted(study.truth)))
        output.finish(
            inputs=manifest["inputs"],
            counts=manifest["counts"] | _counts(study, added),
            environment=manifest["environment"],
            notes=manifest["notes"],
            known_hashes={name: entry["sha256"] for name, entry in manifest["files"].items()},
        )
    return _imported(folder, file, added)


def _found(config: StudyImportConfig, folder: Path, data: bytes) -> Imported:
    """Make a study of answers given elsewhere; their column `truth` is all that is known of the images."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder, KIND)
        if not config.overwrite:
            _refuse_twice(manifest, folder, config.answers, data)
            raise UsageError(f"{folder} holds a study already. To add answers to it, give --study {folder}.")
        if TRUTH in manifest["files"]:
            raise UsageError(f"{folder} holds a planned study, which answers cannot replace. Choose another --out.")
    study = Study(folder, {}, planned=False, truth={}, answers=())
    added = _check(study, data, str(config.answers))
    file = _file_name(1, data)
    with open_output(folder, KIND, config.identity(), overwrite=config.overwrite) as output:
        shutil.rmtree(folder / ANSWERS, ignore_errors=True)  # of an import that was stopped
        write_bytes(folder / file, data)
        output.finish(
            inputs={},
            counts=_counts(study, added),
            environment=describe(),
            notes=["The answers were given elsewhere: how the reading was blinded is not known here."],
        )
    return _imported(folder, file, added)


def _file_name(number: int, data: bytes) -> str:
    return f"{ANSWERS}/{number:03}-{sha256_bytes(data)[:8]}.csv"


def _refuse_twice(manifest: Json, folder: Path, source: Path, data: bytes) -> None:
    digest = sha256_bytes(data)
    for name, known in answer_files(manifest).items():
        if known == digest:
            raise UsageError(f"The answers {source} are already there, as {folder / name}. Nothing was imported.")


def _check(study: Study, data: bytes, name: str) -> list[Answer]:
    """Read and check new answers against a study. Raises UsageError with the rows that are wrong."""
    added = parse(data, name, study.planned)
    check_truth(added, study.truth, study.planned, name)
    given = {(answer.reader, answer.image) for answer in study.answers if answer.answer}
    refuse(
        [
            f"row {answer.row}: the answer of {answer.reader} to {answer.image} is already there"
            for answer in added
            if answer.answer and (answer.reader, answer.image) in given
        ],
        name,
    )
    return added


def _counts(study: Study, added: Sequence[Answer]) -> Json:
    """The manifest's counts of answers and readers, and where no plan holds them, of images."""
    answered = [answer for answer in (*study.answers, *added) if answer.answer]
    counts = {"readers": len({answer.reader for answer in answered}), "answers": len(answered)}
    if study.planned:
        return counts
    truth = study.truth | {answer.image: answer.truth for answer in added if answer.truth}
    return counts | {kind: list(truth.values()).count(kind) for kind in ("real", "synthetic")}


def _imported(folder: Path, file: str, added: Sequence[Answer]) -> Imported:
    answered = [answer for answer in added if answer.answer]
    readers = tuple(sorted({answer.reader for answer in answered}))
    return Imported(folder, file, readers, len(answered), len(added) - len(answered))
