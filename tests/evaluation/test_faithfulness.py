"""Faithfulness: agreement of what is seen with what was asked, and its interval."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.faithfulness import agreement, answer_faithfulness, auc_interval, faithfulness
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.labelling import open_labeller
from synthcxr.imagefolder import Row
from synthcxr.images import write_png
from synthcxr.store import write_json
from synthcxr.study.statistics.roc import interval, perfect_bound, place


def test_agreement_counts_what_is_stated_alone() -> None:
    wanted = np.array([1, 1, 0, 0, np.nan, 1])
    scores = np.array([0.9, 0.4, 0.6, 0.1, 0.99, 0.8])
    found = agreement("pa_view", wanted, scores, np.arange(6))
    assert found is not None and (found.n, found.positives) == (5, 3)
    assert found.accuracy.value == pytest.approx(3 / 5)
    assert found.auc.value == pytest.approx(5 / 6)  # of 3 × 2 pairs one is the wrong way round
    assert agreement("child", np.ones(4), scores[:4], np.arange(4)) is None


def test_intervals_shrink_with_patients_not_with_their_images() -> None:
    rng = np.random.default_rng(0)
    truth = np.tile([0.0, 1.0], 40)
    scores = truth * 0.3 + rng.uniform(0, 1, 80)

    def width(copies: int) -> float:
        found = agreement("x", np.repeat(truth, copies), np.repeat(scores, copies), np.repeat(np.arange(80), copies))
        assert found is not None and found.auc.low is not None and found.auc.high is not None
        assert found.auc.low < found.auc.value < found.auc.high
        return found.auc.high - found.auc.low

    assert width(5) == pytest.approx(width(1), rel=0.05)


def test_every_label_that_was_asked_for() -> None:
    rows = [{"view": view} for view in ("PA", "AP", "PA", "AP")]
    seen = np.array([[0.8, 0.5], [0.2, 0.5], [0.9, 0.5], [0.4, 0.5]])
    found = faithfulness(rows, seen, ("pa", "child"), lambda fields: np.array([float(fields["view"] == "PA"), np.nan]))
    assert [each.label for each in found] == ["pa"] and found[0].auc.value == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_the_area_is_scikit_learns_and_inside_its_interval(rows: list[tuple[bool, int]]) -> None:
    truth, scores = (np.array(each) for each in zip(*rows, strict=True))
    if truth.all() or not truth.any():
        return
    found = auc_interval(truth, scores.astype(np.float64), np.arange(len(rows)))
    assert found.value == pytest.approx(roc_auc_score(truth, scores))
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_independent_images_have_delongs_interval_and_perfect_ones_newcombes() -> None:
    rng = np.random.default_rng(3)
    truth = np.arange(60) < 25
    scores = np.asarray(truth * 0.8 + rng.standard_normal(60), np.float64)
    found = auc_interval(truth, scores, np.arange(60, dtype=np.int64))
    low, high = interval(place(scores[truth], scores[~truth]))
    assert (found.low, found.high) == pytest.approx((float(low), float(high)), rel=0.005)
    perfect = auc_interval(truth, truth.astype(np.float64), np.arange(60))
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(perfect_bound(25, 35)) and perfect.low is not None and perfect.low < 0.97


@pytest.mark.parametrize("images", [1, 3], ids=["one image a patient", "three"])
def test_the_interval_covers_the_truth(images: int) -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        owner = np.repeat(np.arange(60), images)
        truth = owner % 3 == 0
        scores = truth + 0.8 * rng.standard_normal(60)[owner] + 0.6 * rng.standard_normal(60 * images)
        found = auc_interval(truth, scores, owner)
        assert found.low is not None and found.high is not None
        covered += found.low <= norm.cdf(1 / 2**0.5) <= found.high
    assert 186 <= covered <= 199, "93 to 99.5 %"


# --- the answer --------------------------------------------------------------------------------------------


def side(folder: Path, name: str, scores: list[float], fields: list[dict[str, Any]]) -> FeatureSet:
    """Images whose grey level is their score of 'Effusion'."""
    rows = []
    for i, (score, each) in enumerate(zip(scores, fields, strict=True)):
        path = folder / name / f"{i}.png"
        write_png(path, np.full((16, 16), round(255 * score), np.uint8))
        rows.append(Row(path, "train", "", each))
    empty = np.zeros((len(rows), 2))
    names = tuple(row.path.name for row in rows)
    return FeatureSet(name, empty, empty, np.arange(len(rows)), names, names, tuple(rows), "e", "0" * 64, "p")


def asking(*findings: str, **more: object) -> dict[str, Any]:
    return {"findings": list(findings), "sex": "F", "view": "PA", "age": 40, **more}


class Brightness(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.mean((1, 2, 3)), torch.ones(len(x)) / 4], 1)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    file = tmp_path / "own.pt"
    torch.jit.script(Brightness()).save(str(file))  # type: ignore[no-untyped-call]
    write_json(file.with_suffix(".json"), {"labels": ["Effusion", "female"], "side": 8, "activation": "none"})
    return file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_classifier_of_ones_own_says_what_is_seen(classifier: Path, tmp_path: Path) -> None:
    labeller = open_labeller(classifier)
    fields = [asking("effusion"), asking("No Finding"), asking("Pleural_Effusion", "Mass")] * 10
    drawn = side(tmp_path, "drawn", [0.9, 0.2, 0.3] * 10, fields)
    assert labeller.see(drawn)[:3] == pytest.approx(np.array([[0.9, 0.25], [0.2, 0.25], [0.3, 0.25]]), abs=0.002)
    answer = answer_faithfulness(side(tmp_path, "real", [0.6, 0.7, 0.1] * 10, fields), drawn, labeller)
    by_name = {each["name"]: each for each in answer.metrics}
    auc = by_name["faithfulness_auc_effusion"]
    assert (auc["value"], auc["n_synthetic"], auc["positives"], auc["useless"]) == (1.0, 30, 10, 0.5)
    assert auc["ceiling"] == 0.5  # in real images one of the two that have none looks more like it
    assert "Only 10 images" in auc["warning"]
    assert by_name["faithfulness_agreement_effusion"]["useless"] == pytest.approx(2 / 3)
    assert "has no class for it; 10 prompts" in by_name["faithfulness_auc_mass"]["reason"]
    assert "faithfulness_auc_female" not in by_name, "all ask for the same sex"
    assert answer.verdict.startswith("Seen as asked: effusion (AUC 1.00")
    assert all(row[-1] == "few" for row in answer.tables[0].rows)


def test_features_alone_have_no_ceiling(classifier: Path, tmp_path: Path) -> None:
    labeller = open_labeller(classifier)
    drawn = side(tmp_path, "drawn", [0.9, 0.2] * 30, [asking("Effusion"), asking("No Finding")] * 30)
    real = replace(drawn, rows=(None,) * 60)
    answer = answer_faithfulness(real, drawn, labeller)
    assert answer.metrics[0]["ceiling"] is None and answer.metrics[0]["n_real"] == 0
    assert "has no images" in answer.warnings[0]


def field(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer, below 128 bytes: a number, or bytes."""
    return bytes([number << 3, value]) if isinstance(value, int) else bytes([number << 3 | 2, len(value)]) + value


