"""The model inside the package, called as anybody would call it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synthcxr.models.registry import BUNDLED


def test_plain_diffusers_draws_with_the_default_call() -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(BUNDLED)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        "PA chest X-ray of a 60-year-old man, no finding.",
        num_inference_steps=8,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).images[0]
    assert image.shape == (256, 256, 3)
    grey = image.mean(-1)
    assert np.abs(image - grey[..., None]).max() < 0.08, "an X-ray is grey"
    assert 0.15 < grey.mean() < 0.75 and grey.std() > 0.1, "neither blank nor noise"


def test_the_few_step_student_draws_what_the_model_draws_in_many() -> None:
    from synthcxr.devices import pick
    from synthcxr.generation.sampler import Request, draw
    from synthcxr.models.registry import load

    prompts = (
        "PA chest X-ray of a 60-year-old man, no finding.",
        "AP chest X-ray of a 3-year-old girl with pneumonia.",
    )
    requests = [Request(prompt, "", seed) for seed, prompt in enumerate(prompts)]
    compute = pick("cpu", "float32")
    base, student = load("bundled", compute), load("bundled-few-step", compute)
    wanted = draw(base, requests, steps=48, guidance=1.5, scheduler="unipc").astype(float)
    few = [draw(model, requests, steps=8, guidance=1.0, scheduler="ddim") for model in (student, base)]
    by_student, by_base = (np.sqrt(((images - wanted) ** 2).mean(axis=(1, 2))) for images in few)
    assert (by_student < 0.7 * by_base).all()


def test_the_package_stays_small() -> None:
    total = sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.suffix in (".safetensors", ".npz"))
    assert 0 < total <= 48_000_000


def test_adults_and_children_are_unlike() -> None:
    """The encoder, which never saw a drawn image, tells which of the two was asked for."""
    from synthcxr.devices import pick
    from synthcxr.evaluation.encoder import LABELS, load_encoder
    from synthcxr.generation.sampler import Request, draw
    from synthcxr.models.registry import load

    model = load("bundled", pick("cpu"))
    prompts = (
        "PA chest X-ray of a 60-year-old woman, no finding.",
        "AP chest X-ray of a 3-year-old child, no finding.",
    )
    scores = []
    for prompt in prompts:
        images = draw(model, [Request(prompt, "", seed) for seed in range(4)], steps=8, guidance=3.0, scheduler="dpm++")
        scores.append(load_encoder().classify(list(images))[:, LABELS.index("child")])
    assert np.median(scores[0]) < 0.5 < np.median(scores[1])


@pytest.mark.parametrize("name", ["nih-adults", "kermany-children", "all", "bundled-training"])
def test_reference_features_fit_the_encoder(name: str) -> None:
    from synthcxr.evaluation.encoder import load_encoder
    from synthcxr.evaluation.features import read_reference

    found = read_reference(f"reference:{name}", load_encoder())
    assert len(found) > 200 and np.isfinite(found.features).all() and found.notes
    assert np.linalg.norm(found.identity, axis=1) == pytest.approx(np.ones(len(found)), abs=1e-3)


def test_the_card_lies_in_the_folder() -> None:
    """`make docs` puts it there, its picture left out."""
    card = (Path(__file__).parents[2] / "docs" / "model-card.md").read_text(encoding="utf-8")
    inside = (BUNDLED / "README.md").read_text(encoding="utf-8").split("\n\n")
    left_out = [part for part in card.split("\n\n") if part not in inside]
    assert [part[:2] for part in left_out] == ["![", "*T"]


def test_no_picture_ships_with_the_model() -> None:
    assert not [path for path in BUNDLED.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".dcm")]
    assert isinstance(BUNDLED, Path)
