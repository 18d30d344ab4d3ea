"""Fills: what each may change, what a smooth one is, and that the learned one is worth its weights."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.cleaning import inpaint as door
from synthcxr.cleaning.inpaint import FILLS, find_fill, identify_fill, inpaint
from synthcxr.cleaning.inpainters import diffusion as by_diffusion
from synthcxr.cleaning.inpainters import learned as by_network
from synthcxr.cleaning.inpainters.base import LARGEST, windows
from synthcxr.cleaning.inpainters.classical import membrane
from synthcxr.cleaning.inpainters.diffusion import Diffusion
from synthcxr.cleaning.segment import Mask, dilate
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import Grey, read_grey
from synthcxr.models.registry import load, model_hash

from .xrays import burn, drawn_xray

PLAIN = drawn_xray()


def text_mask(text: str = "R 12", size: int = 22) -> Mask:
    """Where a text would be in `PLAIN`, grown as the stage grows it."""
    return dilate(burn(np.zeros_like(PLAIN), text, size=size) > 0, 2)


# --- what all may change ---


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([*FILLS]), st.sampled_from([np.uint8, np.uint16]))
def test_any_fill_of_any_depth_changes_only_its_mask(seed: int, method: door.Method, depth: type) -> None:
    random = np.random.default_rng(seed)
    shape = random.integers(8, 50, 2)
    limits = np.iinfo(depth)
    image: Grey = random.integers(limits.min, limits.max, shape, endpoint=True).astype(depth)  # of 16 bits, too
    mask = random.random(shape) < random.choice([0.0, 0.2, 1.0])
    before = image.copy()
    filled = inpaint(image, mask, method)
    assert filled.dtype == depth and filled.shape == image.shape
    assert filled[~mask].tobytes() == image[~mask].tobytes()
    assert np.array_equal(image, before)


@pytest.mark.parametrize("method", FILLS)
def test_more_bits_are_filled_as_fewer_are(method: door.Method) -> None:
    """Stored values of 12 bits: the same fill on their own scale, and nothing beyond the values around."""
    mask = text_mask()
    eight = inpaint(PLAIN, mask, method).astype(float)
    twelve = inpaint(PLAIN.astype(np.uint16) * 16 + 7, mask, method)
    assert np.abs((twelve[mask] - 7.0) / 16 - eight[mask]).mean() < 3
    assert twelve[mask].max() <= int(PLAIN.max()) * 16 + 7 + 160


def test_parts_of_a_mask_share_no_pixel_and_miss_none() -> None:
    scattered = np.random.default_rng(0).random((90, 120)) < 0.002
    large = np.zeros((40, 1300), bool)
    large[20:30, 5:] = True
    for mask in (scattered, large):
        seen = np.zeros(mask.shape, int)
        for place, own in windows(mask, 8):
            seen[place] += own
            assert own.any() and max(own.shape) <= LARGEST + 16
        assert np.array_equal(seen, mask.astype(int))


# --- the smooth one ---


def test_a_plane_comes_back() -> None:
    rows, columns = np.mgrid[0:61, 0:83]
    plane = (20 + 1.5 * rows + 0.7 * columns).astype(np.float32)
    mask = np.zeros(plane.shape, bool)
    mask[20:40, 30:37] = mask[25:31, 10:70] = True
    assert np.abs(membrane(np.where(mask, 255, plane).astype(np.float32), mask) - plane).max() < 0.5


def test_it_is_laplaces_equation() -> None:
    """Against a dense solution: each masked pixel is the mean of its four neighbours."""
    levels = np.random.default_rng(1).uniform(0, 255, (24, 24)).astype(np.float32)
    mask = np.zeros(levels.shape, bool)
    mask[6:17, 9:14] = True
    places = np.argwhere(mask)
    number = {tuple(place): index for index, place in enumerate(places.tolist())}
    matrix, known = np.eye(len(places)) * 4, np.zeros(len(places))
    for index, (row, column) in enumerate(places.tolist()):
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if near in number:
                matrix[index, number[near]] = -1
            else:
                known[index] += levels[near]
    exact = np.linalg.solve(matrix, known)
    inner = np.array([8 <= row < 15 and 10 < column < 12 for row, column in places])  # the rim's stencils differ
    assert np.abs(membrane(levels, mask)[mask] - exact)[inner].mean() < 6
    assert np.abs(membrane(levels, mask)[mask] - exact).mean() < 12


def test_where_nothing_is_known_nothing_is_made_up() -> None:
    levels = np.full((9, 7), 80, np.float32)
    assert (membrane(levels, np.ones((9, 7), bool)) == 0).all()
    assert membrane(levels, np.zeros((9, 7), bool)) is levels


# --- the learned one ---


@pytest.mark.real
def test_the_learned_fill_is_nearer_to_what_was_hidden_than_opencv(shared_data: Path) -> None:
    """X-rays of validation patients, a text over the middle of a lung; at least 1 dB (the benchmark has more)."""
    gains = []
    for name in ("00000150_002", "00001568_004", "00002154_000"):
        path = shared_data / "nih" / "images" / f"{name}.jpg"
        if not path.is_file():
            continue
        truth = read_grey(path)[180:308, 90:218].astype(np.float32)
        mask = text_mask("R 12:45\nAP 3", 18)
        given = np.where(mask, 255, truth).astype(np.float32)
        errors = [np.mean((FILLS[method](given, mask) - truth)[mask] ** 2) for method in ("telea", "learned")]
        gains.append(10 * np.log10(errors[0] / errors[1]))
    assert gains, "none of the X-rays is there"
    assert np.mean(gains) > 1


def test_the_weights_are_small_and_say_where_they_come_from() -> None:
    about = json.loads((by_network.FOLDER / by_network.ABOUT).read_text())
    assert (by_network.FOLDER / by_network.WEIGHTS).stat().st_size < 5_000_000
    assert about["recipe"] == "recipes/inpainter/train.py" and about["training_images"] > 1000
    assert about["sources"] == ["kermany", "nih"]


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    shutil.copytree(by_network.FOLDER, tmp_path / "inpainter")
    weights = tmp_path / "inpainter" / by_network.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0\1")
    with pytest.raises(SynthCXRError, match="was changed"):
        by_network.load_network(tmp_path / "inpainter")


# --- diffusion ---


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Diffusion:
    return Diffusion(load(str(tiny_model), pick("cpu")), steps=3)


def test_a_model_draws_inside_the_mask_and_the_same_again(tiny: Diffusion) -> None:
    mask = text_mask("PORTABLE 12:45")
    one, two = (inpaint(PLAIN, mask, tiny) for _ in range(2))
    assert np.array_equal(one, two)
    assert np.array_equal(one[~mask], PLAIN[~mask]) and (one != PLAIN)[mask].mean() > 0.5
    assert not np.array_equal(one, inpaint(PLAIN, mask, dataclasses.replace(tiny, seed=1)))


def test_squares_cover_a_text_longer_than_the_model_and_see_what_was_drawn(
    tiny: Diffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in returns what it was shown: then all that is left is the membrane, in every masked pixel."""
    shown = []

    def redraw(_model: object, square: np.ndarray, seed: int, _how: object, free: np.ndarray) -> np.ndarray:
        shown.append((seed, free))
        return square

    monkeypatch.setattr(by_diffusion, "redraw", redraw)
    mask = np.zeros(PLAIN.shape, bool)
    mask[60:66, 3:] = mask[3:, 100:104] = True
    levels = np.where(mask, 255, PLAIN).astype(np.float32)
    filled = tiny(levels, mask)
    assert np.array_equal(filled[~mask], levels[~mask])
    assert filled[mask].max() < 210
    assert len(shown) > 3 and len({seed for seed, _ in shown}) == len(shown)
    assert all(free.shape == (8, 8) and free.any() and not free.all() for _, free in shown)