def onnx_mean() -> bytes:
    """An ONNX model of the mean over an image of 8 × 8, written field by field: x (n, 1, 8, 8) to y (n, 1)."""

    def tensor(name: bytes, *sides: int) -> bytes:
        dims = field(1, field(2, b"n")) + b"".join(field(1, field(1, side)) for side in sides)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    nodes = [(b"x", b"m", b"GlobalAveragePool"), (b"m", b"y", b"Flatten")]
    graph = b"".join(field(1, field(1, i) + field(2, o) + field(4, kind)) for i, o, kind in nodes)
    graph += field(2, b"g") + field(11, tensor(b"x", 1, 8, 8)) + field(12, tensor(b"y", 1))
    long = bytes([7 << 3 | 2, len(graph) & 127 | 128, len(graph) >> 7]) + graph
    return field(1, 8) + long + field(8, field(2, 17))


def test_an_onnx_classifier_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "mean.onnx"
    file.write_bytes(onnx_mean())
    write_json(file.with_suffix(".json"), {"labels": ["Effusion"], "side": 8, "range": [-1, 1], "activation": "none"})
    drawn = side(tmp_path, "drawn", [1.0, 0.2], [asking("Effusion"), asking("No Finding")])
    assert open_labeller(file).see(drawn)[:, 0] == pytest.approx([1.0, -0.6], abs=1e-6)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (None, "own.json is missing"),
        ({"labels": []}, "labels"),
        ({"labels": ["a"], "side": 8, "labls": 1}, "labls"),
        ([], "no JSON object"),
    ],
)
def test_a_classifier_that_is_not_described_is_refused(classifier: Path, described: object, message: str) -> None:
    if described is None:
        classifier.with_suffix(".json").unlink()
    else:
        classifier.with_suffix(".json").write_text(json.dumps(described))
    with pytest.raises(UsageError, match=message):
        open_labeller(classifier)


def test_a_classifier_with_other_outputs_or_of_no_known_kind_is_told(classifier: Path, tmp_path: Path) -> None:
    write_json(classifier.with_suffix(".json"), {"labels": ["Effusion"], "side": 8})
    drawn = side(tmp_path, "drawn", [0.9], [asking("Effusion")])
    with pytest.raises(SynthCXRError, match=r"gives \(1, 2\) for 1 images and 1 labels"):
        open_labeller(classifier).see(drawn)
    for name in ("own.pt", "own.onnx"):
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(UsageError, match=r"is no (TorchScript|ONNX) file"):
            open_labeller(tmp_path / name)
