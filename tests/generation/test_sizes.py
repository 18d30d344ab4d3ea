"""Sets of several sizes: image i stays the same however it is drawn, and is what plain diffusers draws."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthcxr import GenerateConfig, generate
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.reproduce import reproduce
from synthcxr.imagefolder import read_rows
from synthcxr.images import read_grey, read_png_text
from synthcxr.store import read_manifest, verify
from tests.generation.test_drawing import stage
from tests.generation.test_generate import make, pixels

TALL, SQUARE = (160, 96), (128, 128)


def like(dataset: Path, model: Path, out: Path, **options: Any) -> Path:
    given: dict[str, Any] = {"steps": 1, "batch_size": 4, "guidance": 1.0}
    return Path(generate(GenerateConfig(model=str(model), like=dataset, out=out, **(given | options))))


def test_a_set_like_a_dataset_of_buckets(bucketed: Path, tiny_wide: Path, tmp_path: Path) -> None:
    whole = like(bucketed, tiny_wide, tmp_path / "whole")
    rows = read_rows(whole)
    assert Counter(row.size for row in rows) == Counter(row.size for row in read_rows(bucketed, "train"))
    assert [row.fields["index"] for row in rows] == list(range(len(rows)))
    assert all(row.read().shape == row.size for row in rows) and verify(whole) == []
    tall = next(row for row in rows if row.size == TALL)
    assert "Size: 96x160" in read_png_text(tall.path)["parameters"]
    assert read_manifest(whole)["preprocessing"] == "8-bit grey, drawn at 128, 96×160 px"
    one = like(bucketed, tiny_wide, tmp_path / "one", batch_size=1)
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(pixels(whole), pixels(one), strict=True))
    with pytest.raises(SynthCXRError, match="Stopped after 4"):
        like(bucketed, tiny_wide, tmp_path / "stopped", max_hours=1e-9)
    stopped = like(bucketed, tiny_wide, tmp_path / "stopped")
    assert read_manifest(stopped)["files"] == read_manifest(whole)["files"]
    moved = [row for row in rows if row.fields["place"] != row.fields["index"] % 4]
    assert moved and reproduce(moved[-1].path, str(tiny_wide)).equal_bytes


def test_what_is_drawn_again_keeps_its_size(
    bucketed: Path, tiny_wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthcxr.generation import gate

    monkeypatch.setattr(gate, "why_blank", lambda image: "odd" if image[:, :40].mean() % 2 < 1 else "")
    made = like(bucketed, tiny_wide, tmp_path / "set", accept=["blank"], attempts=3)
    rows = read_rows(made)
    assert any(row.fields["attempt"] for row in rows) and all(row.read().shape == row.size for row in rows)
    again = [row for row in rows if row.fields["attempt"]]
    assert reproduce(again[0].path, str(tiny_wide)).equal_bytes


@pytest.mark.parametrize(("height", "width"), [(160, 96), (104, 136)])  # of the second, cells cannot be halved twice
def test_plain_diffusers_draws_the_same_at_any_size(tiny_wide: Path, tmp_path: Path, height: int, width: int) -> None:
    import diffusers

    ours = make(tiny_wide, tmp_path / "set", count=2, batch_size=2, steps=4, guidance=4.0, size=f"{width}x{height}")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_wide)
    pipeline.set_progress_bar_config(disable=True)
    for row in read_rows(ours):
        image = pipeline(
            row.text, num_inference_steps=4, guidance_scale=4.0, height=height, width=width,
            generator=torch.Generator("cpu").manual_seed(row.fields["seed"]), output_type="np",
        ).images[0]  # fmt: skip
        assert np.abs(np.rint(image.mean(-1) * 255) - read_grey(row.path)).max() <= 1


def test_sana_draws_other_shapes_as_plain_diffusers_does(tiny_sana: Path, tmp_path: Path) -> None:
    import diffusers

    ours = make(tiny_sana, tmp_path / "set", count=1, batch_size=1, steps=3, guidance=3.0, size="96x64")
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_sana)
    pipeline.set_progress_bar_config(disable=True)
    row = read_rows(ours)[0]
    image = pipeline(
        row.text, num_inference_steps=3, guidance_scale=3.0, height=64, width=96, complex_human_instruction=None,
        use_resolution_binning=False, generator=torch.Generator("cpu").manual_seed(row.fields["seed"]),
        output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(np.rint(image.mean(-1) * 255) - read_grey(row.path)).max() <= 1


@pytest.mark.parametrize("size", ["100x128", "8x64", "96", "4096x64"])
def test_sizes_that_cannot_be(size: str) -> None:
    with pytest.raises(SynthCXRError, match="--size"):
        GenerateConfig.load({"prompt": "x", "out": "o", "size": size})
    with pytest.raises(SynthCXRError, match="not both"):
        GenerateConfig.load({"prompt": "x", "out": "o", "size": "64x96", "resolution": 64})


def test_a_side_that_the_model_has_no_cells_for_is_refused(
    tiny_wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artist = stage.artist_for

    def coarse(job: Any) -> Any:
        found = artist(job)
        found.model.pipeline.vae_scale_factor = 32
        return found

    monkeypatch.setattr(stage, "artist_for", coarse)
    with pytest.raises(UsageError, match="multiples of 32 px, not 96×136"):
        make(tiny_wide, tmp_path / "set", size="96x136")
