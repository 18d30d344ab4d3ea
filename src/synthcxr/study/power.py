"""``study power``: how many readers and images show a difference from guessing, or that there is none within a margin.

Readings are simulated, and each is analyzed by the estimator of ``study analyze``. What a reader feels at an image is a
shift by its truth plus normal effects, as in C. A. Roe, C. E. Metz, "Dorfman-Berbaum-Metz method for statistical
analysis of multireader, multimodality receiver operating characteristic data: validation with computer simulation",
Academic Radiology 4 (1997) 298–303. Here the effects are how the image looks to everybody, how far the reader can tell
(the same for both sorts of images), where the reader draws the line, and what is left; their variances add up to 1. A
feeling above 0 is called synthetic, and its distance from 0 gives the confidence.
"""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthcxr.config import StudyPowerConfig
from synthcxr.errors import UsageError
from synthcxr.seeds import seed_for
from synthcxr.store import Json, write_bytes, write_json
from synthcxr.study.statistics import roc
from synthcxr.study.statistics.equivalence import equivalence
from synthcxr.study.statistics.mrmc import area_interval, pool_areas, pool_means, share_interval
from synthcxr.study.statistics.proportion import wilson

Floats = npt.NDArray[np.float64]
GUESSING = 0.5
CUTS = (0.25, 0.6, 1.0, 1.5)
"""Distances from the line at which a reader is surer by a step."""
AT_ONCE = 4_000_000
"""Answers to simulate at once, for memory."""
NODES = 41
"""Points of the Gauss-Hermite quadrature."""


@dataclass(frozen=True)
class Effects:
    """The model: the shift of the mean and the variances of image, skill, habit; what is left of 1 is noise."""

    shift: float
    image: float
    skill: float
    habit: float

    @property
    def noise(self) -> float:
        """The variance that is left."""
        return 1 - self.image - self.skill - self.habit


@dataclass(frozen=True)
class Line:
    """One design: how often each hypothesis is shown, and how wide the 1 - alpha interval is on average."""

    readers: int
    images: int
    mean: float
    difference: float
    equivalence: float
    width: float


