"""The method `encoder`: the small network whose features the evaluation measures distances in."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.config import TrainConfig
from synthcxr.evaluation.degradation import QUALITIES, degrade, draw_levels, move
from synthcxr.evaluation.encoder import (
    DIMENSION,
    INPUT_SIZE,
    LABELS,
    build_network,
    save_network,
    to_input,
    whiten,
)
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, central_square, resize
from synthcxr.seeds import seed_for
from synthcxr.training.data import augment, batch_indices

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]
TEMPERATURE, IDENTITY_TEMPERATURE = 0.2, 0.1
CONTRAST_WEIGHT, IDENTITY_WEIGHT, LABEL_WEIGHT, QUALITY_WEIGHT = 0.5, 0.5, 1.0, 10.0
LARGEST_SHIFT = 10


class EncoderTask:
    """Trains the encoder to tell images apart, to name what is stated of them, and to see what was done to them.

    Each image comes as two crops (SimCLR, arXiv:2002.05709). Of every second image both crops are degraded alike:
    the features have to tell these apart, and so keep the degradation. Of the others each crop is degraded in its
    own way: the identity has to see through that. Linear heads on the features name the view, age group, sex and
    findings, where a row states them. The first features are the levels of the degradation themselves: of images
    that nobody damaged they differ little, so that damage moves them far. Crops never flip.
    """

    half = False

    def __init__(self, config: TrainConfig, rows: list[Row], held_out: list[Row]) -> None:
        import torch

        from synthcxr.devices import pick

        self.config, self.rows, self.held_out = config, rows, held_out
        self.compute = pick(config.device, "float32")
        self.device = self.compute.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = self.compute.place(build_network())
            self.heads = torch.nn.Linear(DIMENSION, len(LABELS)).to(self.compute.device)
            self.projection = torch.nn.Sequential(
                torch.nn.Linear(DIMENSION, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64)
            ).to(self.compute.device)
        self.modules = {"network": self.network, "heads": self.heads, "projection": self.projection}
        self.images = [read(row) for row in rows]
        self.targets = np.stack([targets(row) for row in rows])
        self.patients = np.unique([f"{row.fields.get('source')}/{row.patient}" for row in rows], return_inverse=True)[1]

    def loss(self, step: int, slots: range) -> "Tensor":
        """Contrast of features and of identities + cross-entropy of stated labels + squared error of levels.

        Images are compared with each other, so `slots` are always the whole batch.
        """
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, normalize

        indices = batch_indices(len(self.rows), self.config.batch_size, step, self.config.seed)
        seen = [self._see(index, step, slot, crop) for crop in (0, 1) for slot, index in enumerate(indices)]
        images = to_input(np.stack([image for image, _ in seen])).to(self.compute.device)
        features, identity = self.network(images)
        patients = torch.from_numpy(np.concatenate([self.patients[indices]] * 2)).to(features.device)
        alike = torch.arange(len(seen), device=features.device) % len(indices) % 2 == 0
        projected = normalize(self.projection(features[alike]), dim=1)
        contrast = contrast_loss(projected, patients[alike], TEMPERATURE)
        recognition = contrast_loss(identity, patients, IDENTITY_TEMPERATURE)
        wanted = torch.from_numpy(np.concatenate([self.targets[indices]] * 2)).to(features.device)
        stated = ~wanted.isnan()
        errors = binary_cross_entropy_with_logits(self.heads(features), wanted.nan_to_num(), reduction="none")
        labels = (errors * stated).sum() / stated.sum().clamp(min=1)
        levels = torch.from_numpy(np.stack([vector for _, vector in seen])).to(features.device)
        quality = mse_loss(features[:, : len(QUALITIES)], levels)
        return (
            CONTRAST_WEIGHT * contrast
            + IDENTITY_WEIGHT * recognition
            + LABEL_WEIGHT * labels
            + QUALITY_WEIGHT * quality
        )

    def _see(self, index: int, step: int, slot: int, crop: int) -> tuple[Grey, Floats]:
        """A crop of an image as the network sees it, and the levels of what was done to it."""
        shared = 0 if slot % 2 == 0 else crop
        levels = draw_levels(np.random.default_rng(seed_for(self.config.seed, "levels", step, slot, shared)))
        rng = np.random.default_rng(seed_for(self.config.seed, "crop", step, slot, crop))
        image = degrade(crop_of(self.images[index], rng), levels, rng)
        return image, np.array([levels.get(kind, 0) for kind in QUALITIES], np.float32)

    def sample(self, path: Path) -> None:
        """An encoder draws nothing."""

    def save(self, folder: Path) -> None:
        """Write the network and its heads in half precision.

        Features of the training images become about white, and the heads are fitted anew on them: on images that
        nobody damaged they then tell more than those that had to bear all of the damage.
        """
        import torch

        whiten(self.network, torch.cat([features for features, _ in self._run(self.images)]))
        features = torch.cat([features for features, _ in self._run(self.images)]).cpu().numpy()
        fit_heads(self.heads, features, self.targets)
        save_network(self.network, self.heads, folder)

    def measure(self) -> dict[str, float]:
        """AUC of each label on the held-out patients, where both classes are there."""
        import torch
        from sklearn.metrics import roc_auc_score

        if not self.held_out:
            return {}
        wanted = np.stack([targets(row) for row in self.held_out])
        with torch.no_grad():
            outputs = [self.heads(features) for features, _ in self._run([read(row) for row in self.held_out])]
        scores = torch.cat(outputs).cpu().numpy()
        found: dict[str, Any] = {}
        for column, label in enumerate(LABELS):
            stated = ~np.isnan(wanted[:, column])
            if len(set(wanted[stated, column])) == 2:
                found[f"auc_{label}"] = round(float(roc_auc_score(wanted[stated, column], scores[stated, column])), 4)
        return found

    def _run(self, images: list[Grey]) -> "Iterator[tuple[Tensor, Tensor]]":
        import torch

        with torch.no_grad():
            for start in range(0, len(images), 32):
                yield self.network(to_input(np.stack(images[start : start + 32])).to(self.compute.device))


def read(row: Row) -> Grey:
    """A row's central square at the network's size."""
    image = row.read()
    return resize(central_square(image), INPUT_SIZE, INPUT_SIZE)


def crop_of(image: Grey, rng: np.random.Generator) -> Grey:
    """A crop at the same contrast: half of them moved by whole pixels, which keeps the finest detail as it is."""
    if rng.random() < 0.5:
        return move(image, *(int(shift) for shift in rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, 2)))
    return augment(image, rng, contrast=0.0, turn_degrees=0.0)


def fit_heads(heads: Any, features: Floats, wanted: Floats) -> None:
    """Logistic regressions of labels (n, l), NaN where not stated, on features (n, 64), each into its row of `heads`.

    A label of which the rows state only one class, or none, gets a head that says 0.5.
    """
    import torch
    from sklearn.linear_model import LogisticRegression

    with torch.no_grad():
        for column in range(wanted.shape[1]):
            stated = ~np.isnan(wanted[:, column])
            weight, bias = np.zeros(features.shape[1]), 0.0
            if len(set(wanted[stated, column])) == 2:
                fitted = LogisticRegression(max_iter=3000).fit(features[stated], wanted[stated, column])
                weight, bias = fitted.coef_[0], float(fitted.intercept_[0])
            heads.weight[column] = torch.from_numpy(weight)
            heads.bias[column] = bias


def contrast_loss(vectors: "Tensor", patients: "Tensor", temperature: float) -> "Tensor":
    """Normalised temperature-scaled cross entropy of vectors (2n, d) of length 1, the i-th and (n + i)-th a pair.

    Other images of the same patient, codes (2n,), are neither alike nor unlike: they are left out.
    """
    import torch
    from torch.nn.functional import cross_entropy

    own = torch.arange(len(vectors), device=vectors.device)
    partner = own.roll(len(vectors) // 2)
    ignored = patients[:, None] == patients[None]
    ignored[own, partner] = False
    similarity = (vectors @ vectors.T / temperature).masked_fill(ignored, float("-inf"))
    return cross_entropy(similarity, partner)


def targets(row: Row) -> Floats:
    """What a row states of each label: 1, 0, or NaN where it does not say."""
    fields = row.fields
    oldest = fields.get("age") if fields.get("age") is not None else (fields.get("age_range") or [None, None])[1]
    findings = [finding.lower() for finding in fields.get("findings") or ()]
    stated: dict[str, bool | None] = {
        "pa_view": None if fields.get("view") not in ("AP", "PA") else fields["view"] == "PA",
        "child": None if oldest is None else oldest < 18,
        "female": None if fields.get("sex") is None else fields["sex"] == "F",
        "abnormal": None if not findings else findings != ["no finding"],
        "pneumonia": None if not findings else any("pneumonia" in finding for finding in findings),
        "opacity": None
        if not findings
        else any(
            finding in ("infiltration", "consolidation", "edema", "effusion", "atelectasis") for finding in findings
        ),
    }
    return np.array([np.nan if stated[label] is None else float(bool(stated[label])) for label in LABELS], np.float32)
