"""Generation: a seed belongs to an image, and every image says how it was made."""

import csv
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthcxr import GenerateConfig, generate
from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.generation.drawing import describe_making
from synthcxr.generation.provenance import read_provenance
from synthcxr.imagefolder import read_rows
from synthcxr.images import read_grey, read_png_text
from synthcxr.models.registry import load
from synthcxr.seeds import row_seed
from synthcxr.store import read_manifest, sha256_file, verify


def make(model: Path, out: Path, **options: Any) -> Path:
    given: dict[str, Any] = {"prompt": "PA chest X-ray", "count": 10, "steps": 3, "batch_size": 4}
    return Path(generate(GenerateConfig(model=str(model), out=out, **(given | options))))


def pixels(folder: Path) -> list[np.ndarray[Any, Any]]:
    return [read_grey(row.path).astype(int) for row in read_rows(folder)]


def test_image_i_is_the_same_at_any_batch_size(tiny_model: Path, tmp_path: Path) -> None:
    sets = [pixels(make(tiny_model, tmp_path / str(size), batch_size=size)) for size in (1, 3, 8)]
    for index in range(10):
        assert all(np.abs(images[index] - sets[0][index]).max() <= 1 for images in sets)
    assert np.abs(sets[0][0] - sets[0][1]).max() > 1


def test_a_set_that_was_stopped_goes_on_to_equal_bytes(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tiny_model, tmp_path / "whole")
    stage: Any = import_module("synthcxr.generation.drawing")
    written: list[Path] = []
    write = stage.write_png

    def stop_after_six(path: Path, *rest: Any) -> None:
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(stage, "write_png", stop_after_six)
    with pytest.raises(KeyboardInterrupt):
        make(tiny_model, tmp_path / "stopped")
    monkeypatch.setattr(stage, "write_png", write)
    stamps = {path: path.stat().st_mtime_ns for path in written}
    stopped = make(tiny_model, tmp_path / "stopped")
    assert read_manifest(whole)["files"] == read_manifest(stopped)["files"]
    assert stamps == {path: path.stat().st_mtime_ns for path in written}, "what was there was drawn again"


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc", "euler", "lcm"])
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_the_images_are_those_of_the_plain_diffusers_loop(
    tiny_model: Path, tmp_path: Path, scheduler: str, rescale: float
) -> None:
    import diffusers

    from synthcxr.models.families.stable_diffusion import StableDiffusion

    ours = make(
        tiny_model,
        tmp_path / "set",
        count=2,
        batch_size=2,
        steps=5,
        scheduler=scheduler,
        guidance=4.0,
        guidance_rescale=rescale,
        negative_prompt="tube",
    )
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_model)
    pipeline.scheduler = getattr(diffusers, StableDiffusion.samplers[scheduler]).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    for row in read_rows(ours):
        image = pipeline(
            row.text, negative_prompt="tube", num_inference_steps=5, guidance_scale=4.0, guidance_rescale=rescale,
            generator=torch.Generator("cpu").manual_seed(row.fields["seed"]), output_type="np",
        ).images[0]  # fmt: skip
        assert np.abs(np.rint(image.mean(-1) * 255) - read_grey(row.path)).max() <= 1


def test_guidance_acts_between_its_start_and_end(tiny_model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"count": 2, "steps": 4, "guidance": 8.0, "batch_size": 2}
    whole = pixels(make(tiny_model, tmp_path / "whole", **options))
    none = pixels(make(tiny_model, tmp_path / "none", **options | {"guidance": 1.0}))
    empty = pixels(make(tiny_model, tmp_path / "empty", guidance_start=0.5, guidance_end=0.5, **options))
    part = pixels(make(tiny_model, tmp_path / "part", guidance_start=0.25, guidance_end=0.75, **options))
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(empty, none, strict=True))
    assert all(np.abs(a - b).max() > 1 for a, b in zip(part, none, strict=True))
    assert all(np.abs(a - b).max() > 1 for a, b in zip(part, whole, strict=True))
    row = read_rows(tmp_path / "part")[0].fields
    assert (row["guidance_start"], row["guidance_end"]) == (0.25, 0.75)


