"""Statistics files, to and from pytorch-fid and clean-fid."""

from pathlib import Path

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.extractors import open_extractor
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.statistics_file import (
    check_statistics,
    describe_statistics,
    read_statistics,
    write_statistics,
)


@pytest.mark.parametrize("count", [20, 5], ids=["full rank", "rank-deficient"])
def test_what_is_written_is_read_and_gives_the_same_distance(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((count, 8)), rng.standard_normal((count, 8)) + 1
    write_statistics(tmp_path / "one.npz", moments(one), {"n": count})
    read, about = read_statistics(tmp_path / "one.npz")
    assert about == {"n": count} and read.count == count
    expected = frechet_distance(moments(one), moments(two))
    assert frechet_distance(read, moments(two)) == pytest.approx(expected, rel=1e-10)


def test_others_read_it_by_their_two_names(tmp_path: Path) -> None:
    """pytorch-fid and clean-fid index an opened npz by ``mu`` and ``sigma``."""
    x = np.random.default_rng(0).standard_normal((20, 8))
    write_statistics(tmp_path / "x.npz", moments(x), {})
    with np.load(tmp_path / "x.npz") as opened:
        np.testing.assert_allclose(opened["mu"][:], x.mean(0), atol=1e-14)
        np.testing.assert_allclose(opened["sigma"][:], np.cov(x, rowvar=False), atol=1e-14)


def test_a_file_of_pytorch_fid_is_read(tmp_path: Path) -> None:
    """As its ``save_fid_stats`` writes it."""
    x = np.random.default_rng(0).standard_normal((20, 8))
    np.savez_compressed(tmp_path / "x.npz", mu=np.mean(x, axis=0), sigma=np.cov(x, rowvar=False))
    read, about = read_statistics(tmp_path / "x.npz")
    assert about == {} and read.count is None
    assert frechet_distance(read, moments(x)) == pytest.approx(0.0, abs=1e-12)


def test_statistics_of_another_preprocessing_do_not_compare(tmp_path: Path) -> None:
    extractor = open_extractor("bundled")
    about = describe_statistics(extractor, 20)
    check_statistics(about, extractor, tmp_path)
    check_statistics({}, extractor, tmp_path)  # another tool's says nothing
    with pytest.raises(SynthCXRError, match="do not compare"):
        check_statistics(about | {"fingerprint": "other"}, extractor, tmp_path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"mu": np.zeros(3)},
        {"mu": np.zeros(3), "sigma": np.zeros((2, 2))},
        {"mu": np.zeros((3, 3)), "sigma": np.eye(3)},
        {"mu": np.full(3, np.nan), "sigma": np.eye(3)},
        {"mu": np.array([None]), "sigma": np.eye(1)},
    ],
    ids=["no sigma", "shapes", "dimensions", "not finite", "objects"],
)
def test_other_files_are_refused(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(SynthCXRError, match=r"x\.npz"):
        read_statistics(tmp_path / "x.npz")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(SynthCXRError, match="no statistics file"):
        read_statistics(tmp_path / "x.npz")
    with pytest.raises(UsageError):
        read_statistics(tmp_path / "none.npz")
