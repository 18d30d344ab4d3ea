"""The kernel distance against torch-fidelity's numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthcxr.evaluation.kid import kid, kid_subsets
from tests.evaluation.fixtures.parity_inputs import made_features

PARITY: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "parity.json").read_text())["features"]
REAL, SYNTHETIC = (made_features(*PARITY["inputs"][side]) for side in ("real", "synthetic"))


def test_subsets_are_torch_fidelitys() -> None:
    about = PARITY["kid_subsets"]
    found = kid_subsets(REAL, SYNTHETIC, about["kid_subsets"], about["kid_subset_size"], about["seed"])
    assert found.value == pytest.approx(about["mean"], rel=1e-10)


def test_all_at_once_is_torch_fidelitys_with_one_subset() -> None:
    assert kid(REAL, SYNTHETIC[: len(REAL)]) == pytest.approx(PARITY["kid_all"], rel=1e-10)
