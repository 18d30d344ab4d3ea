"""The README's commands do what it says, on a folder of made-up X-rays."""

import re
import shlex
from pathlib import Path

import pytest

from synthcxr.store import verify
from tests.conftest import write_source
from tests.test_cli import call

ROOT = Path(__file__).parents[1]
COMMANDS = re.findall(
    r"^    synthcxr (.+?)(?:\s+#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
)
MADE_UP = {
    "prepare": ["--skip-checks", "all"],  # the gate knows that these are no X-rays
    "train": ["--steps", "3", "--sample-steps", "2"],
    "generate": ["--steps", "3", "--count", "8"],
    "estimate": ["--sample-steps", "2"],
}
"""Options by which the commands fit made-up X-rays and a test's patience."""


@pytest.mark.slow
def test_the_commands_of_the_readme(tmp_path: Path) -> None:
    write_source(tmp_path / "xrays", 48, 256)
    done = []
    for line in COMMANDS:
        arguments = shlex.split(line)
        if arguments[:2] == ["study", "import"]:
            fill_in(tmp_path / "study" / "answer-sheet.csv", tmp_path / "answers.csv")
        result = call(*arguments, *MADE_UP.get(arguments[0], []), cwd=tmp_path)
        assert result.returncode == 0, f"synthcxr {line}\n{result.stdout}\n{result.stderr}"
        done.append(arguments[0])
    assert {
        "prepare",
        "train",
        "generate",
        "clean",
        "evaluate",
        "study",
        "verify",
        "lineage",
        "models",
        "doctor",
        "estimate",
    } <= set(done)
    for folder in ("dataset", "run", "drawn", "set", "report", "study"):
        assert verify(tmp_path / folder) == []
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000


def fill_in(sheet: Path, answers: Path) -> None:
    header, *rows = sheet.read_text(encoding="utf-8").splitlines()
    columns = header.split(",")
    filled = []
    for number, row in enumerate(rows):
        cells = dict(zip(columns, row.split(","), strict=True))
        cells |= {"reader": "r1", "answer": ("real", "synthetic")[number % 2], "confidence": "3"}
        filled.append(",".join(cells[column] for column in columns))
    answers.write_text("\n".join([header, *filled]) + "\n", encoding="utf-8")


def test_the_two_commands_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE) == [
        "demo",
        "test",
    ]
    assert "\ndemo: setup" in makefile and "\ntest: setup" in makefile
