"""The method `encoder`: the small network whose features the evaluation measures distances in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.config import TrainConfig
from synthcxr.evaluation.encoder import DIMENSION, INPUT_SIZE, LABELS, build_network, save_network, to_input
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, resize
from synthcxr.seeds import seed_for
from synthcxr.training.data import augment, batch_indices

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 0.2
CONTRAST_WEIGHT, LABEL_WEIGHT = 0.5, 1.0


class EncoderTask:
    """Trains the encoder to tell images apart (SimCLR, arXiv:2002.05709) and to name view, age group, sex, findings.

    Labels that a row does not state add nothing to the loss. Crops shift, zoom and change contrast, never flip.
    """

    def __init__(self, config: TrainConfig, rows: list[Row], held_out: list[Row]) -> None:
        import torch

        from synthcxr.devices import pick

        self.config, self.rows, self.held_out = config, rows, held_out
        self.compute = pick(config.device, "float32")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = self.compute.place(build_network())
            self.heads = torch.nn.Linear(DIMENSION, len(LABELS)).to(self.compute.device)
            self.projection = torch.nn.Sequential(
                torch.nn.Linear(DIMENSION, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64)
            ).to(self.compute.device)
        self.modules = {"network": self.network, "heads": self.heads, "projection": self.projection}
        self.images = [resize(row.read(), INPUT_SIZE, INPUT_SIZE) for row in rows]
        self.targets = np.stack([targets(row) for row in rows])

    def loss(self, step: int) -> "Tensor":
        """Contrastive loss of two crops of each image + cross-entropy of the stated labels."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

        indices = batch_indices(len(self.rows), self.config.batch_size, step, self.config.seed)
        crops = [
            augment(
                self.images[index],
                np.random.default_rng(seed_for(self.config.seed, "crop", step, slot, view)),
            )
            for view in (0, 1)
            for slot, index in enumerate(indices)
        ]
        features = self.network(to_input(np.stack(crops)).to(self.compute.device))
        projected = normalize(self.projection(features), dim=1)
        similarity = projected @ projected.T / TEMPERATURE
        similarity.fill_diagonal_(float("-inf"))
        count = len(indices)
        partner = torch.arange(2 * count, device=similarity.device).roll(count)
        contrast = cross_entropy(similarity, partner)
        wanted = torch.from_numpy(np.concatenate([self.targets[indices]] * 2)).to(features.device)
        stated = ~wanted.isnan()
        errors = binary_cross_entropy_with_logits(self.heads(features), wanted.nan_to_num(), reduction="none")
        labels = (errors * stated).sum() / stated.sum().clamp(min=1)
        return CONTRAST_WEIGHT * contrast + LABEL_WEIGHT * labels

    def sample(self, path: Path) -> None:
        """An encoder draws nothing."""

    def save(self, folder: Path) -> None:
        """Write the network and its heads in half precision with their config."""
        save_network(self.network, self.heads, folder)

    def measure(self) -> dict[str, float]:
        """AUC of each label on the held-out patients, where both classes are there."""
        import torch
        from sklearn.metrics import roc_auc_score

        if not self.held_out:
            return {}
        images: list[Grey] = [resize(row.read(), INPUT_SIZE, INPUT_SIZE) for row in self.held_out]
        wanted = np.stack([targets(row) for row in self.held_out])
        self.network.eval()
        with torch.no_grad():
            blocks = [to_input(np.stack(images[start : start + 32])) for start in range(0, len(images), 32)]
            scores = (
                torch.cat([self.heads(self.network(block.to(self.compute.device))) for block in blocks]).cpu().numpy()
            )
        self.network.train()
        found: dict[str, Any] = {}
        for column, label in enumerate(LABELS):
            stated = ~np.isnan(wanted[:, column])
            if len(set(wanted[stated, column])) == 2:
                found[f"auc_{label}"] = round(float(roc_auc_score(wanted[stated, column], scores[stated, column])), 4)
        return found


def targets(row: Row) -> "np.typing.NDArray[np.float32]":
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
