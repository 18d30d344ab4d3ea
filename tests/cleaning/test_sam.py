"""Segment Anything with random weights in its exact layout: prompts, pixels and masks are those of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.sam import Sam, load_sam, prepare, prompt_points
from synthcxr.cleaning.segment import outline, strokes
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import Grey

from .xrays import CORNERS, burn, drawn_xray

SIDE = 64
BOX = Mark(CORNERS, "R", 0.9)
WITH_R = burn(drawn_xray(), "R")[:56, :48]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1]},
            **{"output_channels": 16, "image_size": SIDE, "patch_size": 8, "window_size": 4, "num_pos_feats": 8},
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("sam")
    SamModel(config).save_pretrained(place)
    return place


@pytest.fixture
def sam(folder: Path) -> Sam:
    return load_sam(str(folder), "cpu", "float32")


def test_a_mask_is_that_of_transformers_inside_the_outline(sam: Sam) -> None:
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    processor = SamImageProcessorPil(size={"longest_edge": SIDE}, pad_size={"height": SIDE, "width": SIDE})
    given = processor(np.stack([WITH_R] * 3, axis=-1), return_tensors="pt", input_data_format="channels_last")
    assert np.allclose(prepare(WITH_R, SIDE), given["pixel_values"][0], atol=1e-5)
    points = prompt_points(strokes(WITH_R, BOX), BOX)
    low, high = BOX.points.min(0), BOX.points.max(0)
    scale = SIDE / max(WITH_R.shape)
    with torch.no_grad():
        found = sam.network(
            pixel_values=given["pixel_values"],
            input_points=torch.from_numpy(points * scale)[None, None],
            input_boxes=torch.from_numpy(np.concatenate([low, high]) * scale)[None, None],
        )
    masks = processor.post_process_masks(
        found.pred_masks,
        given["original_sizes"],
        given["reshaped_input_sizes"],
        pad_size={"height": SIDE, "width": SIDE},
    )
    expected = masks[0][0, int(found.iou_scores[0, 0].argmax())].numpy()
    assert expected.any() and not expected.all()
    assert np.array_equal(sam(WITH_R, BOX), expected & outline(BOX, WITH_R.shape))


def test_points_lie_on_the_letters_one_on_each() -> None:
    image = burn(burn(drawn_xray(), "L"), "I", (34, 20))
    letters = strokes(image, BOX)
    points = prompt_points(letters, BOX)
    assert len(points) == 2
    assert all(letters[int(y), int(x)] for x, y in points)
    assert prompt_points(np.zeros_like(letters), BOX).tolist() == [[27.0, 29.0]]


def test_a_large_image_is_seen_by_a_crop_at_its_own_resolution(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.zeros((500, 400), np.uint8)
    large[300:356, 200:248] = WITH_R
    mark = Mark(tuple((x + 200, y + 300) for x, y in CORNERS), "R", 0.9)
    seen, look = [], sam._look

    def spy(crop: Grey) -> torch.Tensor:
        seen.append(crop.shape)
        return look(crop)

    monkeypatch.setattr(sam, "_look", spy)
    mask = sam(large, mark)
    assert seen == [(SIDE, SIDE)]
    assert not (mask & ~outline(mark, large.shape)).any()


def test_marks_of_one_image_are_looked_at_once(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, embed = [], sam.network.get_image_embeddings

    def spy(values: torch.Tensor) -> torch.Tensor:
        calls.append(values.shape)
        return embed(values)  # type: ignore[no-any-return]

    monkeypatch.setattr(sam.network, "get_image_embeddings", spy)
    image = burn(drawn_xray(), "X")
    for _ in range(3):
        sam(image, BOX)
    assert len(calls) == 1


def test_a_solid_marker_is_masked_as_without_it(sam: Sam) -> None:
    disc = Mark(((20, 20), (30, 20), (30, 30), (20, 30)), "", 1.0, "marker")
    assert np.array_equal(sam(WITH_R, disc), strokes(WITH_R, disc))


def test_what_is_no_sam_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sam-base, sam-large, sam-huge"):
        load_sam("sam-small")
    with pytest.raises(SynthCXRError, match=r"no transformers folder \(it has no config.json\)"):
        load_sam(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SynthCXRError, match=r"has no weights"):
        load_sam(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:100])
    with pytest.raises(SynthCXRError, match="kind 'bert'"):
        load_sam(str(tmp_path))
    load_sam.cache_clear()
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(SynthCXRError, match="cannot be loaded"):
        load_sam(str(tmp_path))
    with pytest.raises(SynthCXRError, match="The model sam-base is not here and could not be fetched"):
        load_sam("sam-base")
