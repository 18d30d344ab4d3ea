"""Every family is trained, saved, read by plain diffusers, which then draws what our own sampler draws."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import DiffusionPipeline

from synthcxr import ExportConfig, GenerateConfig, TrainConfig, export, generate, train
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.sampler import Request, draw
from synthcxr.models.registry import ADAPTER_FILE, load
from synthcxr.store import read_jsonl, read_manifest

PROMPT, SEEDS = "PA chest X-ray", (1, 2)
Images = npt.NDArray[np.float64]


def config(dataset: Path, base: Path | str, out: Path, **options: Any) -> TrainConfig:
    given: dict[str, Any] = {"steps": 4, "batch_size": 4, "learning_rate": 2e-2, "sample_steps": 1, "sample_every": 0}
    return TrainConfig(datasets=[dataset], base=str(base), out=out, **(given | options))


def ours(model: Path) -> Images:
    requests = [Request(PROMPT, "", seed) for seed in SEEDS]
    return draw(load(str(model), pick("cpu")), requests, steps=3, guidance=3.0, scheduler="dpm++").astype(float)


def theirs(base: Path, adapter: Path | None = None) -> Images:
    """The same images of a Sana by nothing but diffusers."""
    pipeline = DiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    if adapter:
        pipeline.load_lora_weights(adapter, weight_name=ADAPTER_FILE)
    images = pipeline(
        [PROMPT] * len(SEEDS),
        num_inference_steps=3,
        guidance_scale=3.0,
        height=64,
        width=64,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
        complex_human_instruction=None,
        use_resolution_binning=False,
    ).images
    drawn: Images = np.rint(images.mean(-1) * 255).astype(float)
    return drawn


@pytest.mark.parametrize(
    "options", [{"rank": 4, "alpha": 8}, {"rank": 2, "rslora": True, "dora": True}], ids=["lora", "dora"]
)
def test_a_sana_adapter_draws_the_same_in_plain_diffusers(
    options: dict[str, Any], dataset: Path, tiny_sana: Path, tmp_path: Path
) -> None:
    run = train(config(dataset, tiny_sana, tmp_path / "run", **options))
    expected = ours(run)
    assert np.abs(theirs(tiny_sana) - expected).max() > 1, "the adapter does nothing"
    assert np.abs(theirs(tiny_sana, run / "adapter") - expected).max() <= 1
    merged = export(ExportConfig(folder=run, to="merged", out=tmp_path / "merged"))
    assert np.abs(theirs(merged / "model") - expected).max() <= 1
    lora = export(ExportConfig(folder=run, to="diffusers-lora", out=tmp_path / "lora"))
    assert np.abs(ours(lora) - expected).max() == 0
    with pytest.raises(UsageError, match="is a LoRA of Sana, for which kohya has no names"):
        export(ExportConfig(folder=run, to="kohya", out=tmp_path / "kohya"))
    for folder in (merged, lora):
        assert "height=64, width=64, complex_human_instruction=None)" in (folder / "README.md").read_text()
    assert "A LoRA for a Sana base" in (lora / "README.md").read_text()


def test_a_sana_is_trained_whole_but_for_its_text_encoder(dataset: Path, tiny_sana: Path, tmp_path: Path) -> None:
    run = train(config(dataset, "layout:tiny-sana", tmp_path / "run", method="full", learning_rate=1e-3))
    assert np.abs(theirs(run / "model") - ours(run)).max() <= 1
    before, after = (load(str(model), pick("cpu")).pipeline for model in (tiny_sana, run))
    same = {
        part: all(
            torch.equal(a, b)
            for a, b in zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        )
        for part in ("transformer", "vae", "text_encoder")
    }
    assert same == {"transformer": False, "vae": True, "text_encoder": True}
    assert read_manifest(run)["model"] == {"family": "Sana", "image_size": 64}


def test_a_sana_is_drawn_with_its_own_sampler(tiny_sana: Path, tmp_path: Path) -> None:
    plain = GenerateConfig(model=str(tiny_sana), prompt="x", count=1, steps=2, out=tmp_path / "plain")
    chosen = plain.model_copy(update={"scheduler": "dpm++", "out": tmp_path / "chosen"})
    one, two = (read_jsonl(generate(config) / "train" / "metadata.jsonl")[0] for config in (plain, chosen))
    assert one == two and one["scheduler"] == "dpm++"
    names = [read_manifest(folder)["files"] for folder in (plain.out, chosen.out)]
    assert names[0] == names[1]
    with pytest.raises(UsageError, match="not ddim"):
        generate(plain.model_copy(update={"scheduler": "ddim", "out": tmp_path / "wrong"}))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_stopped_sana_ends_as_one_that_was_not(
    method: Literal["lora", "full"], dataset: Path, tiny_sana: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"method": method, "checkpoint_every": 2}
    whole = train(config(dataset, tiny_sana, tmp_path / "whole", **options))
    with pytest.raises(SynthCXRError, match="Stopped at step 1"):
        train(config(dataset, tiny_sana, tmp_path / "stopped", **options, max_hours=1e-9))
    stopped = train(config(dataset, tiny_sana, tmp_path / "stopped", **options))
    one, two = (read_manifest(run)["files"] for run in (whole, stopped))
    weights = [name for name in one if name.endswith((".safetensors", ".png"))]
    assert weights and all(one[name] == two[name] for name in weights)


def test_a_sana_learns(dataset: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "full", "steps": 60, "learning_rate": 3e-3, "checkpoint_every": 60}
    log = read_jsonl(train(config(dataset, "layout:tiny-sana", tmp_path / "run", **options)) / "log.jsonl")
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train_text_encoder": True}, "Gemma stays as it is"),
        ({"min_snr_gamma": 5.0}, "trained by flow matching"),
        ({"method": "autoencoder"}, "Sana's stays as it is"),
        ({"targets": ["nowhere"]}, "names no layer of the transformer"),
    ],
)
def test_what_is_not_for_sana(
    options: dict[str, Any], words: str, dataset: Path, tiny_sana: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        train(config(dataset, tiny_sana, tmp_path / "run", **options))


def test_a_start_from_another_family_is_refused(
    dataset: Path, tiny_model: Path, tiny_sana: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--init gives a model of Stable Diffusion, the base is one of Sana"):
        train(config(dataset, tiny_sana, tmp_path / "run", method="full", init=str(tiny_model)))