@dataclass(frozen=True)
class Power:
    """The power of every design, with what it was simulated under."""

    config: StudyPowerConfig
    skill: float
    lines: tuple[Line, ...]

    def columns(self) -> tuple[str, ...]:
        """The headings of `table`."""
        low, high = GUESSING - self.config.margin, GUESSING + self.config.margin
        within = f"within {low:.2f}–{high:.2f}"
        return ("readers", "images of each sort", f"mean {self.config.endpoint}", "differs from 0.5", within, "width")

    def table(self) -> list[tuple[str, ...]]:
        """A row a design."""
        return [
            (
                str(line.readers),
                str(line.images),
                f"{line.mean:.3f}",
                f"{line.difference:.1%}",
                f"{line.equivalence:.1%}",
                f"{line.width:.3f}",
            )
            for line in self.lines
        ]

    def enough(self, hypothesis: str) -> list[Line]:
        """The designs with the power that is wanted, of which none has fewer readers and no more images."""
        fit = [line for line in self.lines if getattr(line, hypothesis) >= self.config.target]
        return [
            line
            for line in fit
            if not any(o != line and o.readers <= line.readers and o.images <= line.images for o in fit)
        ]

    def notes(self) -> list[str]:
        """What the table says, in words."""
        config = self.config
        words = {
            "difference": f"To show that readers do other than guess (two-sided, alpha {config.alpha:g})",
            "equivalence": f"To show that they guess within ± {config.margin:g} (two one-sided tests, each at alpha)",
        }
        error = (0.25 / config.trials) ** 0.5
        said = [
            f"Simulated: accuracy {config.accuracy:g}, standard deviation between readers {config.reader_spread:g}, "
            f"image share {config.image_share:g}, habit share {config.habit_share:g}. {config.trials} readings a "
            f"design: shares are exact to ± {1.96 * error:.1%} at worst."
        ]
        untrue = {
            "difference": config.accuracy == GUESSING,
            "equivalence": abs(config.accuracy - GUESSING) >= config.margin,
        }
        for hypothesis, what in words.items():
            if untrue[hypothesis]:
                said.append(
                    f"{what}: at a true accuracy of {config.accuracy:g} this is untrue, and its column is an error."
                )
                continue
            fit = [
                f"{line.readers} readers with {line.images} + {line.images} images" for line in self.enough(hypothesis)
            ]
            found = " or ".join(fit) if fit else "no design of the table is enough"
            said.append(f"{what}, for a power of {config.target:.0%}: {found}.")
        return said

    def to_json(self) -> Json:
        """All of it as JSON."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"out", "overwrite"}),
            "model": {"skill_variance": self.skill, "image_variance": self.config.image_share},
            "designs": [asdict(line) for line in self.lines],
            "notes": self.notes(),
        }


def power(config: StudyPowerConfig) -> Power:
    """Simulate every design of the grid; with `out`, write ``power.json`` and ``power.png`` there.

    Raises UsageError where readers cannot differ as much as is said, or where `out` holds a file that would be lost.
    """
    target = None if config.out is None else _free(config.out, config.overwrite)
    effects = effects_for(config)
    lines = [
        simulate(config, effects, readers, images)
        for readers, images in product(sorted(set(config.readers)), sorted(set(config.images)))
    ]
    found = Power(config, effects.skill, tuple(lines))
    if target is not None:
        write_json(target / "power.json", found.to_json())
        write_bytes(target / "power.png", plot(found))
    return found


def _free(folder: Path, overwrite: bool) -> Path:
    there = [name for name in ("power.json", "power.png") if (folder / name).exists()]
    if folder.is_file() or (there and not overwrite):
        raise UsageError(
            f"{folder} holds {', '.join(there) or 'a file'} already. Choose another --out, or --overwrite."
        )
    return folder


# --- the model --------------------------------------------------------------------------------------------


def effects_for(config: StudyPowerConfig) -> Effects:
    """The model in which readers' accuracies have the mean and the standard deviation that are asked for.

    Raises UsageError where image and habit leave too little variance for such a spread.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    shift = float(norm.ppf(config.accuracy))
    left = 1 - config.image_share - config.habit_share
    if left <= 0:
        raise UsageError("--image-share and --habit-share add up to 1 or more, which leaves nothing for the readers.")

    def excess(skill: float) -> float:
        return reader_spread(Effects(shift, config.image_share, skill, config.habit_share)) - config.reader_spread

    most = left * 0.999
    if excess(most) < 0:
        raise UsageError(
            f"--reader-spread {config.reader_spread:g} is more than can be: with this accuracy, image share and habit "
            f"share readers differ by at most {excess(most) + config.reader_spread:.3f}."
        )
    skill = 0.0 if excess(0.0) >= 0 else float(brentq(excess, 0.0, most, xtol=1e-8))
    return Effects(shift, config.image_share, skill, config.habit_share)


def reader_spread(effects: Effects) -> float:
    """The standard deviation between readers of their accuracy over all images, by Gauss-Hermite quadrature."""
    from scipy.stats import norm

    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    skill, habit = nodes[:, None] * effects.skill**0.5, nodes[None, :] * effects.habit**0.5
    own = (effects.image + effects.noise) ** 0.5
    accuracy = (norm.cdf((effects.shift + skill + habit) / own) + norm.cdf((effects.shift + skill - habit) / own)) / 2
    joint = weights[:, None] * weights[None, :]
    mean = float((joint * accuracy).sum())
    return float(max(0.0, (joint * (accuracy - mean) ** 2).sum()) ** 0.5)


