"""The extractors against the reference packages' numbers, and what they say of weights that are not the published ones.

``fixtures/make_parity.py`` made the numbers in the reference packages' own environment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.extractors import EXTRACTORS, open_extractor
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.extractors.inception import build_network, open_inception
from synthcxr.evaluation.extractors.raddino import open_rad_dino
from synthcxr.evaluation.extractors.weights import find_file
from synthcxr.evaluation.frechet import frechet_distance, moments
from synthcxr.evaluation.intervals import Floats
from synthcxr.evaluation.kid import kid_subsets
from synthcxr.evaluation.resize import Resizing, bilinear_weights, resize_for
from synthcxr.images import read_grey
from synthcxr.models.sources import ChangedError
from synthcxr.store import sha256_bytes
from tests.conftest import made_up_xray
from tests.evaluation.fixtures.parity_inputs import random_state, write_images
from tests.models.test_sources import Hub, hub

__all__ = ["hub"]  # a fixture

PARITY: dict[str, Any] = json.loads((Path(__file__).parent / "fixtures" / "parity.json").read_text())
MODES: tuple[Resizing, ...] = ("clean", "legacy_pytorch", "legacy_tensorflow")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random weights of the reference run, as a file like the published one."""
    import torch

    empty = build_network().state_dict()
    shapes = {key: tuple(value.shape) for key, value in empty.items() if "num_batches" not in key}
    state = {key: torch.from_numpy(value) for key, value in random_state(shapes).items()}
    last = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(empty | state | last, path)
    return path


def extract(extractor: Extractor, folder: Path, side: str) -> Floats:
    paths = write_images(folder / side, **PARITY["images"][side])
    return extractor.embed(np.stack([extractor.prepare(read_grey(path)) for path in paths]), "cpu").astype(np.float64)


# --- parity -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "package"),
    [("legacy_pytorch", "pytorch_fid"), ("legacy_tensorflow", "torch_fidelity"), ("clean", "clean_fid")],
)
def test_fid_equals_the_reference_packages(mode: Resizing, package: str, weights: Path, tmp_path: Path) -> None:
    """Most of the 8e-6 between them is the packages' own: with fewer images than features they take roots of rounding
    (by their formula, our features give theirs to 2e-7)."""
    extractor = open_inception(weights, mode)
    one, two = (moments(extract(extractor, tmp_path, side)) for side in ("one", "two"))
    assert frechet_distance(one, two) == pytest.approx(PARITY["fid"][package], rel=1e-5)


@pytest.mark.slow
def test_kid_on_inception_equals_torch_fidelity(weights: Path, tmp_path: Path) -> None:
    about = PARITY["fid"]["kid"]
    one, two = (extract(open_inception(weights, "legacy_tensorflow"), tmp_path, side) for side in ("one", "two"))
    found = kid_subsets(one, two, about["kid_subsets"], about["kid_subset_size"], about["seed"])
    assert found.value == pytest.approx(about["mean"], rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["up", "down"])
def test_resizing_equals_clean_fid_and_torch_fidelity(mode: Resizing, name: str, tmp_path: Path) -> None:
    expected = np.array(PARITY["resized"]["values"][name][mode])
    image = read_grey(write_images(tmp_path, **PARITY["resized"]["images"][name])[0])
    found = resize_for(mode, image, 299).ravel()[:: PARITY["resized"]["step"]]
    np.testing.assert_allclose(found / 255, expected / 255, atol=2e-6)


def test_clean_cuts_off_what_bicubic_overshoots() -> None:
    edges = np.where(np.indices((32, 32)).sum(0) // 8 % 2, 255, 0).astype(np.uint8)
    found = resize_for("clean", edges, 299)
    assert (found.min(), found.max()) == (0.0, 255.0)


def test_bilinear_weights_sum_to_one_and_keep_an_image_of_its_size() -> None:
    for half_pixel in (True, False):
        np.testing.assert_allclose(bilinear_weights(17, 40, half_pixel=half_pixel).sum(1), 1, atol=1e-6)
        np.testing.assert_array_equal(bilinear_weights(9, 9, half_pixel=half_pixel), np.eye(9))


def test_the_bundled_extractor_is_the_encoder() -> None:
    images = [made_up_xray(seed, 256) for seed in range(3)]
    extractor = open_extractor("bundled")
    vectors = extractor.embed(np.stack([extractor.prepare(image) for image in images]), "cpu")
    expected = load_encoder().extract(images, device="cpu")
    np.testing.assert_allclose(vectors, np.concatenate(expected, axis=1), atol=1e-6)


# --- weights that are not the published ones --------------------------------------------------------------


def test_other_weights_give_no_fid(weights: Path) -> None:
    extractor = open_extractor(f"inception={weights}")
    assert (extractor.known, extractor.distance) == (False, "frechet_distance")
    assert "no distance is an FID" in extractor.warning


def test_each_way_to_resize_has_a_fingerprint_of_its_own(weights: Path) -> None:
    assert len({open_inception(weights, mode).fingerprint for mode in MODES}) == 3


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x02."])
def test_a_file_that_holds_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(SynthCXRError, match="does not hold weights of FID's Inception"):
        open_extractor(f"inception={tmp_path / 'w.pth'}")


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    import torch

    torch.save({"x": Trap(tmp_path / "sprung")}, tmp_path / "w.pth")
    with pytest.raises(SynthCXRError):
        open_extractor(f"inception={tmp_path / 'w.pth'}")
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Writes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "x"))


