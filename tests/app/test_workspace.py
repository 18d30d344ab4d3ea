"""No path leads out of the workspace, and what does not fit is said."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.app.workspace import Workspace
from synthcxr.errors import SynthCXRError, UsageError

PARTS = st.sampled_from(["..", ".", "sets", "a", "", "/", "~", "out", "uploads", "%2e%2e", "..%2f", "\\..\\", "\x00"])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("outer")
    (folder / "secret.txt").write_text("secret")
    made = Workspace(folder / "work")
    (made.root / "sets" / "a").mkdir()
    (made.root / "sets" / "out").symlink_to(folder)
    (made.root / "sets" / "a" / "link.txt").symlink_to(folder / "secret.txt")
    (made.root / "sets" / "circle").symlink_to(made.root / "sets" / "circle")
    return made


@given(st.lists(PARTS, max_size=6).map("/".join))
def test_every_path_stays_inside(workspace: Workspace, path: str) -> None:
    try:
        found = workspace.inside(path)
    except UsageError:
        return
    assert found == workspace.root or workspace.root in found.parents
    assert ".app" not in found.relative_to(workspace.root).parts


@pytest.mark.parametrize(
    "path",
    ["..", "../secret.txt", "sets/../../secret.txt", "/etc/passwd", "sets/out/secret.txt", "sets/a/link.txt",
     "sets/circle", ".app", ".app/jobs.sqlite3", "a\x00b"],
)  # fmt: skip
def test_what_leads_out_is_refused(workspace: Workspace, path: str) -> None:
    with pytest.raises(UsageError, match="no path in the workspace"):
        workspace.inside(path)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "-x", ".hidden", "x" * 65, "a\nb", "ü", "a."])
def test_names_that_cannot_be(workspace: Workspace, name: str) -> None:
    with pytest.raises(UsageError, match="A name has"):
        workspace.place("sets", name)
    with pytest.raises(UsageError, match="There is no"):
        workspace.item("sets", name if name != "a." else "b")


def test_a_taken_name_is_refused_and_a_free_one_found(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="already"):
        workspace.place("sets", "a")
    (workspace.root / "runs" / "run-1").mkdir()
    assert workspace.free_name("runs", "run") == "run-2"
    assert workspace.place("runs", "run-2").parent == workspace.root / "runs"
    with pytest.raises(UsageError, match="no path"):
        workspace.item("sets", "out")  # a link that leads out
    assert [item.name for item in workspace.items("sets")] == ["a"]


def test_a_full_workspace_is_said(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, quota_gb=1e-6)
    workspace.check_room()
    (workspace.root / "uploads" / "x").write_bytes(b"0" * 2000)
    with pytest.raises(SynthCXRError, match="--quota-gb"):
        workspace.check_room()
    with pytest.raises(SynthCXRError, match="disk is full"):
        Workspace(tmp_path).check_room(10**18)


def test_what_the_command_line_left_beside_the_shelves_is_found(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "mine")
    workspace = Workspace(tmp_path)
    assert [(item.shelf, item.name) for item in workspace.items()] == [("datasets", "mine")]
    assert workspace.item("datasets", "mine") == tmp_path / "mine"
    assert workspace.address(tmp_path / "mine") == "datasets/mine"
    assert workspace.address(tmp_path / "datasets" / "x") == "datasets/x"
    assert workspace.address(tmp_path) is None and workspace.address(tmp_path.parent) is None
    for shelf in ("sets", "runs"):
        with pytest.raises(UsageError, match="There is no"):
            workspace.item(shelf, "mine")
    with pytest.raises(UsageError, match="There is no"):
        workspace.item("datasets", "datasets")
