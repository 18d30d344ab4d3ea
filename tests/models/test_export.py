"""Exported runs: plain diffusers reads every form and draws what our own sampler draws of the run."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch

from synthcxr import ExportConfig, TrainConfig, export, train
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.training import find_training
from synthcxr.generation.sampler import Request, draw
from synthcxr.lineage import broken
from synthcxr.models.export import kohya_alpha
from synthcxr.models.registry import ADAPTER_FILE, load, resolve
from synthcxr.store import lineage, read_manifest, seal, verify

PROMPT = "PA chest X-ray"
SEEDS = (1, 2)
FORMS: tuple[Literal["diffusers-lora", "kohya", "merged"], ...] = ("diffusers-lora", "kohya", "merged")
Images = npt.NDArray[np.float64]

OPTIONS = {
    "alpha": {"rank": 2, "alpha": 1, "train_text_encoder": True},
    "stabilised": {"rank": 4, "alpha": 6, "rslora": True, "train_text_encoder": True},
}


def trained(dataset: Path, base: Path | str, out: Path, **options: Any) -> Path:
    given = {"steps": 3, "batch_size": 4, "learning_rate": 2e-2, "sample_steps": 1, "sample_every": 0}
    return Path(train(TrainConfig(datasets=[dataset], base=str(base), out=out, **(given | options))))


@pytest.fixture(scope="module", params=OPTIONS)
def run(
    request: pytest.FixtureRequest, dataset: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return trained(dataset, tiny_model, tmp_path_factory.mktemp("runs") / request.param, **OPTIONS[request.param])


@pytest.fixture(scope="module")
def plain_run(dataset: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(dataset, tiny_model, tmp_path_factory.mktemp("runs") / "plain", steps=1)


def ours(model: Path) -> Images:
    requests = [Request(PROMPT, "", seed) for seed in SEEDS]
    return draw(load(str(model), pick("cpu", "float32")), requests, steps=3, guidance=3.0).astype(float)


def theirs(pipeline: Any) -> Images:
    """The same images by nothing but diffusers."""
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        [PROMPT] * len(SEEDS),
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        output_type="np",
    ).images
    return np.stack([np.rint(image.mean(-1) * 255) for image in drawn]).astype(float)


def plain(base: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(base, torch_dtype=torch.float32)


def test_every_form_draws_the_same_in_plain_diffusers(run: Path, tiny_model: Path, tmp_path: Path) -> None:
    expected = ours(run)
    assert np.abs(theirs(plain(tiny_model)) - expected).max() > 1, "the adapter does nothing"
    out = {form: export(ExportConfig(folder=run, to=form, out=tmp_path / form)) for form in FORMS}

    pipeline = plain(tiny_model)
    pipeline.load_lora_weights(out["diffusers-lora"] / "adapter", weight_name=ADAPTER_FILE)
    assert np.abs(theirs(pipeline) - expected).max() <= 1

    pipeline = plain(tiny_model)
    pipeline.load_lora_weights(out["kohya"], weight_name=f"{run.name}.safetensors")
    assert np.abs(theirs(pipeline) - expected).max() <= 1

    assert np.abs(theirs(plain(out["merged"] / "model")) - expected).max() <= 1

    for form in ("diffusers-lora", "merged"):
        assert np.abs(ours(out[form]) - expected).max() <= 1, f"--model on {form}"
    for folder in out.values():
        assert verify(folder) == []
        chain = lineage(folder)
        assert not broken(chain) and chain["inputs"]["run"]["inputs"]["dataset-1"]["state"] == "intact"
        assert read_manifest(folder, "run")["sources"] == read_manifest(run)["sources"]
        assert find_training(folder).sources == find_training(run).sources != ()


def test_the_adapter_goes_out_byte_for_byte(plain_run: Path, tmp_path: Path) -> None:
    out = export(ExportConfig(folder=plain_run, to="diffusers-lora", out=tmp_path / "out"))
    name = f"adapter/{ADAPTER_FILE}"
    assert read_manifest(out)["files"][name] == read_manifest(plain_run)["files"][name]


def test_kohya_names_and_metadata(run: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    out = export(ExportConfig(folder=run, to="kohya", out=tmp_path / "out"))
    rank, alpha = {"alpha": (2, 1.0), "stabilised": (4, 6 * 2.0)}[run.name]  # 6 / √4 = 12 / 4
    with safe_open(out / f"{run.name}.safetensors", "pt") as file:
        keys, about = set(file.keys()), file.metadata()
        unet = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"
        text = "lora_te_text_model_encoder_layers_1_self_attn_out_proj"
        for layer in (unet, text):
            assert {f"{layer}.lora_down.weight", f"{layer}.lora_up.weight", f"{layer}.alpha"} <= keys
            assert file.get_tensor(f"{layer}.lora_down.weight").shape[0] == rank
            assert float(file.get_tensor(f"{layer}.alpha")) == alpha
        layers = {key.split(".")[0] for key in keys}
        assert len(keys) == 3 * len(layers)
        assert {layer.split("_")[1] for layer in layers} == {"unet", "te"}
    assert about["ss_network_dim"] == str(rank) and about["ss_network_alpha"] == str(alpha)
    assert about["ss_base_model_version"] == "tiny" and about["ss_network_module"] == "networks.lora"


def test_alpha_is_folded() -> None:
    assert kohya_alpha({"unet.lora_alpha": 16}, "unet", 4) == 16
    assert kohya_alpha({"unet.lora_alpha": 8, "unet.use_rslora": True}, "unet", 4) == pytest.approx(4 * 8 / 4**0.5)


def test_the_card_says_what_it_is(plain_run: Path, dataset: Path, tmp_path: Path) -> None:
    out = export(ExportConfig(folder=plain_run, to="diffusers-lora", out=tmp_path / "out"))
    card, manifest = (out / "README.md").read_text(), read_manifest(plain_run)
    assert manifest["inputs"]["base"]["model_sha256"] in card and "Synthetic, not for diagnosis" in card
    for name, value in (("method", "lora"), ("steps", 1), ("rank", 4), ("alpha", 4), ("batch_size", 4)):
        assert f"| {name} | {value} |" in card
    source = manifest["sources"][0]
    assert f"- {source['name']}: {source['licence']}." in card
    assert str(dataset) not in card and str(plain_run.parent) not in card, "the card names a place on this machine"
    code = card.split("```python\n")[1].split("```")[0]
    compile(code, "README.md", "exec")
    assert "load_lora_weights" in code


def test_a_run_that_holds_a_model_is_copied(dataset: Path, tmp_path: Path) -> None:
    run = trained(dataset, "layout:tiny", tmp_path / "run", method="full", steps=1)
    out = export(ExportConfig(folder=run, to="merged", out=tmp_path / "out"))
    names = [name for name in read_manifest(run)["files"] if name.startswith("model/")]
    assert names and all(read_manifest(out)["files"][name] == read_manifest(run)["files"][name] for name in names)
    assert resolve(str(out)).folder == out / "model"
    with pytest.raises(UsageError, match="run of --method full"):
        export(ExportConfig(folder=run, to="kohya", out=tmp_path / "other"))
    with pytest.raises(UsageError, match="itself exported"):
        export(ExportConfig(folder=out, to="merged", out=tmp_path / "other"))


def test_a_dora_is_merged_and_refused_for_kohya(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    run = trained(dataset, tiny_model, tmp_path / "run", dora=True, rank=2, alpha=4)
    with pytest.raises(UsageError, match="is a DoRA"):
        export(ExportConfig(folder=run, to="kohya", out=tmp_path / "kohya"))
    assert not (tmp_path / "kohya").exists()
    out = export(ExportConfig(folder=run, to="merged", out=tmp_path / "merged"))
    assert np.abs(theirs(plain(out / "model")) - ours(run)).max() <= 1


@pytest.mark.parametrize("method", ["encoder", "autoencoder"])
def test_runs_that_draw_nothing_are_refused(plain_run: Path, tmp_path: Path, method: str) -> None:
    (tmp_path / "run").mkdir()
    manifest = read_manifest(plain_run)
    manifest["config"]["method"] = method
    (tmp_path / "run" / "run.json").write_bytes(seal(manifest))
    for form in FORMS:
        with pytest.raises(UsageError, match=f"run of --method {method}; --to {form} takes"):
            export(ExportConfig(folder=tmp_path / "run", to=form, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_changed_adapter_and_restricted_sources_are_refused(plain_run: Path, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(plain_run, tmp_path / "run"))
    manifest = read_manifest(run)
    manifest["sources"] = [{"name": "MIMIC-CXR", "licence": "PhysioNet 1.5.0", "restricted": True}]
    (run / "run.json").write_bytes(seal(manifest))
    with pytest.raises(UsageError, match=r"MIMIC-CXR restrict.*--accept-terms"):
        export(ExportConfig(folder=run, to="diffusers-lora", out=tmp_path / "out"))
    with (run / "adapter" / ADAPTER_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(SynthCXRError, match="changed: adapter"):
        export(ExportConfig(folder=run, to="diffusers-lora", out=tmp_path / "out", accept_terms=True))


def test_an_export_that_is_no_model_says_so(plain_run: Path, dataset: Path, tmp_path: Path) -> None:
    out = export(ExportConfig(folder=plain_run, to="kohya", out=tmp_path / "out"))
    with pytest.raises(UsageError, match=r"\(kohya\) holds neither"):
        resolve(str(out))
    with pytest.raises(UsageError, match="takes a run"):
        export(ExportConfig(folder=dataset, to="kohya", out=tmp_path / "other"))
