"""The estimate of memory: shapes alone say what the real passes take."""

from pathlib import Path

import pytest
import torch

from synthcxr import train
from synthcxr.store import read_manifest
from synthcxr.training.memory import GB, Need, advice, need, peak_bytes, storages
from tests.training.test_runs import adapter
from tests.training.test_train import Configure, configure

__all__ = ["configure"]


def network(frozen: bool) -> torch.nn.Module:
    layers = [torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(6)]
    if frozen:
        layers[0].requires_grad_(False)
    return torch.nn.Sequential(*(part for layer in layers for part in (layer, torch.nn.SiLU())))


@pytest.mark.parametrize("frozen", [False, True])
def test_shapes_take_what_the_real_passes_take(frozen: bool) -> None:
    module, inputs = network(frozen), torch.randn(4, 8, 32, 32)
    estimate = peak_bytes(module, module, inputs)
    with storages() as held:
        module(inputs).float().square().mean().backward()
    assert estimate == pytest.approx(held.most, rel=0.02)
    activation = 4 * inputs.numel()
    assert estimate > 10 * activation  # twelve layers keep what they were given


def test_what_is_let_go_is_not_counted() -> None:
    with storages() as held:
        for _ in range(5):
            torch.zeros(1000).add(1)
    assert held.most == 2 * 4000 and held.now == 0


def test_the_advice_names_a_way_out() -> None:
    module = torch.nn.Linear(100, 100, bias=False)
    some = need([module], module.parameters(), True, 7)
    assert (some.weights, some.optimizer, some.average, some.step) == (40_000, 80_000, 40_000, 120_000)
    large = Need(int(4 * GB), 0, 0, int(4 * GB))
    assert advice(large, int(20 * GB)) == (
        "It needs about 8.8 GB (weights 4.0, activations and gradients 4.0); 20.0 GB are free."
    )
    assert "--gradient-checkpointing" in advice(large, int(8 * GB))


def test_checkpointing_changes_the_memory_not_the_run(configure: Configure) -> None:
    options = {"steps": 3, "learning_rate": 1e-3, "train_text_encoder": True}
    plain, spared = train(configure("plain", **options)), train(configure("s", gradient_checkpointing=True, **options))
    ours, theirs = adapter(plain), adapter(spared)
    assert all((ours[key] == theirs[key]).all() for key in ours)
    measured = [read_manifest(run)["measured"] for run in (plain, spared)]
    assert all(row["memory_used_gb"] > 0 for row in measured)


def test_checkpointing_is_estimated(tiny_model: Path) -> None:
    from synthcxr.devices import pick
    from synthcxr.models.registry import load

    def estimate(spare: bool) -> int:
        unet = load(str(tiny_model), pick("cpu")).pipeline.unet.requires_grad_(True)
        if spare:
            unet.enable_gradient_checkpointing()
        size = unet.config.sample_size
        noisy, text = (
            torch.zeros(8, unet.config.in_channels, size, size),
            torch.zeros(8, 9, unet.config.cross_attention_dim),
        )
        return peak_bytes(unet, lambda *given: unet(*given).sample, noisy, torch.zeros(8, dtype=torch.long), text)

    assert estimate(True) < 0.8 * estimate(False)
