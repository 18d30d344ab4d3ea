"""Artifacts: each sign on images whose damage is known, the comparison of two sides, and its intervals."""

from pathlib import Path

import numpy as np
import pytest

from synthcxr.evaluation.artifacts import READ, SIGNS, answer_artifacts, border, signs, words
from synthcxr.evaluation.degradation import add_noise, blur
from synthcxr.evaluation.distributions import Compared, Kind, usual_range
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Floats, Ints
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, write_png
from tests.conftest import made_up_xray

# --- signs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_white_noise_is_measured_in_grey_levels(sigma: float) -> None:
    y, x = np.mgrid[:256, :256]
    ramp = (80 + 0.2 * x + 0.1 * y).astype(np.uint8)
    assert signs(add_noise(ramp, sigma, np.random.default_rng(0))).noise == pytest.approx(sigma, rel=0.05)


def test_blur_takes_fine_detail_away() -> None:
    image = made_up_xray(0, 256)
    found = [signs(blur(image, sigma)).fine_detail for sigma in (0, 0.5, 1, 2)]
    assert found == sorted(found, reverse=True) and found[0] - found[-1] > 2


def test_power_is_that_of_white_noise() -> None:
    image = add_noise(np.full((256, 256), 128, np.uint8), 10, np.random.default_rng(0))
    # The windows keep 3/8 of the power each way; the mean of log10 of an exponential is 0.2507 below the log10 of its.
    wanted = np.log10(100 * (3 / 8) ** 2) - 0.2507
    found = signs(image).spectrum[4:]
    assert np.allclose(found, wanted, atol=0.15) and found.mean() == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize("kind", ["checkerboard", "columns of 8", "blocks of 4"])
def test_a_grid_of_one_grey_level_stands_out(kind: str) -> None:
    y, x = np.mgrid[:256, :256]
    pattern = {"checkerboard": (x + y) % 2, "columns of 8": (x % 8) // 4, "blocks of 4": (x % 4 // 2) ^ (y % 4 // 2)}
    for seed in range(3):
        image = blur(made_up_xray(seed, 256), 0.7)
        assert signs((image + 2 * pattern[kind]).astype(np.uint8)).grid > signs(image).grid + 0.8


def test_borders_and_saturation() -> None:
    image = np.clip(made_up_xray(0, 100), 5, 250)
    assert border(image) == 0 and signs(image).saturation == 0
    image[:, :7] = 0
    assert border(image) == pytest.approx(0.07) and signs(image).saturation == pytest.approx(0.07)
    assert border(np.zeros((50, 50), np.uint8)) == 1


def test_letters_are_read() -> None:
    import cv2

    image = made_up_xray(0, 256)
    assert words(image) == []
    cv2.putText(image, "PORTABLE", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2)
    assert "PORTABLE" in " ".join(words(image))


# --- comparing ---------------------------------------------------------------------------------------------


def compared(real: Floats, synthetic: Floats, patients: Ints | None = None) -> Compared:
    owners = np.arange(len(real)) if patients is None else patients
    return Compared("m", Kind("M", "a measure", ""), real, synthetic, owners)


@pytest.mark.parametrize("n", [39, 50, 200])
def test_one_real_image_in_twenty_is_odd_whatever_the_number(n: int) -> None:
    rng = np.random.default_rng(n)
    shares = []
    for _ in range(400):
        low, high = usual_range(rng.standard_normal(n))
        shares.append(np.mean(np.abs(rng.standard_normal(200) - (low + high) / 2) > (high - low) / 2))
    assert np.mean(shares) == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize("n", [50, 200])
def test_intervals_cover_the_truth(n: int) -> None:
    """Two images a patient; the truth of both figures is known for normal values, of the odd share for each range."""
    from scipy.stats import norm

    rng = np.random.default_rng(n)
    hits = np.zeros(2)
    trials = 300
    for _ in range(trials):
        patients = np.repeat(np.arange(n // 2), 2)
        real = (rng.standard_normal(n // 2)[patients] + rng.standard_normal(n)) / 2**0.5
        each = compared(real, 0.5 + rng.standard_normal(n), patients)
        low, high = each.usual()
        truth = norm.cdf(low - 0.5) + norm.sf(high - 0.5)
        for i, (estimate, value) in enumerate(((each.difference(), 0.5), (each.odd_share(), truth))):
            assert estimate.low is not None and estimate.high is not None
            hits[i] += estimate.low <= value <= estimate.high
    assert (abs(hits / trials - 0.95) < 0.04).all(), hits / trials


def test_few_images_give_no_figure_or_no_interval() -> None:
    few = compared(np.arange(20.0), np.arange(20.0)).metrics()
    assert few[0]["warning"] and few[1]["value"] is None and "At least 39" in few[1]["reason"]
    alone = compared(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])).metrics()[0]
    assert alone["value"] == 0 and alone["ci_low"] is None and alone["reason"]
    assert compared(np.full(9, np.nan), np.zeros(9)).metrics()[0]["value"] is None


# --- the answer --------------------------------------------------------------------------------------------


def side(name: str, images: list[Grey], folder: Path) -> FeatureSet:
    rows = []
    for i, image in enumerate(images):
        rows.append(Row(folder / name / f"{i:03}.png", "train"))
        write_png(rows[-1].path, image)
    count = len(rows)
    return FeatureSet(
        name=name,
        features=np.zeros((count, 1)),
        identity=np.zeros((count, 1)),
        patients=np.arange(count),
        labels=tuple(row.path.name for row in rows),
        keys=(None,) * count,
        rows=tuple(rows),
        encoder="none",
        encoder_sha256="",
        preprocessing="",
        sizes=frozenset({images[0].shape}),
    )


def test_a_blurred_set_with_borders_is_told_from_real_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Grey] = []

    def words(image: Grey) -> list[str]:
        read.append(image)
        return ["L"]

    monkeypatch.setattr("synthcxr.evaluation.artifacts.words", words)
    real = side("real", [made_up_xray(i, 64) for i in range(110)], tmp_path)
    drawn = [blur(made_up_xray(1000 + i, 64), 0.6) for i in range(60)]
    for image in drawn[:30]:
        image[:4] = 0
    answer = answer_artifacts(real, side("drawn", drawn, tmp_path))
    figures = {each["name"]: each for each in answer.metrics}
    assert len(read) == READ + 60 and figures["burned_in_text_rate"]["n_real"] == READ
    assert figures["border_rate"]["value"] == 0.5 and figures["border_rate"]["ceiling"] == 0
    assert figures["noise_difference"]["ci_high"] < -2 and figures["noise_odd"]["value"] == 1
    assert "Unlike real images: less noise (" in answer.verdict
    assert len(answer.files["artifacts.jsonl"]) == 60
    assert {f"{name}_{kind}" for name in SIGNS for kind in ("difference", "odd")} <= set(figures)


def test_real_images_are_as_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthcxr.evaluation.artifacts.words", lambda image: [])
    sides = [
        side(name, [made_up_xray(start + i, 64) for i in range(60)], tmp_path) for name, start in (("a", 0), ("b", 500))
    ]
    answer = answer_artifacts(*sides)
    assert "are as in real images" in answer.verdict and not answer.warnings
