"""A study on the disk: what lies where, and reading one that is proven to be unchanged.

``images/`` and ``answer-sheet.csv`` (with ``README.txt``) can be handed out. ``key/`` stays with whoever runs
the study; the SHA-256 of ``key/truth.jsonl``, which holds the hash of every image, is the study's fingerprint
from the plan to the last answer. ``answers/`` holds every reader's file as it came.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synthcxr.errors import SynthCXRError
from synthcxr.store import Json, read_json, read_jsonl, read_manifest, verify
from synthcxr.study.amending import AMENDMENTS, read_amendments
from synthcxr.study.answers import Answer, layout_of, parse
from synthcxr.study.plan import TRUTHS, Truth
from synthcxr.study.protocol import PROTOCOL, Protocol
from synthcxr.study.serving.database import SERVED, read_answers
from synthcxr.study.serving.links import LINKS

KIND = "study"
MANIFEST = f"{KIND}.json"
IMAGES = "images"
SHEET = "answer-sheet.csv"
README = "README.txt"
TRUTH = "key/truth.jsonl"
REJECTED = "key/rejected.jsonl"
BALANCE = "key/balance.json"
"""How alike real and synthetic images are in what is known of them, and what tells beside the anatomy."""
ANSWERS = "answers"
LIVING = (SERVED, AMENDMENTS, LINKS)
"""What changes after the freeze, by how names begin: the server's answers, the study's log, the links."""


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
    protocol: Protocol | None = None
    rows: Mapping[str, Json] = field(default_factory=dict)
    """The key's row of each image; empty where there is no key."""


def read_balance(folder: Path) -> Json:
    """What real and synthetic images were matched by, and the tables of balance and of telltales."""
    empty: Json = {"matched": [], "balance": [], "telltales": []}
    return empty | read_json(folder / BALANCE) if (folder / BALANCE).is_file() else empty


def answer_files(manifest: Json) -> dict[str, str]:
    """The imported files of answers that a manifest lists: name to SHA-256, in the order of their import."""
    files: Json = manifest["files"]
    return {
        name: files[name]["sha256"]
        for name in sorted(files)
        if name.startswith(f"{ANSWERS}/") and name.endswith(".csv")
    }


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
    read_amendments(folder)  # proves its chain
    planned = TRUTH in manifest["files"]
    protocol = Protocol.from_json(read_json(folder / PROTOCOL)) if PROTOCOL in manifest["files"] else None
    imported = tuple(
        answer
        for name in answer_files(manifest)
        for answer in parse(
            (folder / name).read_bytes(), str(folder / name), planned, layout_of(folder / name, protocol)
        )
    )
    answers = (*imported, *read_answers(folder / SERVED))
    rows = {row["image"]: row for row in read_jsonl(folder / TRUTH)} if planned else {}
    truth = {answer.image: answer.truth for answer in imported if answer.truth}
    if planned:
        truth = {image: TRUTHS[row["truth"]] for image, row in rows.items()}
    return Study(folder, manifest, planned, truth, answers, protocol, rows)
