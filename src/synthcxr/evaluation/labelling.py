"""Who says what an image shows: the bundled classifiers, or a TorchScript or ONNX file of the user's own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthcxr.config.base import explain
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.encoder import LABELS, Encoder
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.features import FeatureSet, with_extractor
from synthcxr.evaluation.intervals import Floats
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, resize
from synthcxr.store import sha256_file


@dataclass(frozen=True)
class Labeller:
    """A classifier: `see` gives probabilities (N, labels) of a side's N images, in the order of `labels`."""

    name: str
    sha256: str
    preprocessing: str
    labels: tuple[str, ...]
    see: Callable[[FeatureSet], Floats]


def bundled_labeller(encoder: Encoder) -> Labeller:
    """The classifiers of the bundled encoder, which read its features: they need no pixels."""

    def see(side: FeatureSet) -> Floats:
        return encoder.label(side.features.astype(np.float32)).astype(np.float64)

    return Labeller(encoder.name, encoder.sha256, encoder.preprocessing, LABELS, see)


def stated(label: str, fields: dict[str, Any]) -> float:
    """What a row's fields state of a label: 1, 0, or NaN where they do not say.

    The bundled classifiers' labels mean what they were trained on; any other is a finding by its name, however that
    is written (``Pleural_Thickening``, ``pleural thickening``).
    """
    from synthcxr.training.encoder import targets

    if label in LABELS:
        return float(targets(Row(Path(), "train", "", fields))[LABELS.index(label)])
    findings = fields.get("findings") or ()
    return float(plain(label) in map(plain, findings)) if findings else float("nan")


def plain(finding: str) -> str:
    """A finding's name without case, underscores and hyphens."""
    return " ".join(finding.lower().replace("_", " ").replace("-", " ").split())


# --- a file of the user's own ------------------------------------------------------------------------------


class Described(BaseModel):
    """``NAME.json`` beside a classifier's file: what it takes and what its outputs mean.

    An image is made square by its central part, resized to `side` (Lanczos), its grey levels 0 to 255 laid on `range`,
    then `mean` taken off and divided by `std`, in `channels` equal channels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: Annotated[list[str], Field(min_length=1)]
    side: Annotated[int, Field(ge=8, le=2048)]
    channels: Literal[1, 3] = 1
    range: tuple[float, float] = (0.0, 1.0)
    mean: float = 0.0
    std: Annotated[float, Field(gt=0)] = 1.0
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"

    def in_words(self) -> str:
        """The preprocessing, in words."""
        low, high = self.range
        return (
            f"8-bit grey square, Lanczos to {self.side} px, scaled to {low:g}..{high:g}, mean {self.mean:g}, "
            f"deviation {self.std:g}, {self.channels} channels, {self.activation}"
        )


def open_labeller(file: Path, batch_size: int = 32, device: str = "auto") -> Labeller:
    """A classifier from a TorchScript (``.pt``, ``.pth``, ``.ts``) or ONNX (``.onnx``) file.

    Raises UsageError where it, or the ``NAME.json`` that says what its outputs mean, is missing or says something else.
    """
    if not file.is_file():
        raise UsageError(f"--classifier {file} does not exist.")
    beside = file.with_suffix(".json")
    if not beside.is_file():
        raise UsageError(
            f'--classifier {file.name}: {beside} is missing. It says what goes in and comes out, such as {{"labels": '
            '["Effusion", "pa_view"], "side": 224}.'
        )
    try:
        described = Described(**json.loads(beside.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise UsageError(f"{beside}: {explain(error).replace('--', '')}") from None
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(f"{beside} is no JSON object: {error}") from error
    network = _open_onnx(file) if file.suffix == ".onnx" else _open_torchscript(file)
    extractor = Extractor(
        name=file.stem,
        title=f"the classifier {file.name}",
        sha256=sha256_file(file),
        dimension=len(described.labels),
        preprocessing=described.in_words(),
        distance="frechet_distance",
        prepare=partial(_prepare, described),
        network=_activated(network, described, file),
    )

    def see(side: FeatureSet) -> Floats:
        return with_extractor(side, extractor, batch_size, device).features

    return Labeller(extractor.name, extractor.sha256, extractor.preprocessing, tuple(described.labels), see)


def _prepare(described: Described, image: Grey) -> npt.NDArray[np.float32]:
    low, high = described.range
    levels = resize(image, described.side, described.side).astype(np.float32) / 255 * (high - low) + low
    plane = (levels - np.float32(described.mean)) / np.float32(described.std)
    return np.repeat(plane[None], described.channels, axis=0)


def _open_torchscript(file: Path) -> Any:
    import torch

    try:
        return torch.jit.load(str(file), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UsageError(f"--classifier {file} is no TorchScript file: {str(error).splitlines()[0]}") from error


def _open_onnx(file: Path) -> Any:
    import onnxruntime
    import torch

    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each way to fail
        raise UsageError(f"--classifier {file} is no ONNX file: {str(error).splitlines()[0]}") from error
    entry = session.get_inputs()[0].name

    class Onnx(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {entry: np.ascontiguousarray(x.cpu().numpy())})[0])

    return Onnx()


def _activated(network: Any, described: Described, file: Path) -> Any:
    """The network with its outputs as probabilities, checked to be one a label."""
    import torch

    class Activated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                seen = self.network(x)
            except Exception as error:  # a network of any making may raise anything
                raise SynthCXRError(f"{file.name} does not take images as its JSON says: {error}") from error
            if not isinstance(seen, torch.Tensor) or seen.shape != (len(x), len(described.labels)):
                shape = tuple(getattr(seen, "shape", ())) or type(seen).__name__
                raise SynthCXRError(
                    f"{file.name} gives {shape} for {len(x)} images and {len(described.labels)} labels."
                )
            if described.activation == "none":
                return seen
            return seen.sigmoid() if described.activation == "sigmoid" else seen.softmax(1)

    return Activated()
