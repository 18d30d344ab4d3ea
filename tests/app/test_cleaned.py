"""What the app shows of a cleaned folder: DICOM files too, each beside what it was, and what needs a review."""

from pathlib import Path

import numpy as np
import pytest

from synthcxr.app.pages import cleaned_pictures
from synthcxr.app.showing import picture, proof
from synthcxr.app.workspace import Workspace
from synthcxr.cleaning import clean as stage
from synthcxr.cleaning.clean import clean
from synthcxr.config import CleanConfig
from synthcxr.images import write_png
from tests.cleaning.xrays import burn, drawn_xray, fake_read
from tests.data.dicom_files import make, save


@pytest.mark.parametrize("rounds", [3, 0])
def test_uploads_of_both_sorts_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    monkeypatch.setattr(stage, "_reader", lambda _: fake_read)
    monkeypatch.setattr(stage, "find_second_reader", lambda _: None)
    monkeypatch.setattr(stage, "map_in_workers", lambda work, items, workers, **_: map(work, items))
    monkeypatch.setattr("synthcxr.cleaning.remove.ROUNDS", rounds)
    workspace = Workspace(tmp_path / "work")
    image = burn(drawn_xray(), "R")
    write_png(workspace.root / "uploads" / "mine" / "a.png", image)
    save(make(image.astype(np.uint16) * 16, 12), workspace.root / "uploads" / "mine" / "b.dcm")
    folder = clean(
        CleanConfig(folder=workspace.root / "uploads" / "mine", out=workspace.root / "cleaned" / "mine", workers=1)
    ).folder
    paths = [one["path"] for one in cleaned_pictures(folder)]
    assert paths == (["train/a.png", "dicom/b.dcm"] if rounds else ["needs-review/a.png", "needs-review/b.dcm"])
    for path, source in zip(paths, ("a.png", "b.dcm"), strict=True):
        assert picture(workspace, "cleaned", "mine", path, 64).startswith(b"\x89PNG")
        row = proof(workspace, "mine", path)
        assert (row["before"], len(row["marks"] or row["left"])) == (f"uploads/mine/{source}", 1)