def feel(effects: Effects, shape: tuple[int, int, int], rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Feelings towards "synthetic" (trials, readers, images) at synthetic and at real images; the line lies at 0."""
    trials, readers, images = shape
    skill = rng.standard_normal((trials, readers, 1)) * effects.skill**0.5
    habit = rng.standard_normal((trials, readers, 1)) * effects.habit**0.5

    def one(sign: int) -> Floats:
        looks = rng.standard_normal((trials, 1, images)) * effects.image**0.5
        own = rng.standard_normal(shape) * effects.noise**0.5
        return np.asarray(sign * (effects.shift + skill) + habit + looks + own)

    return one(1), one(-1)


# --- a design ---------------------------------------------------------------------------------------------


def simulate(config: StudyPowerConfig, effects: Effects, readers: int, images: int) -> Line:
    """One design of the table."""
    rng = np.random.default_rng(seed_for(config.seed, "power", readers, images))
    size = max(1, min(config.trials, AT_ONCE // (readers * images)))
    parts = []
    for start in range(0, config.trials, size):
        synthetic, real = feel(effects, (min(size, config.trials - start), readers, images), rng)
        parts.append(ends(synthetic, real, config.endpoint, config.alpha))
    value, low, high, inner_low, inner_high = (np.concatenate(column) for column in zip(*parts, strict=True))
    inside = equivalence(inner_low, inner_high, GUESSING, config.margin).equivalent
    return Line(
        readers,
        images,
        float(value.mean()),
        float(np.mean((low > GUESSING) | (high < GUESSING))),
        float(inside.mean()),
        float(np.mean(high - low)),
    )


def ends(synthetic: Floats, real: Floats, endpoint: str, alpha: float) -> tuple[Floats, ...]:
    """Of readings (trials, readers, images) as `study analyze` does: the estimate, the ends of its 1 - alpha interval,
    and those of its 1 - 2 alpha interval, (trials,) each. One reader has intervals over images alone.
    """
    readers, images = synthetic.shape[1:]
    if endpoint == "accuracy":
        right = [(synthetic > 0).astype(np.float64), (real <= 0).astype(np.float64)]
        if readers == 1:
            count = sum(scores.sum(axis=(1, 2)) for scores in right)
            value, total = np.asarray(count) / (2 * images), np.full(len(synthetic), 2 * images)
            return (value, *wilson(count, total, alpha), *wilson(count, total, 2 * alpha))
        pooled = pool_means(right)
        return (
            pooled.value,
            *share_interval(pooled, 2 * images, alpha),
            *share_interval(pooled, 2 * images, 2 * alpha),
        )
    given = rate(synthetic), rate(real)
    if readers == 1:
        places = roc.place(*given)
        both = (*roc.interval(places, alpha), *roc.interval(places, 2 * alpha))
        return (places.area[:, 0], *(end[:, 0] for end in both))
    areas = pool_areas(*given)
    sizes = images, images
    return (areas.value, *area_interval(areas, sizes, alpha), *area_interval(areas, sizes, 2 * alpha))


def rate(feeling: Floats) -> Floats:
    """The answer with its confidence: -5 (surely real) to 5 (surely synthetic), without 0."""
    return np.where(feeling > 0, 1.0, -1.0) * (1 + np.searchsorted(CUTS, np.abs(feeling)))


# --- a picture --------------------------------------------------------------------------------------------


def plot(found: Power) -> bytes:
    """A PNG of power over images, a curve for each number of readers: difference left, equivalence right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels: Sequence[tuple[str, str]] = (
        ("difference", f"Shown: {found.config.endpoint} differs from 0.5"),
        ("equivalence", f"Shown: {found.config.endpoint} within 0.5 ± {found.config.margin:g}"),
    )
    for place, (hypothesis, title) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, place)
        axes.set_xticks(sorted({line.images for line in found.lines}))
        for readers in sorted({line.readers for line in found.lines}):
            mine = [line for line in found.lines if line.readers == readers]
            axes.plot(
                [line.images for line in mine],
                [getattr(line, hypothesis) for line in mine],
                marker="o",
                label=str(readers),
            )
        axes.axhline(found.config.target, color="grey", linewidth=1, linestyle="--")
        axes.set(title=title, xlabel="images of each sort", ylabel="share of readings", ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(title="readers")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