def test_unknown_names_and_paths_are_said() -> None:
    with pytest.raises(UsageError, match="Did you mean inception"):
        open_extractor("inceptoin")
    with pytest.raises(UsageError, match="does not exist"):
        open_extractor("rad-dino=/nowhere")


# --- where weights come from ------------------------------------------------------------------------------


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return tmp_path / "hub" / "checkpoints"


def test_a_file_is_fetched_once_and_checked(hub: Hub, torch_home: Path) -> None:
    hub.repositories["some/one"] = {"w.pth": b"weights"}
    sources = (f"{hub.url}/blobs/no/one/w2.pth", f"{hub.url}/blobs/some/one/w.pth")
    hub.repositories["no/one"] = {"w2.pth": b"others"}
    digest = sha256_bytes(b"weights")
    assert find_file("it", sources, digest) == torch_home / "w.pth"  # the first source gives other bytes
    asked = len(hub.requests)
    assert find_file("it", sources, digest).read_bytes() == b"weights"
    assert len(hub.requests) == asked
    (torch_home / "w.pth").write_bytes(b"changed")
    with pytest.raises(ChangedError, match="Remove it"):
        find_file("it", sources, digest)


def test_without_a_network_it_says_what_to_do(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SynthCXRError, match=r"HF_HUB_OFFLINE(.|\n)*inception=PATH"):
        open_extractor("inception")


def test_a_folder_of_a_hub_is_fetched_and_checked(hub: Hub, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    hub.repositories["some/one"] = {**files, "model.bin": b"pickled"}
    ask = (
        "import sys, json; from synthcxr.evaluation.extractors.weights import find_folder; "
        "print(find_folder('it', ['some/one'], json.loads(sys.argv[1])))"
    )

    def run(**pins: str) -> "subprocess.CompletedProcess[str]":
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        env = kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        pinned = {name: sha256_bytes(data) for name, data in files.items()} | pins
        command = [sys.executable, "-c", ask, json.dumps(pinned)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    first = run()
    assert first.returncode == 0, first.stderr
    folder = Path(first.stdout.strip())
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    hub.requests.clear()
    assert run().stdout == first.stdout
    assert not hub.requests
    other = run(**{"model.safetensors": "0" * 64})
    assert other.returncode == 1 and "is not the published file" in other.stderr


# --- Rad-DINO ---------------------------------------------------------------------------------------------


def write_dinov2(folder: Path, **size: int) -> Path:
    """Random weights in Rad-DINO's layout, and its processor's settings."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(patch_size=14, **size)).save_pretrained(folder)
    side = size["image_size"]
    settings = {
        "image_processor_type": "BitImageProcessor",
        "crop_size": {"height": side, "width": side},
        "size": {"shortest_edge": side},
        "resample": 3,
        "image_mean": [0.5307, 0.5307, 0.5307],
        "image_std": [0.2583, 0.2583, 0.2583],
        "rescale_factor": 1 / 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


SMALL = {"image_size": 56, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def test_rad_dino_is_the_class_token_of_its_processor_and_model(tmp_path: Path) -> None:
    import torch
    from PIL import Image
    from transformers import Dinov2Model

    folder = write_dinov2(tmp_path, **SMALL)
    extractor = open_extractor(f"rad-dino={folder}")
    image = made_up_xray(1, 200)
    vector = extractor.embed(extractor.prepare(image)[None], "cpu")
    small = Image.fromarray(image).resize((56, 56), Image.Resampling.BICUBIC)
    by_hand = (np.asarray(small, np.float32) / 255 - 0.5307) / 0.2583
    with torch.no_grad():
        model = Dinov2Model.from_pretrained(folder).eval()
        expected = model(torch.from_numpy(np.repeat(by_hand[None, None], 3, 1))).last_hidden_state[:, 0]
    np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)
    assert (extractor.dimension, extractor.known) == (32, False)
    assert "not the published ones" in extractor.warning


def test_rad_dino_says_what_its_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(SynthCXRError, match=r"has no config\.json"):
        open_rad_dino(tmp_path)
    write_dinov2(tmp_path, **SMALL)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(SynthCXRError, match="dinov2"):
        open_rad_dino(tmp_path)


@pytest.mark.full_size
def test_rad_dino_at_its_own_size(tmp_path: Path) -> None:
    """Its exact layout with random weights: 768 numbers of 12 layers at 518 px."""
    folder = write_dinov2(tmp_path, image_size=518, hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
    extractor = open_rad_dino(folder)
    assert extractor.embed(extractor.prepare(made_up_xray(1, 256))[None], "cpu").shape == (1, 768)


def test_every_name_says_its_licence_and_pins_its_bytes() -> None:
    for entry in EXTRACTORS.values():
        assert entry.licence and entry.about
        assert not entry.sources or entry.find.keywords  # type: ignore[attr-defined]
