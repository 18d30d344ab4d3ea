"""``study import``: readers' answers, added to a study or made into one.

An imported file is kept byte for byte, and beside it how its columns and words are to be read where they are not those
of `answers`. The manifest is then written anew with that file added: the hashes of all other files stay as they were,
and are proven to hold before anything is added.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthcxr.config import StudyImportConfig
from synthcxr.devices import describe
from synthcxr.errors import UsageError
from synthcxr.store import Json, open_output, read_manifest, sha256_bytes, write_bytes, write_json
from synthcxr.study.answers import COLUMNS, Answer, Layout, asked, blank_sheet, check_truth, parse, refuse
from synthcxr.study.folder import ANSWERS, KIND, LIVING, MANIFEST, SHEET, TRUTH, Study, answer_files, load
from synthcxr.study.protocol import Item


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
    layout = read_layout(config)
    if config.study is not None:
        return _add(config.study, config.answers, data, layout)
    assert config.out is not None  # the config takes one of the two
    return _found(config, config.out, data, layout)


def read_layout(config: StudyImportConfig) -> Layout:
    """What the options say of the file. Raises UsageError for one that is not of the form name=meaning."""

    def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
        split = [[part.strip() for part in text.split("=", 1)] for text in given]
        wrong = [text for text, parts in zip(given, split, strict=True) if len(parts) < 2 or not all(parts)]
        if wrong:
            raise UsageError(f"--{option} {wrong[0]!r} is not of the form name=meaning.")
        return dict(split)

    columns = {ours.lower(): theirs for ours, theirs in pairs("column", config.column).items()}
    values = {word.lower(): meaning.lower() for word, meaning in pairs("value", config.value).items()}
    steps = {name: [step.strip() for step in text.split("|")] for name, text in pairs("item", config.item).items()}
    short = [name for name, labels in steps.items() if len(set(labels)) < max(2, len(labels)) or not all(labels)]
    if short:
        raise UsageError(f"--item {short[0]} needs at least two different steps, lowest first: {short[0]}=poor|good.")
    items = tuple(Item(name, name, tuple(labels)) for name, labels in steps.items())
    _check_names(columns, items)
    return Layout(columns, values, items)


def _check_names(columns: Mapping[str, str], items: Sequence[Item]) -> None:
    known = (*COLUMNS, *(item.name.lower() for item in items))
    unknown = [name for name in columns if name not in known]
    if unknown and items:
        raise UsageError(f"--column {unknown[0]}={columns[unknown[0]]}: the columns here are {', '.join(known)}.")
    clash = [item.name for item in items if item.steps and item.name.lower() in COLUMNS]
    if clash:
        raise UsageError(f"--item {clash[0]} has the name of a column. Name it otherwise.")


def _add(folder: Path, source: Path, data: bytes, layout: Layout) -> Imported:
    """Add answers to a study that exists, under the store's lock."""
    with open_output(folder, KIND, read_manifest(folder, KIND)["config"]) as output:
        manifest = read_manifest(folder, KIND)
        _refuse_twice(manifest, folder, source, data)
        file = _file_name(len(answer_files(manifest)) + 1, data)
        # A stopped import leaves its file unlisted; and a reader may fill in the study's own sheet.
        own_sheet = source.resolve() == (folder / SHEET).resolve()
        excused = [f"extra: {file}", f"extra: {_beside(file)}"] + [f"changed: {SHEET}"] * own_sheet
        study = load(folder, excused)
        layout = _complete(study, layout)
        added = _check(study, data, str(source), layout)
        _keep(folder, file, data, layout)
        if own_sheet:  # blank again for the next reader: its answers are kept under `file` now
            write_bytes(folder / SHEET, blank_sheet(sorted(study.truth)))
        output.finish(
            inputs=manifest["inputs"],
            counts=manifest["counts"] | _counts(study, added),
            environment=manifest["environment"],
            notes=manifest["notes"],
            known_hashes={name: entry["sha256"] for name, entry in manifest["files"].items()},
            living=LIVING,
        )
    return _imported(folder, file, added)


def _found(config: StudyImportConfig, folder: Path, data: bytes, layout: Layout) -> Imported:
    """Make a study of answers given elsewhere; their column `truth` is all that is known of the images."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder, KIND)
        if not config.overwrite:
            _refuse_twice(manifest, folder, config.answers, data)
            raise UsageError(f"{folder} holds a study already. To add answers to it, give --study {folder}.")
        if TRUTH in manifest["files"]:
            raise UsageError(f"{folder} holds a planned study, which answers cannot replace. Choose another --out.")
    study = Study(folder, {}, planned=False, truth={}, answers=())
    added = _check(study, data, str(config.answers), layout)
    file = _file_name(1, data)
    with open_output(folder, KIND, config.identity(), overwrite=config.overwrite) as output:
        shutil.rmtree(folder / ANSWERS, ignore_errors=True)  # of an import that was stopped
        _keep(folder, file, data, layout)
        output.finish(
            inputs={},
            counts=_counts(study, added),
            environment=describe(),
            notes=["The answers were given elsewhere: how the reading was blinded is not known here."],
            living=LIVING,
        )
    return _imported(folder, file, added)


def _file_name(number: int, data: bytes) -> str:
    return f"{ANSWERS}/{number:03}-{sha256_bytes(data)[:8]}.csv"


def _beside(file: str) -> str:
    return file.removesuffix(".csv") + ".json"


def _keep(folder: Path, file: str, data: bytes, layout: Layout) -> None:
    """Write the file as it is, and its layout before it where there is one."""
    (folder / _beside(file)).unlink(missing_ok=True)  # of an import that was stopped
    if layout.columns or layout.values or layout.items:
        write_json(folder / _beside(file), layout.to_json())
    write_bytes(folder / file, data)


def _complete(study: Study, layout: Layout) -> Layout:
    """The layout with the items and questions of the study's protocol, which --item must not contradict."""
    if study.protocol is None:
        return layout
    if layout.items:
        raise UsageError("The study's protocol says which items are rated and how: leave --item out.")
    questions = {question.id: question for question in study.protocol.questions}
    layout = replace(layout, items=study.protocol.items, questions=questions)
    _check_names(layout.columns, layout.items)
    return layout


def _refuse_twice(manifest: Json, folder: Path, source: Path, data: bytes) -> None:
    digest = sha256_bytes(data)
    for name, known in answer_files(manifest).items():
        if known == digest:
            raise UsageError(f"The answers {source} are already there, as {folder / name}. Nothing was imported.")


def _check(study: Study, data: bytes, name: str, layout: Layout) -> list[Answer]:
    """Read and check new answers against a study. Raises UsageError with the rows that are wrong."""
    added = parse(data, name, study.planned, layout)
    check_truth(added, study.truth, study.planned, name)
    given = {asked(answer) for answer in study.answers if answer.answer}
    refuse(
        [
            f"row {answer.row}: the answer of {answer.reader} to {answer.image} is already there"
            for answer in added
            if answer.answer and asked(answer) in given
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
