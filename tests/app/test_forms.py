"""A browser sets what a form asks for, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from synthcxr import EvaluateConfig, GenerateConfig
from synthcxr.app.forms import FORMS, inputs, read_form
from synthcxr.app.workspace import Workspace
from synthcxr.errors import UsageError


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "work")
    (made.root / "sets" / "one").mkdir()
    (made.root / "runs" / "mine").mkdir()
    (made.root / "uploads" / "mine").mkdir()
    return made


def test_a_form_becomes_a_config(workspace: Workspace) -> None:
    config = read_form("generate", "new", {"prompt": "x", "count": "4", "preset": "fast", "steps": ""}, workspace)
    assert isinstance(config, GenerateConfig)
    assert (config.count, config.preset, config.model) == (4, "fast", "bundled")
    assert config.out == workspace.root / "sets" / "new"
    config = read_form("generate", "new", {"prompt": "x", "model": "runs/mine"}, workspace)
    assert isinstance(config, GenerateConfig) and config.model == str(workspace.root / "runs" / "mine")


@pytest.mark.parametrize(
    ("verb", "name", "given", "words"),
    [
        ("generate", "new", {"prompt": "x", "out": "/tmp/x"}, "not an option"),
        ("generate", "new", {"prompt": "x", "prompts": "/etc/passwd"}, "not an option"),
        ("generate", "new", {"prompt": "x", "overwrite": True}, "not an option"),
        ("generate", "one", {"prompt": "x"}, "already"),
        ("generate", "../x", {"prompt": "x"}, "A name has"),
        ("generate", "new", {"prompt": "x" * 5000}, "4000"),
        ("generate", "new", {"prompt": "x", "model": "/etc"}, "none of the runs"),
        ("generate", "new", {"prompt": "x", "model": "runs/../../etc"}, "no '../../etc'"),
        ("generate", "new", {"prompt": "x", "model": "somebody/model"}, "none of the runs"),
        ("generate", "new", {"prompt": "x", "count": 0}, "--count"),
        ("generate", "new", {"prompt": "x", "count": "many"}, "--count"),
        ("generate", "new", {}, "prompt"),
        ("clean", "new", {"folder": "runs/mine"}, "none of the sets or datasets or uploads"),
        ("evaluate", "new", {"synthetic": "sets/one", "real": "reference:../../x"}, "none of the"),
        ("evaluate", "new", {"synthetic": "sets/one", "extractors": ["inception=/etc/passwd"]}, "no extractor named"),
        ("evaluate", "new", {"synthetic": "sets/one", "classifier": "uploads/mine/a.txt"}, "no file of the uploads"),
        ("evaluate", "new", {"classifier": "uploads/mine/../../a.onnx"}, "(?i)no such file|outside"),
        ("evaluate", "new", {"synthetic": "sets/one", "real": "reference:all", "questions": ["luck"]}, "--questions"),
        ("study serve", "new", {}, "no such form"),
        ("__class__", "new", {}, "no such form"),
    ],
)
def test_what_is_not_asked_for_is_refused(
    verb: str, name: str, given: dict[str, Any], words: str, workspace: Workspace
) -> None:
    with pytest.raises(UsageError, match=words):
        read_form(verb, name, given, workspace)


def test_a_report_can_be_asked_for_whole(workspace: Workspace) -> None:
    mine = workspace.root / "uploads" / "mine"
    for name in ("judge.onnx", "theirs.npz", "table.csv"):
        (mine / name).write_bytes(b"x")
    (workspace.root / "sets" / "two").mkdir()
    drawn = {one.name: one for one in inputs("evaluate", workspace)}
    assert drawn["classifier"].choices == (("uploads/mine/judge.onnx", "mine: judge.onnx"),)
    assert ("rad-dino", "rad-dino") in drawn["extractors"].choices
    assert {one for one, _ in drawn["questions"].choices} > set(drawn["questions"].default)
    given = {
        "synthetic": "sets/one",
        "real": "reference:all",
        "questions": ["realism", "usefulness"],
        "compare": ["sets/two"],
        "extractors": ["inception"],
        "classifier": "uploads/mine/judge.onnx",
        "statistics": ["uploads/mine/theirs.npz"],
    }
    config = read_form("evaluate", "new", given, workspace)
    assert isinstance(config, EvaluateConfig)
    assert config.asked == ("realism", "usefulness") and config.compare == [workspace.root / "sets" / "two"]
    assert (config.classifier, config.statistics) == (mine / "judge.onnx", [mine / "theirs.npz"])


@pytest.mark.parametrize("verb", FORMS)
def test_every_input_is_an_option_with_help(verb: str, workspace: Workspace) -> None:
    drawn = inputs(verb, workspace)
    assert all(one.help and one.label for one in drawn)
    assert all(one.choices for one in drawn if one.kind in ("choice", "picks", "extractors", "model", "real"))
    for one in drawn:
        if one.kind == "number" and one.default is not None:
            low, high = one.bounds
            assert (low is None or low <= one.default) and (high is None or one.default <= high)
