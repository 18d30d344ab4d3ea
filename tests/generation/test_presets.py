"""Presets give way to a file and to options, sampling that cannot be is refused, and samplers end in sane images."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthcxr import GenerateConfig
from synthcxr.config.base import PRESETS
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.sampler import Request, draw, rescale
from synthcxr.models.families.stable_diffusion import StableDiffusion
from synthcxr.models.registry import load
from synthcxr.store import read_manifest
from tests.generation.test_generate import make
from tests.test_cli import call

NEEDED: dict[str, Any] = {"prompt": "x", "out": "out"}


def test_original_is_the_published_setting() -> None:
    config = GenerateConfig.load({"preset": "original", **NEEDED})
    assert (config.steps, config.guidance, config.scheduler, config.dtype) == (75, 4.0, "ddim", "float32")
    assert (config.guidance_start, config.guidance_end, config.guidance_rescale) == (0.0, 1.0, 0.0)


def test_every_preset_has_a_name_and_the_other_way_round() -> None:
    files = {file.stem for file in (PRESETS / "generate").glob("*.yaml")}
    assert files == {"original", "fast", "preview"}
    for name in files:
        assert GenerateConfig.load({"preset": name, **NEEDED}).preset == name


def test_an_option_wins_over_a_file_and_a_file_over_a_preset(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("preset: original\nsteps: 9\nguidance: 3\nprompt: x\nout: out\n")
    config = GenerateConfig.load({"guidance": 2.5}, tmp_path / "c.yaml")
    assert (config.steps, config.guidance, config.dtype) == (9, 2.5, "float32")
    assert GenerateConfig.load({"preset": "fast"}, tmp_path / "c.yaml").dtype == "bfloat16"
    plain = GenerateConfig.load(NEEDED)
    assert plain.preset is None and plain.dtype == "auto"


@pytest.mark.parametrize("options", [{}, {"steps": 30}, {"dtype": "auto", "guidance": 4.0}])
def test_the_arguments_of_a_config_with_a_preset_give_it_back(options: dict[str, Any]) -> None:
    config = GenerateConfig.load({"preset": "original", **NEEDED, **options})
    words = config.as_arguments()
    given = {words[i].removeprefix("--").replace("-", "_"): words[i + 1] for i in range(0, len(words), 2)}
    assert GenerateConfig.load(given) == config
    assert len(given) == len(NEEDED) + 1 + sum(getattr(config, name) != GenerateConfig.read_preset("original")[name]
                                               for name in options)  # fmt: skip


def test_the_set_keeps_the_preset_and_what_it_stood_for(tiny_model: Path, tmp_path: Path) -> None:
    config = read_manifest(make(tiny_model, tmp_path / "set", count=1, batch_size=1, preset="fast"))["config"]
    assert config["preset"] == "fast" and config["scheduler"] == "unipc" and config["steps"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "--steps"),
        ({"steps": 1001}, "--steps"),
        ({"guidance": -1}, "--guidance"),
        ({"guidance": 51}, "--guidance"),
        ({"guidance": float("nan")}, "--guidance"),
        ({"guidance_rescale": 1.5}, "--guidance-rescale"),
        ({"guidance_start": 0.8, "guidance_end": 0.2}, "lies after --guidance-end"),
        ({"scheduler": "lcm", "steps": 51}, "at most 50 --steps"),
        ({"scheduler": "heun"}, "--scheduler"),
        ({"preset": "quick"}, "--preset"),
        ({"preset": "../generate/fast"}, "--preset"),
    ],
)
def test_sampling_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        GenerateConfig.load({**NEEDED, **options})


def test_rescale_brings_the_deviation_back() -> None:
    torch.manual_seed(0)
    given, guided = torch.randn(3, 4, 8, 8), 3 * torch.randn(3, 4, 8, 8) + 1
    full = rescale(guided, given, 1.0)
    assert torch.allclose(full.std((1, 2, 3)), given.std((1, 2, 3)), rtol=1e-5)
    assert torch.equal(rescale(guided, given, 0.0), guided)


@pytest.mark.slow
def test_every_sampler_ends_near_the_image_of_many_steps() -> None:
    """Zero terminal SNR is where samplers fail: grey, burnt out or speckled. All but LCM solve one equation."""
    model = load("bundled", pick("cpu"))
    requests = [Request("PA chest X-ray of a 60-year-old woman, no finding.", "", 1)]
    exact = draw(model, requests, steps=40, guidance=2.0).astype(int)
    for scheduler in StableDiffusion.samplers:
        images = draw(model, requests, steps=12, guidance=2.0, scheduler=scheduler).astype(int)
        speckle = np.abs(np.diff(images, axis=2)).mean()
        assert 60 < images.mean() < 190 and images.std() > 30 and speckle < 12, scheduler
        if scheduler != "lcm":
            assert np.corrcoef(images.ravel(), exact.ravel())[0, 1] > 0.95, scheduler


def test_an_adapter_for_another_base_is_refused(tiny_model: Path, dataset: Path, tmp_path: Path) -> None:
    from synthcxr import TrainConfig, train
    from synthcxr.models import layout, registry

    base = tmp_path / "base"
    layout.save(layout.build("tiny"), base)
    run = train(TrainConfig(datasets=[dataset], base=str(base), out=tmp_path / "run", steps=1, sample_every=0))
    layout.save(layout.build("tiny", seed=1), base)
    registry.model_hash.cache_clear()  # as in another process
    with pytest.raises(SynthCXRError, match="trained on another base"):
        make(run, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_set_of_another_config_is_left_alone(tiny_model: Path, tmp_path: Path) -> None:
    made = make(tiny_model, tmp_path / "set", count=1, batch_size=1)
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="guidance, steps differ"):
        make(tiny_model, tmp_path / "set", count=1, batch_size=1, steps=4, guidance=7.0)
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}


def test_the_command_line_takes_a_preset(tiny_model: Path, tmp_path: Path) -> None:
    done = call("generate", "--preset", "fast", "--model", tiny_model, "--prompt", "x", "--out", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "set")["config"]["scheduler"] == "unipc"
    done = call("generate", "--preset", "best", "--prompt", "x", "--out", tmp_path / "other")
    assert done.returncode == 2 and "preview" in done.stderr
