"""Near-duplicates: a picture is found again whatever was done to it; another picture of the same chest is not."""

import csv
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from synthcxr.data.gate.duplicates import (
    CANDIDATE,
    SAME_PICTURE,
    candidates,
    compare,
    find_duplicates,
    fingerprint,
    perceptual_hash,
)
from synthcxr.images import Grey, read_grey, resize, to_square
from tests.conftest import made_up_xray


def chest(seed: int, side: int = 256) -> Grey:
    """A made-up chest with ribs and vessels of its own, so that there are details to agree."""
    rng = np.random.default_rng(seed)
    texture = np.asarray(Image.fromarray(rng.normal(0, 1, (40, 40)).astype(np.float32)).resize((side, side), 3))
    ribs = 12 * np.sin(np.linspace(0, rng.uniform(40, 60), side) + rng.uniform(0, 6))[:, None]
    return np.asarray(np.clip(made_up_xray(seed, side) * 0.8 + 14 * texture + ribs, 0, 255), np.uint8)


def jpeg(image: Grey, quality: int) -> Grey:
    data = io.BytesIO()
    Image.fromarray(image).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


def crop(image: Grey, share: float) -> Grey:
    margin = round(image.shape[0] * share)
    return image[margin:-margin, margin:-margin]


CHANGES: dict[str, Callable[[Grey], Grey]] = {
    "smaller": lambda image: resize(image, image.shape[1] // 2, image.shape[0] // 2),
    "compressed": lambda image: jpeg(image, 40),
    "brighter": lambda image: np.asarray(255 * (image / 255) ** 0.7, np.uint8),
    "windowed": lambda image: np.asarray(np.clip((image.astype(float) - 30) * 1.3, 0, 255), np.uint8),
    "cropped by 2 %": lambda image: crop(image, 0.01),
    "cropped by 4 %": lambda image: crop(image, 0.02),
}


def find(images: list[Grey], patients: list[str]) -> list[tuple[int, int, str, bool]]:
    squares = [to_square(image, 256) for image in images]
    found = find_duplicates([fingerprint(image) for image in images], patients, squares.__getitem__)
    assert all(SAME_PICTURE <= one.correlation <= 1 and one.kept < one.index for one in found)
    return [(one.index, one.kept, one.rule, one.exact) for one in found]


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_the_first_is_kept(name: str) -> None:
    images = [chest(0), chest(1), chest(2), np.ascontiguousarray(CHANGES[name](chest(1)))]
    assert find(images, ["a", "b", "c", "b"]) == [(3, 1, "duplicate-same-patient", False)]
    assert find(images, ["a", "b", "c", "d"]) == [(3, 1, "duplicate-other-patient", False)]


def test_an_exact_copy_is_called_one() -> None:
    assert find([chest(0), chest(0), chest(0)], ["a", "a", "b"]) == [
        (1, 0, "duplicate-same-patient", True),
        (2, 0, "duplicate-other-patient", True),
    ]


def test_an_exact_copy_of_a_near_copy_points_at_the_kept_image() -> None:
    small = resize(chest(4), 128, 128)
    assert find([chest(4), small, small], ["a", "a", "a"]) == [
        (1, 0, "duplicate-same-patient", False),
        (2, 0, "duplicate-same-patient", False),
    ]


def test_small_changes_do_not_add_up_along_a_chain() -> None:
    """The second is the first's picture, the third is the second's but no longer the first's: the third stays."""
    images = [chest(5), np.ascontiguousarray(crop(chest(5), 0.025)), np.ascontiguousarray(crop(chest(5), 0.05))]
    assert find(images[1:], ["a", "a"]) == [(1, 0, "duplicate-same-patient", False)]
    assert find(images, ["a", "a", "a"]) == [(1, 0, "duplicate-same-patient", False)]


def test_nothing_is_found_where_nothing_is_alike() -> None:
    assert find([chest(seed) for seed in range(12)], ["a"] * 12) == []
    assert find([], []) == []
    blank = [np.full((200, 200), level, np.uint8) for level in (0, 90, 255)]
    assert find(blank, ["a", "b", "c"]) == []  # nothing to compare by: the rule for blank images takes them


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.4, 1.0), st.integers(0, 40))
def test_the_perceptual_hash_does_not_hear_of_contrast(seed: int, contrast: float, offset: int) -> None:
    image = chest(seed, 128)
    other = np.clip(image * contrast + offset, 0, 255).astype(np.uint8)
    a, b = (perceptual_hash(each).astype(float) for each in (image, other))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.97


def test_candidates_are_those_of_all_pairs_one_by_one() -> None:
    """Against the plain double loop, over more than one block."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(300, 255))
    vectors = np.concatenate([centres, centres + rng.normal(size=(300, 255)) * rng.uniform(0.1, 0.8, (300, 1))])
    hashes = np.clip(np.rint(vectors * 30), -127, 127).astype(np.int8)
    texts = ["0" * 32 + row.tobytes().hex() for row in hashes]
    unit = hashes / np.linalg.norm(hashes, axis=1, keepdims=True)
    expected = {(i, j) for j in range(600) for i in range(j) if unit[i] @ unit[j] >= CANDIDATE}
    assert 50 < len(expected) < 300

    import synthcxr.data.gate.duplicates as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 128)
        found = list(candidates(texts))
    assert set(found) == expected and len(found) == len(expected)
    assert [later for _, later in found] == sorted(later for _, later in found)


def test_a_fingerprint_is_short_text_that_tells_pixels_apart() -> None:
    image = chest(0)
    other = image.copy()
    other[0, 0] ^= 1
    assert fingerprint(image) == fingerprint(image.copy()) != fingerprint(other)
    assert len(fingerprint(image)) == 32 + 2 * 255
    assert fingerprint(np.zeros((4, 9), np.uint8)) != fingerprint(np.zeros((9, 4), np.uint8))


@pytest.mark.real
def test_real_images_of_one_patient_are_not_one_picture(shared_data: Path) -> None:
    """The 40 first pairs of one patient; the figures on all images are in docs/quality-gate.md."""
    with (shared_data / "nih" / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = [(a, b) for a, b in pairwise(rows) if a["patient_id"] == b["patient_id"]]
    pairs = [pair for pair in pairs if pair[0]["patient_id"] != "2658"][:40]  # two of its files are the same picture
    assert len(pairs) == 40
    scores = [
        compare(*(to_square(read_grey(shared_data / "nih" / row["file_name"]), 128) for row in pair)) for pair in pairs
    ]
    assert max(scores) < SAME_PICTURE


@pytest.mark.real
@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_of_real_images_are_found(shared_data: Path, name: str) -> None:
    with (shared_data / "kermany" / "metadata.csv").open(newline="") as file:
        names = [row["file_name"] for row in csv.DictReader(file)][::130]
    images = [read_grey(shared_data / "kermany" / each) for each in names]
    copies = [np.ascontiguousarray(CHANGES[name](image)) for image in images]
    found = find(images + copies, ["a"] * 2 * len(images))
    assert [(later, earlier) for later, earlier, _, _ in found] == [(len(images) + k, k) for k in range(len(images))]
