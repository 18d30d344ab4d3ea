"""The whole road in minutes: every stage in its own folder, on nothing but the package or on real X-rays."""

import csv
import io
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.config import (
    CleanConfig,
    DemoConfig,
    EvaluateConfig,
    GenerateConfig,
    PrepareConfig,
    StageConfig,
    StudyNewConfig,
    TrainConfig,
)
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import Grey, read_grey, write_png
from synthcxr.progress import say
from synthcxr.prompts import Subject, write_prompt
from synthcxr.store import read_manifest, write_bytes, write_jsonl

DRAWN = "drawn by the bundled model, not of patients"
SAMPLER: dict[str, Any] = {"steps": 12, "scheduler": "dpm++", "guidance": 2.0}
MARKERS = ("L", "R", "PORTABLE", "AP ERECT", "ID 204417", "12-03-2019", "SUPINE")
STUDY_IMAGES = 6
PROMPTS, SOURCE_PROMPTS = "prompts.jsonl", "source-prompts.jsonl"


def demo(config: DemoConfig) -> Path:
    """Run every stage, say each as the command that does the same, and give the report's page."""
    from synthcxr.cleaning.clean import clean
    from synthcxr.data.prepare import prepare
    from synthcxr.evaluation.evaluate import evaluate
    from synthcxr.generation.generate import generate
    from synthcxr.study.new import new
    from synthcxr.training.train import train

    out = config.out
    shared: dict[str, Any] = {"overwrite": config.overwrite}
    device: dict[str, Any] = {"device": config.device, **shared}
    _check_place(config)
    source = config.data or draw_patients(config)

    step("prepare", prepare, PrepareConfig(source_path=source, out=out / "dataset", **_origin(config), **shared))
    _check_splits(out / "dataset")
    step(
        "clean",
        clean,
        CleanConfig(folder=out / "dataset", out=out / "dataset-clean", keep=["nothing"], allow_residual=True, **shared),
    )
    step(
        "train",
        train,
        TrainConfig(
            datasets=[out / "dataset-clean"], out=out / "run", base="bundled", steps=config.steps, batch_size=4,
            sample_steps=SAMPLER["steps"], checkpoint_every=config.steps, seed=config.seed, **device,
        ),
    )  # fmt: skip
    prompts = write_prompts(out / PROMPTS, config.count)
    step(
        "generate",
        generate,
        GenerateConfig(
            model=str(out / "run"),
            prompts=prompts,
            out=out / "drawn",
            seed=config.seed + 1,
            **SAMPLER,
            **device,
        ),
    )
    step("clean", clean, CleanConfig(folder=out / "drawn", out=out / "set", allow_residual=True, **shared))
    step(
        "study new",
        new,
        StudyNewConfig(
            real=out / "dataset-clean",
            synthetic=out / "set",
            count=study_size(out),
            match=False,  # a handful of images has no match for every one
            out=out / "study",
            seed=config.seed,
            **shared,
        ),
    )
    step(
        "evaluate",
        evaluate,
        EvaluateConfig(
            real=str(out / "dataset-clean") if config.data else "reference:all", synthetic=out / "set",
            study=out / "study", show_removed_text=not config.data, out=out / "report", seed=config.seed, **device,
        ),
    )  # fmt: skip
    page = out / "report" / "index.html"
    drawn = "" if config.data else f"Its dataset was {DRAWN}; the distances are to real held-out patients.\n"
    say(
        f"\nThe report: {page}\n{drawn}"
        "Next: your own X-rays with `synthcxr demo --data FOLDER --out DIR`, or stage by stage as above;\n"
        f"a blinded reading from {out / 'study'}; the chain behind it with `synthcxr lineage {out / 'report'}`;\n"
        f"all of it in a browser with `synthcxr app {out}`."
    )
    return page


def study_size(out: Path) -> int:
    """Images of each kind for the reading: a handful, or as many as the test split has."""
    return min(STUDY_IMAGES, int(read_manifest(out / "dataset")["counts"]["splits"]["test"]))


