"""Editing: diffusers' numbers, nothing outside the region, and what an edited image says of its parent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthcxr import EditConfig, ExportConfig, GenerateConfig, clean, edit, export, generate
from synthcxr.config import CleanConfig
from synthcxr.errors import UsageError
from synthcxr.evaluation.training import find_training
from synthcxr.generation.provenance import read_provenance
from synthcxr.generation.region import box_mask, cells, cut, fade, paste, window_for
from synthcxr.generation.reproduce import reproduce
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, encode_png, read_grey, read_png_text, to_square, write_png
from synthcxr.seeds import row_seed
from synthcxr.store import lineage, read_manifest, verify
from tests.conftest import made_up_xray
from tests.data import dicom_files


def make(model: Path, image: Path, out: Path, **options: Any) -> Path:
    given: dict[str, Any] = {"prompt": "PA chest X-ray with effusion", "steps": 4}
    return Path(edit(EditConfig(model=str(model), image=image, out=out, **(given | options))))


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    write_png(tmp_path / "Doe.png", np.asarray(made_up_xray(3, 150)[:120]))
    return tmp_path / "Doe.png"


# --- the same numbers as diffusers ------------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "unipc", "euler"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_images_are_those_of_diffusers_img2img(
    tiny_model: Path, tmp_path: Path, xray: Path, scheduler: str, strength: float
) -> None:
    import diffusers
    from PIL import Image

    from synthcxr.models.families.stable_diffusion import StableDiffusion

    options: dict[str, Any] = {"scheduler": scheduler, "strength": strength, "steps": 5, "guidance": 4.0}
    ours = make(tiny_model, xray, tmp_path / "set", negative_prompt="tube", **options)
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(tiny_model)
    pipeline.scheduler = getattr(diffusers, StableDiffusion.samplers[scheduler]).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    row = read_rows(ours)[0]
    image = pipeline(
        row.text, image=Image.fromarray(to_square(read_grey(xray), 64)).convert("RGB"), strength=strength,
        negative_prompt="tube", num_inference_steps=5, guidance_scale=4.0, output_type="np",
        generator=torch.Generator("cpu").manual_seed(row_seed(0, 0)),
    ).images[0]  # fmt: skip
    assert np.abs(np.rint(image.mean(-1) * 255) - read_grey(row.path)).max() <= 1


# --- the region -------------------------------------------------------------------------------------------

sizes = st.integers(9, 90)


@given(sizes, sizes, st.data())
def test_outside_the_region_every_pixel_stays(height: int, width: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = f"{left},{top},{data.draw(st.integers(1, width - left))},{data.draw(st.integers(1, height - top))}"
    mask = box_mask(box, (height, width))
    rng = np.random.default_rng(0)
    image, new = (rng.integers(0, 256, shape).astype(np.uint8) for shape in ((height, width), (32, 32)))
    window = window_for((height, width), mask)
    inside = np.zeros_like(mask)
    inside[max(window.top, 0) : window.top + window.side, max(window.left, 0) : window.left + window.side] = True
    assert not (mask & ~inside).any(), "the model does not see all of the region"
    assert window.side in (min(height, width), max(height, width))
    result = paste(image, new, window, mask)
    assert np.array_equal(result[~mask], image[~mask])
    assert cells(mask, window, 4).any() and cut(image, window, 32).shape == (32, 32)
    share = fade(mask, 8)
    assert share[~mask].max(initial=0) == 0 < share[mask].min() and share.max() == 1


def test_a_region_is_where_it_is() -> None:
    image = np.arange(40 * 60).reshape(40, 60).astype(np.uint8)
    mask = box_mask("50,10,8,8", image.shape)
    window = window_for((40, 60), mask)
    assert (window.top, window.left, window.side) == (0, 18, 40)
    assert np.array_equal(cut(image, window, 40), image[:, 18:58])
    same = paste(image, cut(image, window, 40), window, mask)
    assert np.array_equal(same, image), "what was cut and pasted came back elsewhere"
    assert np.argwhere(cells(mask, window, 5)).tolist() == [[1, 4], [2, 4]], "rows 10 to 17, columns 32 to 39 of 40"


def test_an_edited_region_of_a_real_xray(tiny_model: Path, tmp_path: Path, shared_data: Path) -> None:
    path = sorted((shared_data / "kermany" / "images").iterdir())[0]
    image = read_grey(path)
    mask = np.zeros(image.shape, np.uint8)
    mask[100:300, 200:420] = 255
    write_png(tmp_path / "mask.png", mask)
    folder = make(tiny_model, path, tmp_path / "set", mask=tmp_path / "mask.png", count=2, strength=1.0)
    one, other = (row.read() for row in read_rows(folder))
    assert one.shape == image.shape and np.array_equal(one[mask == 0], image[mask == 0])
    assert (one != image)[mask > 0].mean() > 0.5 and not np.array_equal(one, other)
    assert np.array_equal(read_grey(folder / "mask.png"), mask)
    whole = make(tiny_model, path, tmp_path / "set2", box="200,100,220,200", strength=1.0)
    assert np.array_equal(read_rows(whole)[0].read(), one), "a box is a mask"


# --- what it says of itself -------------------------------------------------------------------------------


def test_an_image_edited_from_a_patients_says_so(
    tiny_model: Path, dataset: Path, tmp_path: Path, xray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = read_rows(dataset)[0].path
    for image, kind in ((real, "real"), (xray, "unknown")):
        folder = make(tiny_model, image, tmp_path / kind)
        said, text = read_provenance(folder / "train" / "000000.png"), read_png_text(folder / "train" / "000000.png")
        assert said["parent_kind"] == kind and len(said["parent_sha256"]) == 64 and said["strength"] == 0.5
        assert "of a patient" in text["Description"] and "Not of a person" not in text["Description"]
        manifest = read_manifest(folder)
        assert manifest["edited_from"] == kind and "not free of that patient" in manifest["notes"][0]
        assert "not free of that patient" in capsys.readouterr().err
        assert verify(folder) == [] and "Doe" not in (folder / "set.json").read_text()
        with pytest.raises(UsageError, match="may be, a patient's"):
            export(ExportConfig(folder=folder, out=tmp_path / "dicom", to="dicom"))
        with pytest.raises(UsageError, match="was edited"):
            reproduce(folder / "train" / "000000.png")
        again = make(tiny_model, folder / "train" / "000000.png", tmp_path / f"{kind}-again")
        assert read_manifest(again)["edited_from"] == kind, "an edit of an edit is no freer of the patient"
    assert lineage(tmp_path / "real")["inputs"]["parent"]["kind"] == "dataset"
    assert read_manifest(tmp_path / "real")["sources"] == read_manifest(dataset)["sources"]
    assert "X-ray" not in find_training(tmp_path / "unknown").reason


def test_an_edited_synthetic_image_stays_synthetic(tiny_model: Path, tmp_path: Path) -> None:
    drawn = generate(GenerateConfig(model=str(tiny_model), prompt="a", count=1, steps=2, out=tmp_path / "drawn"))
    folder = make(tiny_model, drawn / "train" / "000000.png", tmp_path / "set", box="8,8,20,20")
    assert read_manifest(folder)["edited_from"] == "synthetic"
    assert "Not of a person" in read_png_text(folder / "train" / "000000.png")["Description"]
    assert lineage(folder)["inputs"]["parent"]["inputs"]["model"]["state"] == "outside"
    assert clean(CleanConfig(folder=folder, out=tmp_path / "clean", workers=1)).counts["images"] == 1
    assert list((export(ExportConfig(folder=folder, out=tmp_path / "dicom", to="dicom")) / "dicom").glob("*.dcm"))


def test_a_stopped_edit_goes_on(tiny_model: Path, tmp_path: Path, xray: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    whole = make(tiny_model, xray, tmp_path / "whole", count=3)
    stage: Any = import_module("synthcxr.generation.edit")
    redraw, calls = stage.redraw, []

    def stop(*given: Any) -> Grey:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return redraw(*given)  # type: ignore[no-any-return]

    monkeypatch.setattr(stage, "redraw", stop)
    with pytest.raises(KeyboardInterrupt):
        make(tiny_model, xray, tmp_path / "stopped", count=3)
    stopped = make(tiny_model, xray, tmp_path / "stopped", count=3)
    assert len(calls) == 4 and read_manifest(whole)["files"] == read_manifest(stopped)["files"]
    with pytest.raises(UsageError, match="parent_sha256"):
        write_png(xray, made_up_xray(4, 120))
        make(tiny_model, xray, stopped, count=3)


def test_a_dicom_can_be_edited(tiny_model: Path, tmp_path: Path) -> None:
    dicom_files.save(dicom_files.make(made_up_xray(1, 100), 8), tmp_path / "a.dcm")
    folder = make(tiny_model, tmp_path / "a.dcm", tmp_path / "set", box="10,10,30,30")
    image = read_rows(folder)[0].read()
    assert image.shape == (100, 100) and np.array_equal(image[50:], made_up_xray(1, 100)[50:])


def test_wrong_calls_of_edit(tiny_model: Path, tmp_path: Path, xray: Path) -> None:
    write_png(tmp_path / "small.png", np.full((10, 10), 255, np.uint8))
    write_png(tmp_path / "black.png", np.zeros((120, 150), np.uint8))
    (tmp_path / "broken.png").write_bytes(encode_png(made_up_xray(1))[:300])
    (tmp_path / "words.png").write_text("no picture")
    for options, words in (
        ({"box": "140,10,20,20"}, "reaches out of the image, which has 150 by 120"),
        ({"mask": tmp_path / "small.png"}, "10 by 10 pixels, the image 150 by 120"),
        ({"mask": tmp_path / "black.png"}, "black throughout"),
        ({"mask": tmp_path / "none.png"}, "does not exist"),
        ({"image": tmp_path / "none.png"}, "does not exist"),
        ({"image": tmp_path}, "no file"),
        ({"image": tmp_path / "broken.png"}, "cannot be edited"),
        ({"image": tmp_path / "words.png"}, "cannot be edited"),
        ({"out": tmp_path}, "lie in each other"),
        ({"model": "bundeld"}, "Did you mean bundled"),
    ):
        given: dict[str, Any] = {"image": xray, "out": tmp_path / "set", "prompt": "a", "model": str(tiny_model)}
        with pytest.raises(UsageError, match=words):
            edit(EditConfig(**(given | options)))
        assert not (tmp_path / "set").exists()
    for values, words in (
        ({"box": "1,2,3"}, "X,Y,WIDTH,HEIGHT"),
        ({"box": "1,2,3,0"}, "X,Y,WIDTH,HEIGHT"),
        ({"box": "1,2,3,4", "mask": "m.png"}, "not both"),
        ({"strength": 0.01}, "less than one step"),
        ({"strength": 0}, "greater than 0"),
    ):
        with pytest.raises(UsageError, match=words):
            EditConfig.load({"image": xray, "out": tmp_path / "set", "prompt": "a"} | values)
