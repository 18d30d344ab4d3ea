"""The encoder: its shape, its scale, its losses, and what the one in the package sees."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.evaluation.degradation import (
    QUALITIES,
    add_noise,
    blur,
    change_contrast,
    coarsen,
    compress,
    degrade,
    draw_levels,
    move,
    warp,
    zoom,
)
from synthcxr.evaluation.encoder import DIMENSION, LABELS, SHRINKAGE, build_network, load_encoder, whiten
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.images import Grey
from synthcxr.training.encoder import contrast_loss, fit_heads
from tests.conftest import made_up_xray

Change = Callable[[Grey], Grey]


def test_the_network_is_small_and_its_identities_have_length_one() -> None:
    network = build_network()
    features, identity = network(torch.randn(2, 1, 256, 256))
    assert features.shape == (2, DIMENSION)
    assert torch.allclose(identity.norm(dim=1), torch.ones(2), atol=1e-5)
    assert sum(parameter.numel() for parameter in network.parameters()) * 2 <= 3_000_000


def test_whitening_takes_out_what_features_have_in_common() -> None:
    torch.manual_seed(0)
    network = build_network()
    images = torch.randn(8, 1, 256, 256) * torch.linspace(0.2, 2, 8)[:, None, None, None]
    with torch.no_grad():
        before, _ = network(images)
        whiten(network, before)
        after, _ = network(images)
    assert after.mean(0).abs().max() < 1e-3
    standard = (before - before.mean(0)) / before.std(0)
    one, two = (torch.linalg.eigvalsh(torch.cov(each.T).double())[-3:] for each in (standard, after))
    assert torch.allclose(two, one / (one + SHRINKAGE), rtol=1e-2)


def test_heads_are_logistic_regressions_of_what_is_stated() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, DIMENSION)).astype(np.float32)
    wanted = np.full((200, 3), np.nan, np.float32)
    wanted[:150, 0] = features[:150, 5] > 0
    wanted[:, 1] = 1
    heads = torch.nn.Linear(DIMENSION, 3)
    fit_heads(heads, features, wanted)
    with torch.no_grad():
        said = heads(torch.from_numpy(features)).sigmoid().numpy()
    assert ((said[150:, 0] > 0.5) == (features[150:, 5] > 0)).mean() > 0.8
    assert (said[:, 1:] == 0.5).all()


def test_the_contrast_leaves_out_other_images_of_the_patient() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    patients = torch.tensor([7, 7, 9, 7, 7, 9])
    expected = []
    for i in range(6):  # the definition, image by image
        partner = (i + 3) % 6
        others = [j for j in range(6) if patients[j] != patients[i]]
        scores = {j: torch.exp(vectors[i] @ vectors[j] / 0.3) for j in [partner, *others]}
        expected.append(-torch.log(scores[partner] / sum(scores.values())))
    assert contrast_loss(vectors, patients, 0.3) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_a_degraded_image_is_an_image_and_never_a_mirrored_one(seed: int) -> None:
    image = made_up_xray(1)
    image[:20, :20] = 250  # a marker at the upper left
    levels = draw_levels(np.random.default_rng(seed))
    assert levels.keys() <= set(QUALITIES)
    levels.pop("scramble", None)  # noise of the image's spectrum has no sides
    changed = degrade(image, levels, np.random.default_rng(seed))
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert (
        np.corrcoef(changed.ravel(), image.ravel())[0, 1] > np.corrcoef(changed.ravel(), image[:, ::-1].ravel())[0, 1]
    )


def test_no_degradation_leaves_every_grey_level() -> None:
    image, rng = made_up_xray(2), np.random.default_rng(0)
    assert (degrade(image, {}, rng) == image).all()
    for same in (change_contrast(image), blur(image, 0), move(image, 0, 0), add_noise(image, 0, rng)):
        assert (same == image).all()


def test_degradations_do_what_they_are_named_for() -> None:
    image, rng = made_up_xray(3, 128), np.random.default_rng(0)
    middle = np.full((128, 128), 128, np.uint8)
    assert add_noise(middle, 10, rng).std() == pytest.approx(10, rel=0.05)
    assert change_contrast(np.array([[100, 127, 200]], np.uint8), gain=0.5).tolist() == [[114, 127, 164]]
    assert change_contrast(np.array([[0, 64, 255]], np.uint8), gamma=2.0).tolist() == [[0, 16, 255]]
    assert (move(image, 4, 2)[2:, 4:] == image[:-2, :-4]).all()
    assert zoom(image, 1.1).shape == image.shape

    def detail(of: Grey) -> float:
        return float(np.abs(np.diff(of.astype(float))).mean())

    for weak, strong in (
        (blur(image, 1), blur(image, 2)),
        (coarsen(image, 2), coarsen(image, 4)),
        (compress(image, 60), compress(image, 5)),
    ):
        assert detail(image) > detail(weak) > detail(strong)
    shifted = [np.abs(warp(image, amount, np.random.default_rng(1)) - image.astype(float)).mean() for amount in (1, 4)]
    assert 0 < shifted[0] < shifted[1]


# --- the encoder of the package -----------------------------------------------------------------------------


def test_images_of_any_size_and_none_at_all_are_read() -> None:
    encoder = load_encoder()
    assert encoder.extract([]).features.shape == (0, DIMENSION)
    found = encoder.extract([made_up_xray(0, 100), made_up_xray(0, 512)], batch_size=1)
    assert found.features.shape == (2, DIMENSION)
    assert np.linalg.norm(found.identity, axis=1) == pytest.approx([1, 1], abs=1e-4)
    assert encoder.classify([made_up_xray(0, 256)]).shape == (1, len(LABELS))


@pytest.fixture(scope="module")
def drawn() -> list[Grey]:
    """Images of the package's model: they look like X-rays, and nobody's data is needed."""
    from synthcxr.devices import pick
    from synthcxr.generation.sampler import Request, draw
    from synthcxr.models.registry import load

    requests = [Request("PA chest X-ray of a 60-year-old woman, no finding.", "", seed) for seed in range(12)]
    return list(draw(load("bundled", pick("cpu")), requests, steps=6, guidance=2.0, scheduler="dpm++"))


@pytest.mark.parametrize(
    "changes",
    [
        [partial(blur, sigma=sigma) for sigma in (0, 1, 2, 3)],
        [partial(add_noise, sigma=sigma, rng=np.random.default_rng(0)) for sigma in (0, 5, 10, 20)],
        [partial(change_contrast, gain=gain) for gain in (1, 0.8, 0.6)],
    ],
)
def test_the_distance_grows_with_the_damage(drawn: list[Grey], changes: list[Change]) -> None:
    features = [load_encoder().extract(map(change, drawn)).features.astype(np.float64) for change in changes]
    distances = [frechet_distance(moments(features[0]), moments(changed)) for changed in features]
    assert distances == sorted(distances) and distances[1] > 0.1


def test_the_identity_sees_through_what_the_features_see(drawn: list[Grey]) -> None:
    """A changed copy is nearest to its original, and nearer than any other image is."""
    encoder = load_encoder()
    clean = encoder.extract(drawn).identity
    between = np.linalg.norm(clean[:, None] - clean[None], axis=2) + 9 * np.eye(len(drawn))
    for change in (partial(blur, sigma=1), partial(move, right=4, down=-4), partial(change_contrast, gain=0.9)):
        copies = encoder.extract(map(change, drawn)).identity
        distance = np.linalg.norm(copies[:, None] - clean[None], axis=2)
        assert (distance.argmin(1) == np.arange(len(drawn))).all()
        assert np.median(np.diag(distance)) < between.min()
