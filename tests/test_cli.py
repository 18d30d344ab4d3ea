"""The command line, called as a person calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthcxr import config as configs
from synthcxr.imagefolder import read_rows
from synthcxr.images import write_png
from tests.conftest import made_up_xray, write_source


def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "synthcxr.cli", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['synthcxr', '--help']\n"
        "from synthcxr import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'cv2', 'scipy', 'PIL'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
    for verb in (
        "prepare",
        "train",
        "generate",
        "clean",
        "evaluate",
        "study",
        "demo",
        "export",
        "verify",
        "lineage",
        "models",
        "convert",
        "doctor",
    ):
        assert f"  {verb} " in done.stdout


def test_every_option_of_a_stage_is_in_its_help() -> None:
    done = call("generate", "--help")
    for name in configs.GenerateConfig.model_fields:
        assert "--" + name.replace("_", "-") in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "--prompt", "x", "--out", "o", "--count=-3"], "--count: Input should be greater"),
        (["generate", "--prompt", "x", "--out", "o", "--model", "bundeld"], "Did you mean bundled"),
        (["generate", "--prompt", "x"], "--out is needed"),
        (["prepare", "nowhere", "--out", "o"], "nowhere does not exist"),
        (
            ["evaluate", "--real", "reference:nih-adult", "--synthetic", ".", "--out", "o"],
            "Did you mean nih-adults",
        ),
        (["verify", "nowhere"], "does not exist"),
        (["dance"], "No such command"),
        (["generate", "--colour", "red"], "No such option"),
    ],
)
def test_a_wrong_call_is_a_plain_line_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 2
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_the_road_by_hand(tmp_path: Path) -> None:
    source = write_source(tmp_path / "in", 6)
    plain = ["--ids", "keep", "--skip-checks", "all"]
    done = call("prepare", source, "--out", tmp_path / "d", "--resolution", "64", *plain, "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"out": str(tmp_path / "d")}
    assert call("verify", tmp_path / "d").stdout.strip().endswith("is intact.")
    assert "source: folder" in (tree := call("lineage", tmp_path / "d").stdout) and "not written by synthcxr" in tree
    row = read_rows(tmp_path / "d")[0]
    write_png(row.path, made_up_xray(77))
    found = call("verify", tmp_path / "d", "--json")
    assert found.returncode == 1
    assert json.loads(found.stdout)["problems"] == [f"changed: {row.path.relative_to(tmp_path / 'd').as_posix()}"]


def test_failed_work_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no image")
    done = call("prepare", tmp_path / "in", "--out", tmp_path / "out")
    assert done.returncode == 1 and "could be used" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = call("prepare", write_source(tmp_path / "in", 2), "--out", tmp_path / "file" / "out")
    assert done.returncode == 2 and "cannot be made" in done.stderr


def test_models_and_doctor() -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("models", "--json").stdout)}
    assert entries["bundled"]["here"] == "yes" and entries["sd21-base"]["here"] == "no"
    assert all(source in call("models").stdout for source in entries["sd15"]["sources"].split(", ")), "names stay whole"
    assert "rail" in entries["sd21-base"]["licence"].lower() and entries["sd21-base"]["sources"]
    found = json.loads(call("doctor", "--json").stdout)
    assert "passes/s" in found["bundled model"] and "cpu" in found["device"]
