"""Few-step students: their strides, what they learn from, that they learn it, and what draws them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, UniPCMultistepScheduler

from synthcxr import GenerateConfig, TrainConfig, generate, train
from synthcxr.devices import pick
from synthcxr.errors import UsageError
from synthcxr.generation.sampler import Request, draw
from synthcxr.images import read_grey
from synthcxr.models.registry import ADAPTER_FILE, load
from synthcxr.seeds import seed_for
from synthcxr.store import read_jsonl, read_manifest
from synthcxr.training.student import StudentTask, match, strides
from synthcxr.training.team import Team
from synthcxr.training.train import load_base, read_data
from tests.training.stopping import stopped_at

Configure = Callable[..., TrainConfig]
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture
def configure(dataset: Path, tiny_model: Path, tmp_path: Path) -> Configure:
    def make(name: str = "run", **options: Any) -> TrainConfig:
        given: dict[str, Any] = {
            "datasets": [dataset],
            "base": str(tiny_model),
            "student_steps": 4,
            "teacher_steps": 12,
            "teacher_draws": 32,
            "steps": 6,
            "batch_size": 4,
            "checkpoint_every": 2,
        }
        return TrainConfig(**(given | {"out": tmp_path / name} | options))

    return make


def task_of(config: TrainConfig) -> StudentTask:
    rows, held_out = read_data(config)
    return StudentTask(load_base(config), config, rows, config.out, held_out, Team())


@pytest.mark.parametrize(
    ("kind", "zero_snr"), [("v_prediction", True), ("v_prediction", False), ("epsilon", False)]
)  # an epsilon says nothing of the image where there is no signal
def test_a_stride_is_a_step_of_the_sampler(kind: str, zero_snr: bool) -> None:
    sampler = DDIMScheduler(
        **SCHEDULE, prediction_type=kind, rescale_betas_zero_snr=zero_snr, timestep_spacing="trailing",
        clip_sample=False,
    )  # fmt: skip
    sampler.set_timesteps(8)
    found = strides(sampler)
    generator = torch.Generator().manual_seed(0)
    for place, time in enumerate(sampler.timesteps):
        latents, prediction = torch.randn((2, 4, 4), generator=generator)
        stepped = sampler.step(prediction, time, latents, return_dict=False)[0]
        torch.testing.assert_close(found.keep[place] * latents + found.gain[place] * prediction, stepped)
        signal = float(sampler.alphas_cumprod[time])
        # Salimans and Ho, section 4: max(signal to noise, 1) times the squared error of the image
        to_image = 1 - signal if kind == "v_prediction" else (1 - signal) / signal
        assert found.weights[place] == pytest.approx(max(signal / (1 - signal), 1) * to_image, rel=1e-4)


def test_strides_begin_where_the_teacher_walks() -> None:
    def spaced(kind: Any, steps: int, spacing: str) -> Any:
        sampler = kind(**SCHEDULE, timestep_spacing=spacing, steps_offset=1)
        sampler.set_timesteps(steps)
        return sampler

    _, places = match(spaced(DDIMScheduler, 8, "trailing"), spaced(UniPCMultistepScheduler, 48, "trailing"))
    assert places == [0, 6, 12, 18, 24, 30, 36, 42, 48]
    _, places = match(spaced(DDIMScheduler, 8, "leading"), spaced(DDIMScheduler, 40, "leading"))
    assert places == [0, 9, 14, 19, 24, 29, 34, 39, 40]  # both begin in noise, at times 876 and 976
    with pytest.raises(UsageError, match="--teacher-scheduler ddim"):  # as Stable Diffusion's own spacing has it
        match(spaced(DDIMScheduler, 8, "leading"), spaced(UniPCMultistepScheduler, 48, "leading"))


def test_the_ways_are_those_that_the_teacher_draws(configure: Configure) -> None:
    task = task_of(configure(teacher_guidance=3.0, dtype="float32"))
    seeds = [seed_for(0, "teacher", number) for number in range(8)]
    requests = [Request(prompt, "", seed) for prompt, seed in zip(task.prompts, seeds, strict=False)]
    drawn = draw(load(task.config.base, pick("cpu", "float32")), requests, steps=12, guidance=3.0, scheduler="unipc")
    ends = torch.from_numpy(task.ways[:8, -1].astype(np.float32))
    with torch.no_grad():
        decoded = task.family.decode_latents(task.pipeline, ends)
    assert np.abs(decoded.astype(int) - drawn).max() <= 1
    first = torch.randn((1, *task.latent_shape), generator=torch.Generator().manual_seed(seeds[3]))
    assert np.abs(task.ways[3, 0] - first.numpy()[0]).max() < 2e-3  # float16


def test_who_already_strides_as_the_teacher_has_nothing_to_learn(configure: Configure) -> None:
    same: dict[str, Any] = {"teacher_scheduler": "ddim", "teacher_guidance": 1.0, "dtype": "float32"}
    assert task_of(configure("as", teacher_steps=4, **same)).measure()["held_out_loss"] < 1e-4
    assert task_of(configure("other", teacher_steps=12, **same)).measure()["held_out_loss"] > 1e-3


def test_a_student_comes_nearer_to_its_teacher(configure: Configure) -> None:
    options: dict[str, Any] = {"method": "full", "batch_size": 16, "learning_rate": 5e-4, "teacher_draws": 64}
    run = train(configure(**options, steps=60, validate_every=60, checkpoint_every=60))
    before = task_of(configure("before", **options)).measure()["held_out_loss"]
    after = read_jsonl(run / "evidence.jsonl")[-1]["held_out_loss"]
    assert after < 0.9 * before  # of random weights there is little to learn
    assert read_manifest(run)["config"]["student_steps"] == 4


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_student_stopped_ends_as_one_that_was_not(configure: Configure, method: str) -> None:
    whole = train(configure("whole", method=method))
    with stopped_at(3, " of 6"):
        train(configure("stopped", method=method))
    ours, theirs = (read_manifest(run)["files"] for run in (whole, train(configure("stopped", method=method))))
    weights = [name for name in ours if name.endswith((".safetensors", ".png"))]
    assert weights and all(ours[name] == theirs[name] for name in weights)


def test_plain_diffusers_draws_a_student(
    configure: Configure, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(configure(learning_rate=1e-2))
    shared: dict[str, Any] = {"model": str(run), "prompt": "PA chest X-ray", "count": 2, "dtype": "float32"}
    made = generate(GenerateConfig(preset="preview", steps=4, out=tmp_path / "set", **shared))
    assert "trained to be drawn" not in capsys.readouterr().err
    pipeline = DiffusionPipeline.from_pretrained(tiny_model)
    pipeline.load_lora_weights(run / "adapter", weight_name=ADAPTER_FILE)
    for row in read_jsonl(made / "train" / "metadata.jsonl"):
        drawn = pipeline(
            "PA chest X-ray", num_inference_steps=4, guidance_scale=1.0, output_type="np",
            generator=torch.Generator().manual_seed(row["seed"]),
        ).images[0]  # fmt: skip
        ours = read_grey(made / "train" / row["file_name"]).astype(float)
        assert np.abs(ours - np.rint(drawn.mean(-1) * 255)).max() <= 1
    generate(GenerateConfig(steps=3, out=tmp_path / "other", **shared))
    assert "--steps 4 --scheduler ddim --guidance 1" in capsys.readouterr().err


def test_what_is_refused(configure: Configure, tiny_sana: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no multiple"):
        configure(teacher_steps=10)
    with pytest.raises(ValueError, match="lora and full"):
        configure(method="autoencoder")
    with pytest.raises(UsageError, match="Sana is none"):
        train(configure(base=str(tiny_sana)))
    with pytest.raises(UsageError, match="--student-steps 8"):
        generate(GenerateConfig(model=str(tiny_model), preset="preview", prompt="x", out=tmp_path / "set"))


def test_preview_of_the_bundled_model_is_its_students() -> None:
    needed: dict[str, Any] = {"prompt": "x", "out": Path("out")}
    assert GenerateConfig(preset="preview", **needed).model == "bundled-few-step"
    assert GenerateConfig(preset="preview", model="bundled", **needed).model == "bundled-few-step"
    assert GenerateConfig(preset="preview", model="mine", **needed).model == "mine"
    assert GenerateConfig(preset="fast", **needed).model == "bundled"
