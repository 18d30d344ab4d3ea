"""Models by reference, and folders that plain diffusers reads."""

import json
from pathlib import Path

import pytest
import torch

from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models import layout
from synthcxr.models.registry import BUNDLED, load, model_hash, resolve
from synthcxr.models.tokenizer import build_tokenizer
from synthcxr.prompts import Subject, write_prompt


def test_an_unknown_model_lists_near_names() -> None:
    with pytest.raises(UsageError, match="Did you mean bundled"):
        resolve("bundeld")


def test_references(tiny_model: Path, tmp_path: Path) -> None:
    assert resolve("bundled").folder == BUNDLED
    assert resolve(str(tiny_model)).folder == tiny_model
    assert resolve("someone/some-model").folder is None
    with pytest.raises(UsageError, match="is no model"):
        resolve(str(tmp_path))
    (tmp_path / "run.partial.json").write_text("{}")
    with pytest.raises(UsageError, match="not finished"):
        resolve(str(tmp_path))


def test_a_model_that_is_away_says_what_to_do() -> None:
    with pytest.raises(SynthCXRError, match="could not be fetched") as caught:
        load("sd21-base", pick("cpu"))
    assert "local diffusers folder" in str(caught.value)


def test_a_broken_model_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_bytes((tiny_model / "model_index.json").read_bytes())
    with pytest.raises(SynthCXRError, match="cannot be loaded"):
        load(str(tmp_path), pick("cpu"))


def test_the_folder_is_readable_by_older_readers(tiny_model: Path) -> None:
    from safetensors import safe_open

    with safe_open(tiny_model / "text_encoder" / "model.safetensors", "pt") as file:
        keys = list(file.keys())
        assert all(key.startswith("text_model.") for key in keys)
        assert {file.get_tensor(key).dtype for key in keys} == {torch.float16}
    assert json.loads((tiny_model / "text_encoder" / "config.json").read_text())["dtype"] == "float32"
    with safe_open(tiny_model / "unet" / "diffusion_pytorch_model.safetensors", "pt") as file:
        keys = list(file.keys())
        assert {file.get_tensor(key).dtype for key in keys} == {torch.float16}
    vocabulary = json.loads((tiny_model / "tokenizer" / "vocab.json").read_text())
    assert len(vocabulary) == len(build_tokenizer())
    assert (tiny_model / "tokenizer" / "merges.txt").read_text().startswith("#version")


def test_saving_and_loading_keeps_every_weight(tiny_model: Path) -> None:
    built, loaded = layout.build("tiny"), load(str(tiny_model), pick("cpu")).pipeline
    for name in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(built, name).state_dict(), getattr(loaded, name).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.allclose(ours[key], theirs[key], atol=1e-3) for key in ours)


def test_the_hash_is_of_every_file(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    assert model_hash(copy) == model_hash(tiny_model)
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    path = other / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text().replace("v_prediction", "epsilon"))
    assert model_hash(other) != model_hash(tiny_model)


def test_the_tokenizer_knows_the_fields_words_and_loses_none(tiny_model: Path) -> None:
    from transformers import CLIPTokenizer

    built, loaded = build_tokenizer(), CLIPTokenizer.from_pretrained(tiny_model / "tokenizer")
    prompt = write_prompt(Subject(age=58, sex="M", view="PA", findings=("Effusion", "Pleural_Thickening")))
    assert built(prompt).input_ids == loaded(prompt).input_ids
    pieces = built.convert_ids_to_tokens(built(prompt).input_ids)
    assert {"effusion</w>", "pleural</w>", "thickening</w>", "man</w>"} <= set(pieces)
    strange = "Überraschung 😀 zzz"
    assert built.decode(built(strange).input_ids, skip_special_tokens=True).replace(" ", "") == "überraschung😀zzz"
    assert built("a", padding="max_length").input_ids[1:4] == [
        built("a").input_ids[1],
        built.eos_token_id,
        built.eos_token_id,
    ]


@pytest.mark.real
def test_the_tokenizers_coverage_of_real_reports(shared_data: Path) -> None:
    """Reports only measure the vocabulary: at least 85 of 100 words of findings and impressions are one token."""
    import re
    import tarfile
    from xml.etree import ElementTree

    tokenizer = build_tokenizer()
    known = {piece.removesuffix("</w>") for piece in tokenizer.get_vocab() if piece.endswith("</w>")}
    words: list[str] = []
    with tarfile.open(shared_data / "openi" / "NLMCXR_reports.tgz") as archive:
        for member in list(archive)[:400]:
            if (file := archive.extractfile(member)) is not None:
                tree = ElementTree.parse(file)
                texts = [
                    part.text or ""
                    for part in tree.iter("AbstractText")
                    if part.get("Label") in ("FINDINGS", "IMPRESSION")
                ]
                words += re.findall(r"[a-z]+", " ".join(texts).lower().replace("xxxx", " "))
    assert len(words) > 5000
    assert sum(word in known for word in words) / len(words) > 0.85
