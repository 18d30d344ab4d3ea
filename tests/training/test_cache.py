"""What is encoded once is what encoding each time gives, is shared, goes on, and is never that of other data."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthcxr import TrainConfig, train
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import read_rows
from synthcxr.models.registry import Model, load
from synthcxr.store import read_manifest
from synthcxr.training import cache
from synthcxr.training.cache import Embeddings, encode_posteriors
from tests.training.test_runs import adapter
from tests.training.test_train import Configure, configure

__all__ = ["configure"]


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return load(str(tiny_model), pick("cpu"))


def test_posteriors_are_those_of_encoding_each_time(model: Model, configure: Configure, dataset: Path) -> None:
    config, rows = configure(latent_variants=2), read_rows(dataset, "train")
    kept = np.stack(encode_posteriors(model, config, rows, config.out))
    assert kept.shape[:2] == (len(rows), 2)
    for place, row in enumerate(rows[:5]):
        with torch.no_grad():
            mean, std = model.family.encode_images(model.pipeline, row.read()[None])
        both = torch.cat([mean, std], dim=1)[0].numpy()
        assert np.abs(kept[place, 0] - both).max() <= 2e-3 * np.abs(both).max()  # half precision on the disk
    assert not np.array_equal(kept[0, 0], kept[0, 1])
    spread = kept[:, 0, kept.shape[2] // 2 :]
    assert spread.min() > 0, "the spread is lost"


def test_embeddings_are_those_of_encoding_each_time(model: Model, configure: Configure) -> None:
    config, prompts = configure(), ["", "PA chest X-ray.", "a child"]
    kept = Embeddings(model, config, prompts, config.out).of(["a child", "", "never seen", "a child"])
    for place, prompt in enumerate(["a child", "", "never seen", "a child"]):
        with torch.no_grad():
            fresh = model.family.encode_text(model.pipeline, [prompt])
        assert all(torch.equal(kept[name][place], fresh[name][0]) for name in fresh)


def test_runs_share_what_was_encoded(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared: dict[str, Any] = {"cache": tmp_path / "cache"}
    alone, first = train(configure("alone")), train(configure("first", **shared))
    held = sorted((tmp_path / "cache").iterdir())
    monkeypatch.setattr(cache, "variant_of", None)  # whoever encodes an image now fails
    second = train(configure("second", rank=2, **shared))
    assert read_manifest(second)["counts"]["steps"] == 6 and sorted((tmp_path / "cache").iterdir()) == held
    assert str(tmp_path) not in (first / "report.html").read_text()  # the page names no folder of the machine
    ours, theirs = adapter(alone), adapter(first)
    assert all((ours[key] == theirs[key]).all() for key in ours)


def test_runs_that_want_the_same_at_one_time_encode_it_once(tmp_path: Path) -> None:
    calls, values = [], np.arange(40, dtype=np.float32)

    def encode(block: slice) -> Any:
        calls.append(block)
        time.sleep(0.01)
        return values[block]

    with ThreadPoolExecutor(3) as pool:
        wanted = [
            pool.submit(cache.cached_array, tmp_path / "a.npy", (40,), np.dtype(np.float32), encode, "Encoding")
            for _ in range(3)
        ]
    assert all(np.array_equal(each.result(), values) for each in wanted) and len(calls) == 5


@pytest.mark.parametrize("other", [{"limit": 7}, {"latent_variants": 2}])
def test_other_data_is_not_found(configure: Configure, tmp_path: Path, other: dict[str, Any]) -> None:
    for name, options in (("one", {}), ("two", other)):
        train(configure(name, cache=tmp_path / "cache", steps=1, **options))
    assert len(list((tmp_path / "cache").glob("latents-*.npy"))) == 2


def test_an_encoding_that_was_stopped_goes_on(
    model: Model, configure: Configure, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ENCODING_BATCH", 2)
    monkeypatch.setattr(cache, "NOTED_EVERY_S", 0.0)
    rows, whole, stopped = read_rows(dataset, "train"), configure("whole"), configure("stopped")
    encode_images, seen = type(model.family).encode_images, []

    def watched(*given: Any) -> Any:
        seen.append(len(given[-1]))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return encode_images(*given)

    expected = np.array(encode_posteriors(model, whole, rows, whole.out))
    monkeypatch.setattr(type(model.family), "encode_images", watched)
    with pytest.raises(KeyboardInterrupt):
        encode_posteriors(model, stopped, rows, stopped.out)
    assert np.array_equal(encode_posteriors(model, stopped, rows, stopped.out), expected)
    assert sum(seen[3:]) == len(rows) - 4  # the two blocks that were noted are not encoded again


def test_the_config_says_where(tmp_path: Path) -> None:
    config = TrainConfig(datasets=[Path("d")], out=Path("o"), cache=tmp_path)
    assert "cache" not in config.identity()  # where, not what
    with pytest.raises(SynthCXRError):
        TrainConfig.load({"datasets": ["d"], "out": "o", "cash": "x"})
