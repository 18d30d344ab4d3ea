"""Realism: the verdict by known distances, other extractors beside the first, what is useless; and memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.answer import Answer, Chart, Sheet, Table
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import Estimate
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.published import distance_to_statistics, keep_statistics
from synthcxr.evaluation.realism import answer_realism, at_floor_n, extractor_name
from synthcxr.evaluation.remember import remembered
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, write_png
from synthcxr.store import Json

N = 60


def extractor(name: str = "own", distance: str = "frechet_distance", sha256: str = "0" * 64) -> Extractor:
    """Means of the sixteen squares of an image of 16 × 16."""

    def prepare(image: Grey) -> npt.NDArray[np.float32]:
        means: npt.NDArray[np.float32] = (image.reshape(4, 4, 4, 4).mean((1, 3)) / 255).astype(np.float32)
        return means

    return Extractor(name, name, sha256, 16, "means", distance, prepare, torch.nn.Flatten())


def side(folder: Path, seed: int, shift: int = 0) -> FeatureSet:
    rng, rows = np.random.default_rng(seed), []
    for i in range(N):
        path = folder / f"{seed}-{i}.png"
        level = (rng.integers(20, 60, (4, 4)) + np.array([0, 90, 40, 120])).repeat(4, 0).repeat(4, 1) + shift
        write_png(path, level.astype(np.uint8))
        rows.append(Row(path, "train"))
    images = np.stack([extractor().prepare(row.read()) for row in rows]).reshape(N, 16)
    names = tuple(row.path.name for row in rows)
    features = images.astype(np.float64)
    return FeatureSet("s", features, features, np.arange(N), names, names, tuple(rows), "own", "0" * 64, "means")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("synthcxr.evaluation.diversity.PAIRS", 3)  # MS-SSIM of one takes 12 ms


def answer(real: FeatureSet, synthetic: FeatureSet, *extractors: Extractor) -> Answer:
    return answer_realism(
        real, synthetic, None, no_training="Give --training.", bundled=extractor(), extractors=extractors, k=5, seed=0
    )


def test_a_set_is_told_from_real_x_rays_where_it_is_another(tmp_path: Path) -> None:
    real = side(tmp_path, 1)
    same, other = answer(real, side(tmp_path, 2)), answer(real, side(tmp_path, 3, shift=60))
    assert same.verdict.startswith("As a whole the set is not told")
    assert other.verdict.startswith("As a whole the set can be told")
    near, far = ({each["name"]: each for each in found.metrics} for found in (same, other))
    assert near["frechet_distance"]["at_floor_n"]["times_floor"] == pytest.approx(1, abs=0.3)
    assert far["frechet_distance"]["at_floor_n"]["times_floor"] > 5
    assert near["frechet_limit"]["ci_low"] <= 0.01 and far["frechet_limit"]["ci_low"] > 0.1
    assert near["kid"]["useless"] > near["kid"]["ci_high"]
    assert len(same.sheets[0].images) == len(same.sheets[1].images) > 0


def test_at_the_floors_numbers_a_perfect_set_is_at_the_floor(tmp_path: Path) -> None:
    real = side(tmp_path, 1)
    found = at_floor_n(real, real, seed=0)
    assert found is not None and found["n"] == N // 2 and found["times_floor"] < 1
    assert at_floor_n(replace(real, patients=np.zeros(N, np.int64)), real, 0) is None


def test_distances_on_further_features_have_names_of_their_own(tmp_path: Path) -> None:
    real, drawn = side(tmp_path, 1), side(tmp_path, 2)
    fid, other = extractor("inception", "fid", "1" * 64), extractor("rad-dino", sha256="2" * 64)
    names = [each["name"] for each in answer(real, drawn, fid, other).metrics]
    assert len(names) == len(set(names)) and {"fid", "kid_inception", "frechet_distance_rad_dino"} < set(names)
    assert extractor_name("frechet_distance", replace(fid, name="inception-pytorch")) == "fid_inception_pytorch"
    assert extractor_name("frechet_distance", replace(fid, distance="frechet_distance")) != "fid"


def test_without_images_a_further_distance_has_a_reason(tmp_path: Path) -> None:
    real = replace(side(tmp_path, 1), rows=(None,) * N)
    found = {each["name"]: each for each in answer(real, side(tmp_path, 2), extractor("rad-dino")).metrics}
    assert found["frechet_distance"]["value"] is not None
    assert "needs the images" in found["frechet_distance_rad_dino"]["reason"]


def test_a_set_lies_as_far_from_statistics_as_from_the_images_behind_them(tmp_path: Path) -> None:
    real, drawn = side(tmp_path, 1), side(tmp_path, 2, shift=5)
    own, other = extractor("inception"), extractor("rad-dino", sha256="2" * 64)
    keep_statistics(tmp_path, {"real": real, "features": replace(real, rows=(None,) * N)}, (own, other), 32, "cpu")
    assert len(list((tmp_path / "statistics").iterdir())) == 2, "where there are no images there is no file"
    how: Json = {"seed": 0, "batch_size": 32, "device": "cpu"}
    file = tmp_path / "statistics" / "real-inception.npz"
    found = distance_to_statistics(drawn, file, (other, own), **how)
    expected = frechet_distance(moments(real.features), moments(drawn.features))
    assert found["value"] == pytest.approx(expected) and found["extractor"] == "inception" and found["n_real"] == N
    assert found["ci_low"] < expected < found["ci_high"]
    assert "is of inception: ask for it" in distance_to_statistics(drawn, file, (other,), **how)["reason"]
    np.savez(tmp_path / "theirs.npz", mu=real.features.mean(0), sigma=np.cov(real.features, rowvar=False))
    theirs = distance_to_statistics(drawn, tmp_path / "theirs.npz", (own,), **how)
    assert theirs["value"] == pytest.approx(expected) and "not stated" in theirs["meaning"]


# --- memory ------------------------------------------------------------------------------------------------


def test_an_answer_is_worked_out_once_for_the_same_images(tmp_path: Path) -> None:
    drawn, calls = side(tmp_path, 1), []
    row = drawn.rows[3]

    def work(shown: Row | None = row) -> Answer:
        calls.append(1)
        figures = (metric("a", Estimate(0.1, 0.0, 0.2), n_real=1, n_synthetic=2),)
        table, chart = Table("t", ("c",), ((1, None),)), Chart("c", "<svg/>")
        return Answer("realism", "v", figures, ("w",), (table,), (chart,), (Sheet("s", ((shown, "x"),)),), {"f": [{}]})

    def asked(side: FeatureSet = drawn, seed: int = 0, shown: Row | None = row) -> Answer:
        return remembered("realism", {"synthetic": side}, {"seed": seed}, lambda: work(shown), tmp_path / "kept")

    assert asked() == asked() == work()
    assert len(calls) == 2
    asked(seed=1)
    asked(replace(drawn, rows=(*drawn.rows[:5], replace(drawn.rows[5], text="b"), *drawn.rows[6:])))  # type: ignore[type-var]
    assert len(calls) == 4, "another seed or prompt is another question"
    write_png(drawn.rows[0].path, np.zeros((16, 16), np.uint8))  # type: ignore[union-attr]
    asked()
    assert len(calls) == 5, "and so is another pixel"
    strange = Row(tmp_path / "elsewhere.png", "train")
    asked(seed=2, shown=strange)
    asked(seed=2, shown=strange)
    assert len(calls) == 7, "an answer that shows an image of no side is not kept"


def test_a_question_that_fails_is_asked_again(tmp_path: Path) -> None:
    def work() -> Answer:
        raise SynthCXRError("no")

    for _ in range(2):
        with pytest.raises(SynthCXRError):
            remembered("realism", {}, {}, work, tmp_path)
