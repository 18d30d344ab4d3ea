"""A study on the disk: what lies where, and reading one that is proven to be unchanged.

``images/`` and ``answer-sheet.csv`` (with ``README.txt``) can be handed out. ``key/`` stays with whoever runs
the study; the SHA-256 of ``key/truth.jsonl``, which holds the hash of every image, is the study's fingerprint
from the plan to the last answer. ``answers/`` holds every reader's file as it came.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from synthcxr.errors import SynthCXRError
from synthcxr.store import Json, read_jsonl, read_manifest, verify
from synthcxr.study.answers import Answer, parse
from synthcxr.study.plan import TRUTHS, Truth

KIND = "study"
MANIFEST = f"{KIND}.json"
IMAGES = "images"
SHEET = "answer-sheet.csv"
README = "README.txt"
TRUTH = "key/truth.jsonl"
REJECTED = "key/rejected.jsonl"
ANSWERS = "answers"


@dataclass(frozen=True)
class Study:
    """A study's content: its manifest, the truth of every image known so far, every row that readers gave.

    `planned` is true where `study new` made it, so that the truth comes from its key, not from the answers.
    """

    folder: Path
    manifest: Json
    planned: bool
    truth: dict[str, Truth]
    answers: tuple[Answer, ...]


def answer_files(manifest: Json) -> dict[str, str]:
    """The imported files of answers that a manifest lists: name to SHA-256, in the order of their import."""
    files: Json = manifest["files"]
    return {name: files[name]["sha256"] for name in sorted(files) if name.startswith(f"{ANSWERS}/")}


def load(folder: Path, excused: Collection[str] = ()) -> Study:
    """Read a study and prove that nothing in it changed, but for `excused` lines of `store.verify`.

    Raises UsageError where there is no study, SynthCXRError where a file was changed, removed or added.
    """
    manifest = read_manifest(folder, KIND)
    problems = [problem for problem in verify(folder) if problem not in excused]
    if problems:
        raise SynthCXRError(
            "\n  ".join([f"{folder} is not as it was. Restore it, and remove what was added:", *problems[:10]])
        )
    planned = TRUTH in manifest["files"]
    answers = tuple(
        answer
        for name in answer_files(manifest)
        for answer in parse((folder / name).read_bytes(), str(folder / name), planned)
    )
    truth = {answer.image: answer.truth for answer in answers if answer.truth}
    if planned:
        truth = {row["image"]: TRUTHS[row["truth"]] for row in read_jsonl(folder / TRUTH)}
    return Study(folder, manifest, planned, truth, answers)