def test_seeds_are_those_of_the_design() -> None:
    import hashlib

    assert row_seed(7, 3, 1) == int.from_bytes(hashlib.sha256(b"7/3/1").digest()[:8]) >> 1 < 2**63
    seeds = {row_seed(s, i, a) for s in range(20) for i in range(50) for a in range(2)}
    assert len(seeds) == 2000


def test_every_image_says_how_it_was_made(tiny_model: Path, tmp_path: Path) -> None:
    folder = make(tiny_model, tmp_path / "set", count=2)
    assert verify(folder) == []
    row = read_rows(folder)[1]
    assert {
        "file_name",
        "text",
        "negative_prompt",
        "seed",
        "index",
        "attempt",
        "steps",
        "guidance",
        "scheduler",
    } <= row.fields.keys()
    said = read_provenance(row.path)
    assert said["seed"] == row.fields["seed"] == row_seed(0, 1) and said["synthetic"] is True
    assert row.fields["synthetic"] is True and "Not for diagnosis" in row.fields["notice"]
    digest = read_manifest(folder)["inputs"]["model"]["model_sha256"]
    assert said["model_sha256"] == row.fields["model_sha256"] == digest
    text = read_png_text(row.path)
    assert "Not for diagnosis" in text["Description"]
    assert f"Seed: {row.fields['seed']}" in text["parameters"] and "Steps: 3, Sampler: ddim" in text["parameters"]


def test_an_image_names_the_manifest_of_the_run_that_drew_it(tiny_model: Path, tmp_path: Path) -> None:
    run = make(tiny_model, tmp_path / "set", count=1)  # any folder with a manifest
    model = load(str(tiny_model), pick("cpu"))
    assert describe_making(model)["run_manifest_sha256"] is None
    made = describe_making(replace(model, reference=replace(model.reference, run=run)))
    assert made["run_manifest_sha256"] == sha256_file(run / "set.json")


def test_prompts_come_from_files(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\ntwo\n")
    assert [
        r.text for r in read_rows(make(tiny_model, tmp_path / "t", prompt=None, prompts=tmp_path / "p.txt", count=3))
    ] == ["one", "two", "one"]
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": "three", "age": 4, "junk": 1}) + "\n")
    row = read_rows(make(tiny_model, tmp_path / "j", prompt=None, prompts=tmp_path / "p.jsonl", count=None))[0]
    assert row.text == "three" and row.fields["age"] == 4 and "junk" not in row.fields
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "view"), ("four, five", "AP")])
    row = read_rows(make(tiny_model, tmp_path / "c", prompt=None, prompts=tmp_path / "p.csv", count=1))[0]
    assert row.text == "four, five" and row.fields["view"] == "AP"


def test_wrong_calls(tiny_model: Path, tmp_path: Path) -> None:
    for name, content, words in (
        ("e.txt", "\n", "no prompt"),
        ("e.csv", "a,b\n1,2\n", "column text"),
        ("e.pdf", "x", "is .txt"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UsageError, match=words):
            make(tiny_model, tmp_path / "out", prompt=None, prompts=tmp_path / name)
    with pytest.raises(UsageError, match="does not exist"):
        make(tiny_model, tmp_path / "out", prompt=None, prompts=tmp_path / "none.txt")
    assert not (tmp_path / "out").exists()


def test_a_changed_file_of_prompts_is_another_config(tiny_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.txt"
    prompts.write_text("one\n")
    make(tiny_model, tmp_path / "set", prompt=None, prompts=prompts, count=1)
    prompts.write_text("two\n")
    with pytest.raises(UsageError, match="prompts_sha256 differ"):
        make(tiny_model, tmp_path / "set", prompt=None, prompts=prompts, count=1)


def test_a_prompt_that_is_too_long_is_said(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tiny_model, tmp_path / "set", prompt="effusion " * 90 + "pneumothorax", count=1)
    assert "takes 77 tokens" in capsys.readouterr().err