def test_an_inpainting_model_fills_and_is_shown_what_diffusers_shows_it(
    tiny_inpainting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    model = load(str(tiny_inpainting), pick("cpu"))
    mask = text_mask()
    filled = inpaint(PLAIN, mask, Diffusion(model, steps=2, strength=1.0))
    assert np.array_equal(filled[~mask], PLAIN[~mask]) and (filled != PLAIN)[mask].any()

    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    square, free = PLAIN[:64, :64], np.zeros((8, 8), bool)
    free[2:4, 3:7] = True
    pixels = torch.from_numpy(np.kron(free, np.ones((8, 8)))).float()[None, None]
    image = torch.from_numpy(square / 127.5 - 1).float()[None, None].repeat(1, 3, 1, 1)
    with torch.no_grad():
        theirs = model.pipeline.prepare_mask_latents(
            pixels, image * (pixels < 0.5), 1, 64, 64, torch.float32, torch.device("cpu"), None, False
        )
        ours = model.family.surroundings(model.pipeline, square, free)
    assert ours is not None and torch.allclose(ours, torch.cat(theirs, dim=1), atol=1e-5)


def test_an_inpainting_model_is_neither_drawn_from_nor_trained(tiny_inpainting: Path, tmp_path: Path) -> None:
    from synthcxr import generate
    from synthcxr.config import GenerateConfig

    with pytest.raises(UsageError, match="draws into masks only"):
        generate(GenerateConfig(model=str(tiny_inpainting), prompt="x", out=tmp_path / "set", steps=1))


def test_weights_are_named_by_their_hashes(tiny_model: Path) -> None:
    assert len(identify_fill("learned")["inpainter_sha256"]) == 64
    assert identify_fill("diffusion", str(tiny_model))["inpainter_model_sha256"] == model_hash(tiny_model)
    assert identify_fill("telea") == {}


def test_fills_are_loaded_once() -> None:
    assert find_fill("learned") is FILLS["learned"]
    assert find_fill("diffusion") is find_fill("diffusion")
