"""Training: exact resume, adapters that plain diffusers reads exactly, clear refusals."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthcxr import GenerateConfig, TrainConfig, generate, prepare, train
from synthcxr.devices import pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.encoder import load_encoder
from synthcxr.evaluation.features import read_features
from synthcxr.evaluation.training import TRAINING_FEATURES
from synthcxr.generation.sampler import Request, draw
from synthcxr.images import read_grey, write_png
from synthcxr.models.registry import ADAPTER_FILE, load
from synthcxr.store import read_jsonl, read_manifest, sha256_file, verify
from synthcxr.training import loop
from synthcxr.training.data import augment, batch_indices
from tests.conftest import made_up_xray, plain_config
from tests.training.stopping import stopped_at

Configure = Callable[..., TrainConfig]


@pytest.fixture
def configure(dataset: Path, tiny_model: Path, tmp_path: Path) -> Configure:
    def make(name: str = "run", **options: Any) -> TrainConfig:
        given: dict[str, Any] = {
            "datasets": [dataset],
            "base": str(tiny_model),
            "steps": 6,
            "batch_size": 4,
            "learning_rate": 1e-2,
            "sample_steps": 2,
            "checkpoint_every": 2,
        }
        return TrainConfig(**(given | {"out": tmp_path / name} | options))

    return make


@pytest.mark.parametrize("method", ["lora", "full", "autoencoder", "encoder"])
def test_a_run_stopped_at_any_step_ends_as_one_that_was_not(configure: Configure, method: str) -> None:
    options: dict[str, Any] = {"method": method, "ema_decay": 0.9, "latent_variants": 2}
    if method in ("lora", "full"):  # sheets are drawn without dropout, and steps after them are with it again
        options |= {"dropout": 0.3, "sample_every": 2}
    if method == "full":
        options["word_weight"] = 0.1
    whole = train(configure("whole", **options))
    with stopped_at(3, " of 6"):
        train(configure("stopped", **options))
    stopped = train(configure("stopped", **options))
    ours, theirs = read_manifest(whole)["files"], read_manifest(stopped)["files"]
    weights = [name for name in ours if name.endswith((".safetensors", ".png"))]
    assert weights and all(ours[name] == theirs[name] for name in weights)
    without_rate = [
        [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_jsonl(f / "log.jsonl")]
        for f in (whole, stopped)
    ]
    assert without_rate[0] == without_rate[1]


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"method": "full", "dropout": 0.5}])
def test_dropout_is_the_same_after_a_stop(configure: Configure, options: dict[str, Any]) -> None:
    whole = train(configure("whole", **options))
    plain = train(configure("plain", method=options.get("method", "lora")))
    with pytest.raises(SynthCXRError):
        train(configure("stopped", **options, max_hours=1e-9))
    stopped = train(configure("stopped", **options))
    weights = "model/unet/diffusion_pytorch_model.safetensors" if "method" in options else f"adapter/{ADAPTER_FILE}"
    assert sha256_file(whole / weights) == sha256_file(stopped / weights) != sha256_file(plain / weights)


def test_a_compiled_denoiser_learns_the_same(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(configure("plain"))
    compiled, build = [], torch.compile

    def watched(call: Any) -> Any:
        compiled.append(call)
        return build(call, backend="aot_eager")  # traced, forward and backward; without minutes of code generation

    monkeypatch.setattr(torch, "compile", watched)
    losses = [
        [row["loss"] for row in read_jsonl(run / "log.jsonl")]
        for run in (plain, train(configure("fast", compile=True)))
    ]
    assert len(compiled) == 1 and losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_target_that_is_not_there_is_refused(configure: Configure) -> None:
    with pytest.raises(UsageError, match="--targets nowhere names no layer"):
        train(configure(targets=["nowhere"]))


def test_as_many_checkpoints_stay_as_asked(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[str]] = []
    monkeypatch.setattr(
        "synthcxr.training.denoiser.DenoiserTask.sample",
        lambda *_: kept.append(sorted(path.name for path in (tmp_path / "run" / ".work").glob("checkpoint-*.pt"))),
    )
    train(configure(keep=1, checkpoint_every=2, sample_every=0))
    assert kept == [["checkpoint-00000006.pt"]]


def test_a_torn_checkpoint_gives_way_to_the_one_before(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(SynthCXRError):
        train(configure(max_hours=1e-9))
    scratch = tmp_path / "run" / ".work"
    first = next(iter(scratch.glob("checkpoint-*.pt")))
    (scratch / "checkpoint-00000005.pt").write_bytes(first.read_bytes()[:1000])
    assert read_manifest(train(configure()))["counts"]["steps"] == 6


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 4, "alpha": 16},
        {"rank": 2, "alpha": 1, "train_text_encoder": True},
        {"rank": 4, "alpha": 8, "rslora": True, "train_text_encoder": True},
        {"rank": 4, "alpha": 2, "dora": True},
        {"rank": 2, "targets": ["to_k", "proj_in", "ff.net.2"]},
    ],
)
def test_plain_diffusers_reads_the_adapter_exactly(
    configure: Configure, tiny_model: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    from diffusers import DiffusionPipeline

    run = train(configure(**options))
    made = generate(
        GenerateConfig(
            model=str(run),
            prompt="PA chest X-ray",
            count=2,
            steps=4,
            guidance=3.0,
            batch_size=2,
            out=tmp_path / "set",
        )
    )
    pipeline = DiffusionPipeline.from_pretrained(tiny_model)
    pipeline.set_progress_bar_config(disable=True)
    plain: list[Any] = []
    adapted: list[Any] = []
    seeds = [row["seed"] for row in read_jsonl(made / "train" / "metadata.jsonl")]
    for images in (plain, adapted):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        drawn = pipeline(
            ["PA chest X-ray"] * 2,
            num_inference_steps=4,
            guidance_scale=3.0,
            generator=generators,
            output_type="np",
        ).images
        images += [np.rint(image.mean(-1) * 255) for image in drawn]
        pipeline.load_lora_weights(run / "adapter", weight_name=ADAPTER_FILE)
    left = [name for part in load(str(run), pick("cpu")).pipeline.components.values() for name in layers_of(part)]
    assert not [name for name in left if "lora" in name], "the adapter is not in the weights"
    ours = [read_grey(made / "train" / f"{index:06d}.png").astype(float) for index in range(2)]
    assert all(np.abs(a - b).max() <= 1 for a, b in zip(ours, adapted, strict=True))
    assert any(np.abs(a - b).max() > 1 for a, b in zip(ours, plain, strict=True)), "the adapter does nothing"


def layers_of(part: Any) -> list[str]:
    return [name for name, _ in part.named_modules()] if isinstance(part, torch.nn.Module) else []


def test_a_run_is_a_folder_that_says_what_it_was(configure: Configure, dataset: Path) -> None:
    run = train(configure())
    manifest = read_manifest(run, "run")
    assert verify(run) == [] and not (run / ".work").exists()
    assert manifest["inputs"]["dataset-1"]["manifest_sha256"] == sha256_file(dataset / "dataset.json")
    assert manifest["counts"]["images_seen"] == 24
    log = read_jsonl(run / "log.jsonl")
    assert log[-1]["step"] == 6 and {"loss", "learning_rate", "images_per_second"} <= log[-1].keys()
    assert list((run / "samples").glob("*.png"))
    kept = read_features(run / TRAINING_FEATURES, "run", load_encoder())
    assert len(kept) == manifest["counts"]["images"] and kept.split == "train"
    assert TRAINING_FEATURES in manifest["files"]


def test_full_training_starts_from_random_weights_and_draws(configure: Configure) -> None:
    run = train(configure(base="layout:tiny", method="full"))
    model = load(str(run), pick("cpu"))
    assert draw(model, [Request("a", "", 1)], steps=2, guidance=1.0).shape == (1, 64, 64)


def test_training_learns(configure: Configure) -> None:
    run = train(
        configure(
            method="autoencoder",
            base="layout:tiny",
            steps=150,
            batch_size=8,
            crop_size=32,
            learning_rate=3e-3,
            checkpoint_every=150,
        )
    )
    log = read_jsonl(run / "log.jsonl")
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]


def test_init_takes_the_weights_that_fit_and_leaves_the_base_its_own(
    configure: Configure, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    narrow = train(configure("narrow", method="full", steps=1))
    configs = [narrow / "model" / "model_index.json", *(narrow / "model").glob("*/config.json")]
    assert len(configs) == 4 and not [path for path in configs if str(tiny_model) in path.read_text(encoding="utf-8")]
    run = train(
        configure("run", method="full", base="layout:tiny", init=str(narrow), steps=1, learning_rate=1e-12, seed=3)
    )
    assert "tensors start from" in capsys.readouterr().err
    unet, vae = (f"model/{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
    ours, theirs = load_file(run / unet), load_file(narrow / unet)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-3) for key in ours)
    assert read_manifest(run)["files"][vae] != read_manifest(narrow)["files"][vae]
    assert read_manifest(run)["inputs"]["init"]["manifest_sha256"] == sha256_file(narrow / "run.json")
    with pytest.raises(UsageError, match="--init is for"):
        train(configure("lora", init=str(narrow)))


def test_weights_of_another_shape_stay_as_they_are(tiny_model: Path) -> None:
    from synthcxr.training.train import start_from

    model, other = load(str(tiny_model), pick("cpu")), load(str(tiny_model), pick("cpu"))
    first = "conv_in.weight"
    held = {key: value.clone() for key, value in model.pipeline.unet.state_dict().items()}
    for parameter in other.pipeline.unet.parameters():
        parameter.data += 1
    other.pipeline.unet.conv_in = torch.nn.Conv2d(3, held[first].shape[0], 3, padding=1)
    start_from(model, other, ("unet",))
    now = model.pipeline.unet.state_dict()
    assert torch.equal(now[first], held[first])
    assert all(torch.allclose(now[key], held[key] + 1) for key in held if not key.startswith("conv_in"))


def test_the_held_out_loss_compares_between_runs(configure: Configure) -> None:
    losses = [
        read_manifest(train(configure(name, method="full", seed=seed, learning_rate=1e-12)))["measured"]
        for name, seed in (("one", 1), ("two", 2))
    ]
    assert losses[0]["held_out_loss"] == pytest.approx(losses[1]["held_out_loss"], rel=1e-3)
    assert losses[0]["held_out_loss"] > 0


def test_time_steps_are_drawn_where_asked() -> None:
    from synthcxr.training.denoiser import sample_times

    options: dict[str, Any] = {"datasets": [Path("d")], "out": Path("o")}
    generator = torch.Generator().manual_seed(0)
    middle = sample_times(TrainConfig(time_sampling="logit-normal", **options), 1000, 4000, generator)
    even = sample_times(TrainConfig(**options), 1000, 4000, generator)
    inside = [float(((times >= 250) & (times < 750)).float().mean()) for times in (middle, even)]
    # P(|z| < ln 3) of a standard normal
    assert inside[0] == pytest.approx(0.728, abs=0.03) and inside[1] == pytest.approx(0.5, abs=0.03)
    assert int(middle.min()) >= 0 and int(middle.max()) <= 999
    # Half of what is shifted by a lies beyond a / (1 + a) of the way.
    for sampling in ("uniform", "logit-normal"):
        shifted = sample_times(TrainConfig(time_sampling=sampling, time_shift=3, **options), 1000, 4000, generator)
        assert float((shifted >= 750).float().mean()) == pytest.approx(0.5, abs=0.03)
        assert int(shifted.min()) >= 0 and int(shifted.max()) <= 999
    again = torch.Generator().manual_seed(0)
    drawn = sample_times(TrainConfig(**options), 1000, 4000, again)
    assert torch.equal(drawn, torch.randint(0, 1000, (4000,), generator=again.manual_seed(0)))


def test_words_that_no_image_shows_are_told_apart_where_asked(configure: Configure) -> None:
    prompts = ["PA chest X-ray of a 50-year-old woman.", "PA chest X-ray of a 50-year-old man."]
    apart = []
    for weight in (0.0, 1.0):
        run = train(configure(f"words-{weight}", method="full", steps=30, word_weight=weight, sample_every=0))
        model = load(str(run), pick("cpu"))
        with torch.no_grad():
            (told,) = model.family.encode_text(model.pipeline, prompts).values()
        woman, man = told.float().mean(dim=1)
        apart.append(float((woman - man).norm() / woman.norm()))
        assert not [name for name in read_manifest(run)["files"] if "words" in name]
    assert apart[1] > 3 * apart[0]
    with pytest.raises(UsageError, match="text encoder that is trained"):
        train(configure("lora", word_weight=0.1))


def test_refusals(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rank 500 is larger"):
        train(configure(rank=500))
    with pytest.raises(UsageError, match="does not exist"):
        train(configure(datasets=[tmp_path / "none"]))
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="no manifest"):
        train(configure(datasets=[tmp_path / "plain"]))
    with pytest.raises(UsageError, match="--to merged"):
        train(configure(base=str(train(configure("adapter", steps=1)))))


def test_a_dataset_that_changed_is_refused(configure: Configure, dataset: Path, source: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(dataset, changed)
    options: dict[str, Any] = {"datasets": [changed], "cache": tmp_path / "cache"}
    with pytest.raises(SynthCXRError, match="Stopped at step 1"):
        train(configure(**options, max_hours=1e-9))
    image = sorted((changed / "train").glob("*.png"))[0]
    kept = image.read_bytes()
    write_png(image, made_up_xray(99))
    with pytest.raises(UsageError, match=rf"not what it was.*changed: train/{image.name}"):
        train(configure(**options))
    image.write_bytes(kept)
    assert train(configure("whole", **options)).is_dir()
    shutil.rmtree(changed)
    prepare(plain_config(source, changed, resolution=64, split="80/10/10"))
    with pytest.raises(UsageError, match="datasets_sha256 differ"):
        train(configure(**options))
    train(configure("other", **options))
    assert len(list((tmp_path / "cache").glob("latents-*.npy"))) == 2


def test_a_dataset_without_training_images_is_refused(configure: Configure, source: Path, tmp_path: Path) -> None:
    folder = prepare(plain_config(source, tmp_path / "dataset", resolution=64, split="0/50/50"))
    with pytest.raises(UsageError, match=r"no .*train"):
        train(configure(datasets=[folder]))


def test_a_loss_that_is_not_finite_stops_with_advice(configure: Configure) -> None:
    with pytest.raises(SynthCXRError, match="lower --learning-rate"):
        train(configure(method="full", learning_rate=1e30, clip_norm=1e30, steps=6))


def test_runs_of_other_configs_are_refused(configure: Configure, dataset: Path) -> None:
    train(configure(steps=2))
    with pytest.raises(UsageError, match="learning_rate differ"):
        train(configure(steps=2, learning_rate=1e-3))


def test_an_adapter_of_another_shape_is_refused(configure: Configure, tmp_path: Path) -> None:
    run = train(configure())
    shutil.rmtree(run / "adapter")
    with pytest.raises(UsageError, match="neither a model nor an adapter"):
        load(str(run), pick("cpu"))


@given(st.integers(1, 50), st.integers(1, 16), st.integers(0, 5))
def test_every_image_comes_once_an_epoch(count: int, size: int, seed: int) -> None:
    steps = -(-2 * count // size)
    seen = np.concatenate([batch_indices(count, size, step, seed) for step in range(steps)])
    assert sorted(seen[:count]) == list(range(count)) == sorted(seen[count : 2 * count])


@given(st.integers(0, 2**32 - 1))
def test_augmentation_never_flips(seed: int) -> None:
    image = made_up_xray(0)
    image[:20, :20] = 250  # a marker at the upper left
    changed = augment(image, np.random.default_rng(seed))
    assert changed.shape == image.shape
    assert changed[:16, :16].mean() > 200 > changed[:16, -16:].mean() + 0


def test_the_learning_rate() -> None:
    config = TrainConfig(
        datasets=[Path("d")], out=Path("o"), steps=100, learning_rate=1.0, warmup_steps=10, schedule="cosine"
    )
    rates = [loop.learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_the_learning_rate_that_decays_late() -> None:
    config = TrainConfig(datasets=[Path("d")], out=Path("o"), steps=100, learning_rate=1.0, schedule="decay")
    rates = [loop.learning_rate(config, step) for step in range(100)]
    assert rates[:80] == [1.0] * 80 and rates[90] == pytest.approx(0.5) and rates[99] == pytest.approx(0.05)


def test_augmentation_turns_by_little_about_the_crop() -> None:
    line = np.zeros((101, 101), np.uint8)
    line[:, 49:52] = 200
    still = augment(line, np.random.default_rng(1), contrast=0.0, turn_degrees=0.0)
    turned = augment(line, np.random.default_rng(1), contrast=0.0, turn_degrees=10.0)
    columns = [image.argmax(axis=1) for image in (still, turned)]
    assert columns[0][5] == columns[0][95]
    slope = np.rad2deg(np.arctan((columns[1][95] - columns[1][5]) / 90))
    assert 1 < abs(slope) < 10
    assert abs(int(columns[1][50]) - int(columns[0][50])) <= 2
