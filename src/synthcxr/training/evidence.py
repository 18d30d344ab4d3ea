"""What a run shows about itself on patients that it does not learn from: figures, which look was best, alarms."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.buckets import blocks_by_size, bucket_for
from synthcxr.config import TrainConfig
from synthcxr.evaluation.neighbours import MINIMUM_HELD_OUT
from synthcxr.imagefolder import Row
from synthcxr.images import Grey
from synthcxr.models.registry import Model
from synthcxr.store import Json
from synthcxr.training.data import spread

if TYPE_CHECKING:
    from synthcxr.evaluation.encoder import Extracted

EVIDENCE_FILE = "evidence.jsonl"
WATCHED = {"loss": "held_out_loss", "distance": "frechet_distance"}
"""The figure by which `--best` chooses; of both, lower is better."""

WORSE = 0.01
"""Share above its best from which a held-out loss counts as risen."""
LOOKS = 3
"""Looks in a row that it takes for an alarm: one may be chance."""


# --- which look was best, and when is enough ---------------------------------------------------------------


def is_best(evidence: Sequence[Json], config: TrainConfig) -> bool:
    """Whether the last look is better than all before it, by the figure that is watched."""
    return best_row(evidence, config) is evidence[-1]


def best_row(evidence: Sequence[Json], config: TrainConfig) -> Json | None:
    """The first of the best looks; None where no figure is watched."""
    if config.best is None or not evidence:
        return None
    watched = WATCHED[config.best]
    return min(evidence, key=lambda row: float(row[watched]))


def is_over(evidence: Sequence[Json], config: TrainConfig) -> bool:
    """Whether `patience` looks have passed without a better one."""
    best = best_row(evidence, config)
    if best is None or not config.patience:
        return False
    return len(evidence) - 1 - list(evidence).index(best) >= config.patience


# --- in words ----------------------------------------------------------------------------------------------


def tell(evidence: Sequence[Json]) -> str:
    """The last look in one line, and an alarm a line."""
    row = evidence[-1]
    figures = [f"held-out loss {row['held_out_loss']:.4f}"] if "held_out_loss" in row else []
    if "frechet_distance" in row:
        figures += [
            f"Fréchet distance {row['frechet_distance']:.2f} of {row['n_drawn']} drawn images",
            f"near-copies {row['near_copy_rate']:.1%}",
        ]
    figures = figures or [f"{name} {value:.4f}" for name, value in row.items() if name not in ("step", "loss")]
    return "\n".join([f"step {row['step']}: {', '.join(figures)}", *alarms(evidence)])


def alarms(evidence: Sequence[Json]) -> list[str]:
    """What a person should know of the run as it stands, in plain words."""
    return [*_overfitting(evidence), *_copying(evidence)]


def _overfitting(evidence: Sequence[Json]) -> list[str]:
    rows = [row for row in evidence if "held_out_loss" in row]
    if len(rows) <= LOOKS:
        return []
    best = min(rows, key=lambda row: row["held_out_loss"])
    last = rows[-LOOKS:]
    risen = all(
        row["step"] > best["step"] and row["held_out_loss"] > (1 + WORSE) * best["held_out_loss"] for row in last
    )
    if not (risen and last[-1]["loss"] < best["loss"]):
        return []
    above = last[-1]["held_out_loss"] / best["held_out_loss"] - 1
    return [
        f"Overfitting: on held-out patients the loss was best at step {best['step']} and is now {above:.0%} higher, "
        "while on the training images it went on falling. Fewer steps or --best loss would keep the better weights."
    ]


def _copying(evidence: Sequence[Json]) -> list[str]:
    rows = [row for row in evidence if row.get("near_copy_rate") is not None]
    if not rows or rows[-1]["near_copy_low"] <= rows[-1]["near_copy_expected"]:
        return []
    row = rows[-1]
    return [
        f"Copying: {row['near_copy_rate']:.1%} of {row['n_drawn']} drawn images ({row['near_copy_low']:.1%} to "
        f"{row['near_copy_high']:.1%}) are nearer to a training image than 99 % of unseen patients' are. The model "
        "repeats patients; train fewer steps, or on more images, and do not share this run."
    ]


# --- drawn images against held-out patients ----------------------------------------------------------------


class Judge:
    """Draws for prompts of held-out patients, always at the same seeds, and compares with those patients' images."""

    def __init__(
        self, model: Model, config: TrainConfig, rows: list[Row], held_out: list[Row], sampling: dict[str, Any]
    ) -> None:
        from synthcxr.evaluation.encoder import load_encoder

        self.model, self.config, self.sampling = model, config, sampling
        self.rows = spread(held_out, config.judge_images)
        self.encoder = load_encoder()
        self.real = self._extract(held_out)
        self.seen = self._extract(rows)
        patients = [f"{row.fields.get('source')}/{row.patient}" for row in held_out]
        self.patients = np.unique(patients, return_inverse=True)[1].astype(np.int64)

    def _extract(self, rows: list[Row]) -> "Extracted":
        return self.encoder.extract((row.read() for row in rows), 32, self.config.device)

    def look(self) -> Json:
        """Fréchet distance to the held-out images, and the share of near-copies of training images, with intervals."""
        from synthcxr.evaluation.frechet import frechet_interval
        from synthcxr.evaluation.intervals import GROUPS, assign_groups
        from synthcxr.evaluation.neighbours import calibrate, near_copy_rate, nearest

        drawn = self.encoder.extract(self._draw(), 32, self.config.device)
        rng = np.random.default_rng(0)
        distance = frechet_interval(
            self.real.features.astype(np.float64),
            drawn.features.astype(np.float64),
            assign_groups(self.patients, GROUPS, rng),
            assign_groups(np.arange(len(drawn.features)), GROUPS, rng),
        )
        found: Json = {
            "n_drawn": len(drawn.features),
            "n_real": len(self.real.features),
            "frechet_distance": distance.value,
            "frechet_low": distance.low,
            "frechet_high": distance.high,
        }
        seen = self.seen.identity.astype(np.float64)
        calibration = calibrate(nearest(self.real.identity.astype(np.float64), seen).distance)
        rate = near_copy_rate(nearest(drawn.identity.astype(np.float64), seen).distance, calibration)
        return found | {
            "near_copy_rate": rate.value,
            "near_copy_low": rate.low,
            "near_copy_high": rate.high,
            "near_copy_expected": calibration.expected,
        }

    def _draw(self) -> list[Grey]:
        from synthcxr.generation.sampler import Request, draw

        count, size = self.config.judge_images, self.config.batch_size
        rows = [self.rows[number % len(self.rows)] for number in range(count)]
        sizes = [bucket_for(row.size, self.model.image_size) for row in rows]
        images: list[Grey] = []
        for places in blocks_by_size(sizes, size):
            block = [Request(rows[place].text, "", place, sizes[place]) for place in places]
            padded = block + [block[-1]] * (size - len(block))
            drawn = draw(self.model, padded, **self.sampling)
            images += list(drawn[: len(block)])
        return images


def why_not(held_out: Sequence[Row], config: TrainConfig) -> str | None:
    """Why the evidence that is asked for cannot be had of these held-out rows; None where it can."""
    if not held_out:
        return "no dataset has validation images"
    if config.judge_images and len(held_out) < MINIMUM_HELD_OUT:
        return f"a distance needs {MINIMUM_HELD_OUT} validation images, here are {len(held_out)}"
    return None