def _check_place(config: DemoConfig) -> None:
    """Refuse a folder that holds anything but an earlier demo; with --overwrite make room for a new source."""
    out = config.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; choose another --out.")
    if (
        out.is_dir()
        and any(out.iterdir())
        and not any((out / name).exists() for name in (PROMPTS, SOURCE_PROMPTS, "dataset"))
    ):
        raise UsageError(f"{out} is not empty and holds no demo. Choose another --out.")
    if config.overwrite and not config.data:
        shutil.rmtree(out / "source", ignore_errors=True)


def _check_splits(dataset: Path) -> None:
    counts = read_manifest(dataset)["counts"]
    if not (counts["splits"]["train"] and counts["splits"]["test"]):
        raise SynthCXRError(
            f"{counts['patients']} patients are too few to have some for training and some for testing; "
            "give images of ten patients or more."
        )


def step(verb: str, run: Callable[[Any], Any], config: StageConfig) -> None:
    """Say a stage as its command, and run it."""
    say(f"\n$ synthcxr {verb} {shlex.join(config.as_arguments())}")
    run(config)


def subjects(count: int) -> list[Subject]:
    """People of all kinds that the bundled model knows, in a fixed order: adults of both views, small children."""
    adults = ("No Finding", "Effusion", "Pneumonia", "Infiltration", "Atelectasis")
    children = ("No Finding", "Bacterial pneumonia", "Viral pneumonia")
    found = []
    for index in range(count):
        if index % 5 < 2:
            found.append(Subject(age=1 + index // 5 % 5, view="AP", findings=(children[index % 3],)))
        else:
            view, sex = ("PA", "AP")[index % 2], ("F", "M")[index // 2 % 2]
            found.append(Subject(age=20 + index * 7 % 65, sex=sex, view=view, findings=(adults[index // 5 % 5],)))
    return found


def write_prompts(path: Path, count: int) -> Path:
    """A file of prompts for `count` people."""
    people = subjects(count)
    rows = [
        {"text": write_prompt(p), "age": p.age, "sex": p.sex, "view": p.view, "findings": list(p.findings)}
        for p in people
    ]
    write_jsonl(path, rows)
    return path


def draw_patients(config: DemoConfig) -> Path:
    """A source as a hospital might hand it out, drawn by the bundled model: images, a table, text burned into some."""
    from synthcxr.generation.generate import generate

    prompts = write_prompts(config.out / SOURCE_PROMPTS, config.count)
    drawn = GenerateConfig(
        preset="preview", prompts=prompts, out=config.out / "source-drawn", seed=config.seed, device=config.device,
        overwrite=config.overwrite,
    )  # fmt: skip
    step("generate", generate, drawn)
    source = config.out / "source"
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(("file_name", "patient_id", "age", "sex", "view", "findings"))
    for index, person in enumerate(subjects(config.count)):
        name = f"images/patient-{index:03d}.png"
        image = read_grey(drawn.out / "train" / f"{index:06d}.png")
        write_png(source / name, burn_in(image, index) if index % 3 == 0 else image)
        writer.writerow((name, f"patient-{index:03d}", person.age, person.sex, person.view, "|".join(person.findings)))
    write_bytes(source / "metadata.csv", table.getvalue().encode())
    return source


def burn_in(image: Grey, index: int) -> Grey:
    """An image with a marker as consoles burn it in: white, in a corner."""
    from PIL import Image, ImageDraw, ImageFont

    side = image.shape[0]
    canvas = Image.fromarray(image)
    text = MARKERS[index // 3 % len(MARKERS)]
    font = ImageFont.load_default(size=side // (10 if len(text) == 1 else 16))
    pen = ImageDraw.Draw(canvas)
    width = pen.textlength(text, font=font)
    corners = (
        (side // 24, side // 24),
        (side - width - side // 24, side // 24),
        (side // 24, side - side // 8),
    )
    pen.text(corners[index // 3 % 3], text, fill=255, font=font)
    return np.asarray(canvas)


def _origin(config: DemoConfig) -> dict[str, Any]:
    if config.data:
        return {}
    # Nobody's ids are in it, and the gate is for X-rays of people.
    return {"name": "bundled-model", "licence": f"Apache-2.0; {DRAWN}", "ids": "keep", "skip_checks": ["all"]}
