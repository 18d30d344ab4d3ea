"""Small folders of drawn X-rays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from synthcxr.cleaning import clean as stage
from synthcxr.imagefolder import write_rows
from synthcxr.images import write_png
from synthcxr.store import open_output

from .xrays import burn, drawn_xray, fake_read

SPLITS = {"train": (0, 1, 2), "test": (3,)}


@pytest.fixture
def quick_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the reader without a model in the place of RapidOCR, for what is not about reading."""
    monkeypatch.setattr(stage, "_reader", lambda *_: fake_read)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[str], Path]:
    """Make a dataset, a set, or a plain folder: images 0 to 3, with text burned in 1 and 3."""

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        if kind == "folder":
            for index in range(4):
                _write(folder / "ward" / f"{index}.png", index)
            return folder
        with open_output(folder, kind, {"of": kind}) as output:
            for split, indices in SPLITS.items():
                for index in indices:
                    _write(folder / split / f"{index}.png", index)
                write_rows(folder, split, [_row(index) for index in indices])
            output.finish(
                inputs={},
                counts={"images": 4, "patients": 4},
                environment={},
                notes=["Drawn by a formula."],
                sources=[{"name": "drawn", "licence": "CC0"}],
            )
        return folder

    return make


def _write(path: Path, index: int) -> None:
    image = drawn_xray(seed=index)
    write_png(path, burn(image, "R") if index % 2 else image, {"prompt": f"prompt {index}", "synthcxr": "{}"})


def _row(index: int) -> dict[str, object]:
    return {"file_name": f"{index}.png", "text": f"prompt {index}", "patient_id": f"P{index}", "seed": 7 + index}
