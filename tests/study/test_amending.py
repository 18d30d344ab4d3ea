import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synthcxr.config import StudyAmendConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import Json, read_jsonl, verify, write_jsonl
from synthcxr.study.amending import AMENDMENTS, amend, log_amendment, read_amendments
from synthcxr.study.folder import load
from synthcxr.study.protocol import PROTOCOL

from .piles import make_study


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    study = make_study(tmp_path)
    for number in range(3):
        amend(StudyAmendConfig(study=study, what=f"change {number}", why="a reason", by="TF"))
    return study


def test_an_amendment_is_logged_and_the_frozen_study_stays(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    before = load(study)
    amend(StudyAmendConfig(study=study, what=" stop at 40 ", why="funds", by="TF"))
    entry = read_amendments(study)[0]
    assert {name: entry[name] for name in ("what", "why", "by")} == {"what": "stop at 40", "why": "funds", "by": "TF"}
    assert entry["at"].endswith("+00:00")
    assert before.protocol is not None
    assert entry["protocol_sha256"] == before.protocol.sha256
    assert load(study) == before
    assert verify(study) == []  # the log is no part of what is frozen


@pytest.mark.parametrize("damage", ["word", "first", "middle", "swap"])
def test_a_changed_or_missing_entry_is_found(logged: Path, damage: str) -> None:
    entries: list[Json] = read_jsonl(logged / AMENDMENTS)
    changed = {
        "word": [entries[0] | {"why": "another"}, *entries[1:]],
        "first": entries[1:],
        "middle": [entries[0], entries[2]],
        "swap": [entries[1], entries[0], entries[2]],
    }
    write_jsonl(logged / AMENDMENTS, changed[damage])
    for look in (read_amendments, load, lambda folder: log_amendment(folder, "more", "why")):
        with pytest.raises(SynthCXRError, match="does not follow"):
            look(logged)


def test_a_log_of_another_study_is_found(logged: Path, tmp_path: Path) -> None:
    other = make_study(tmp_path / "other", seed=8)
    write_jsonl(other / AMENDMENTS, read_jsonl(logged / AMENDMENTS))
    with pytest.raises(SynthCXRError, match="entry 1"):
        load(other)


def test_entries_at_once_are_all_there(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: log_amendment(study, f"change {number}", "why"), range(12)))
    assert len({entry["what"] for entry in read_amendments(study)}) == 12


def test_words_are_needed_and_a_changed_study_is_not_amended(logged: Path) -> None:
    with pytest.raises(UsageError, match="what and why"):
        log_amendment(logged, "change", "  ")
    plan = json.loads((logged / PROTOCOL).read_text())
    plan["analysis"]["margin"] = 0.3
    (logged / PROTOCOL).write_text(json.dumps(plan))
    with pytest.raises(SynthCXRError, match=rf"changed: {PROTOCOL}"):
        amend(StudyAmendConfig(study=logged, what="a", why="b"))
