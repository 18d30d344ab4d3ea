"""Made-up folders, and stand-ins for the encoder and for the page."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from synthcxr.config import EvaluateConfig
from synthcxr.evaluation.content import Content
from synthcxr.evaluation.encoder import IDENTITY, LABELS, Encoder
from synthcxr.imagefolder import write_rows
from synthcxr.images import Grey, write_png
from synthcxr.store import Json, describe_input, open_output, read_json, sha256_file, write_json

BUNDLED: Json = {"model": {"name": "bundled", "kind": "model"}}


class Pixels(torch.nn.Module):
    """Features are the grey levels of sixteen pixels of an image of 8 × 8, the identity is eight of those, twice."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = x[:, 0, 16:128:32, 16:128:32].flatten(1)
        return features, torch.nn.functional.pad(2 * features[:, :8], (0, IDENTITY - 8))


class FakeEncoder(Encoder):
    """Its classifiers see the first pixels."""

    def label(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen: npt.NDArray[np.float32] = features[:, : len(LABELS)] / np.float32(2) + np.float32(0.5)
        return seen


ENCODER = FakeEncoder("fake", "f" * 64, 16, "sixteen pixels", Pixels(), None)


@dataclass
class Page:
    """Keeps what the page was to be written from."""

    contents: list[Content] = field(default_factory=list)

    def write_report(self, folder: Path, content: Content) -> None:
        (folder / "index.html").write_text("<!doctype html>")
        self.contents.append(content)


def noise(seed: int, side: int = 8) -> Grey:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def make_folder(folder: Path, kind: str, splits: dict[str, list[Grey]], inputs: Json | None = None) -> Path:
    """A finished dataset (two images a patient) or set."""
    with open_output(folder, kind, {"crop": "center"}) as output:
        for split, images in splits.items():
            rows: list[Json] = []
            for i, image in enumerate(images):
                write_png(folder / split / f"{i:03d}.png", image)
                patient = {"patient_id": f"{split}-{i // 2}"} if kind == "dataset" else {}
                rows.append({"file_name": f"{i:03d}.png", "text": "", **patient})
            write_rows(folder, split, rows)
        output.finish(inputs=inputs or {}, counts={}, environment={})
    return folder


def make_run(folder: Path, inputs: dict[str, Path | Json]) -> Path:
    with open_output(folder, "run", {}) as output:
        described = {k: describe_input(v, folder) if isinstance(v, Path) else v for k, v in inputs.items()}
        output.finish(inputs=described, counts={}, environment={})
    return folder


def make_reference(folder: Path, name: str, n: int = 60, **changes: object) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    features = 2 * rng.random((n, 16), np.float32) - 1
    np.savez(
        folder / f"{name}.npz",
        features=features,
        identity=np.pad(2 * features[:, :8], ((0, 0), (0, IDENTITY - 8))),
        patients=np.arange(n) // 2,
    )
    about = {"source": "made up", "licence": "CC0", "encoder": "fake", "encoder_sha256": ENCODER.sha256}
    about["sha256"] = sha256_file(folder / f"{name}.npz")
    about |= {"preprocessing": ENCODER.preprocessing, "split": "test"}
    write_json(folder / f"{name}.json", {**about, "n": n, **changes})


def call(real: Path | str, synthetic: Path, out: Path, **more: object) -> EvaluateConfig:
    asked = {"questions": ["realism", "privacy"], **more}
    return EvaluateConfig.model_validate({"real": str(real), "synthetic": synthetic, "out": out, **asked})


def metrics_of(report: Path) -> dict[str, Json]:
    return {metric["name"]: metric for metric in read_json(report / "report.json")["metrics"]}
