"""The primary endpoint in one plain sentence: what the protocol asked, and what came out."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from synthcxr.store import Json
from synthcxr.study.material import Material
from synthcxr.study.panel import Estimate, estimates
from synthcxr.study.protocol import Analysis
from synthcxr.study.quality import best_steps, pair_share
from synthcxr.study.serving.database import SERVED, read_simulated
from synthcxr.study.statistics.equivalence import equivalence

GUESSING = 0.5
NAMES = {"accuracy": "the accuracy", "auc": "the area under the ROC curve", "pairs": "the share of pairs called right"}


@dataclass(frozen=True)
class Primary:
    """What was to be shown, whether it was, the estimate, and the sentence."""

    endpoint: str
    hypothesis: str
    shown: bool | None
    estimate: Estimate | None
    sentence: str
    planned: bool

    def to_json(self) -> Json:
        """All of it as JSON."""
        return asdict(self)


def primary(material: Material) -> Primary:
    """The primary endpoint, and before its sentence, where no person answered, that the answers are simulated."""
    found = _primary(material)
    if read_simulated(material.study.folder / SERVED) is None:
        return found
    return replace(found, sentence=f"Simulated answers, no finding. {found.sentence}")


def _primary(material: Material) -> Primary:
    """The primary endpoint: the area where the first endpoint of the protocol names it, else accuracy.

    Difference: the 1 - alpha interval leaves out 0.5. Equivalence: the 1 - 2 alpha interval lies within 0.5 ± margin.
    A study without such questions has the share of the best step of its first item, which nothing is tested against.
    """
    protocol = material.study.protocol
    plan = protocol.analysis if protocol else Analysis()
    alpha = plan.alpha * 2 if plan.primary == "equivalence" else plan.alpha
    endpoint, estimate = _endpoint(material, plan, alpha)
    if estimate is None:
        text = "There is no answer yet that the primary endpoint could be taken from."
        return Primary(endpoint, plan.primary, None, None, text, protocol is not None)
    if endpoint not in NAMES:
        return Primary(endpoint, "description", None, estimate, _described(endpoint, estimate), protocol is not None)
    shown, verdict = _verdict(plan, estimate)
    over = f"{estimate.readers} readers" if estimate.readers > 1 else "one reader"
    what = (
        f"Over {over} and {estimate.images} {'pairs' if endpoint == 'pairs' else 'images'}, {NAMES[endpoint]} is "
        f"{estimate.value:.3f} ({100 * (1 - alpha):g} % interval {estimate.ci_low:.3f} to {estimate.ci_high:.3f})"
    )
    unplanned = "" if protocol else " No protocol fixed this question before the reading."
    return Primary(endpoint, plan.primary, shown, estimate, f"{what}: {verdict}{unplanned}", protocol is not None)


def _endpoint(material: Material, plan: Analysis, alpha: float) -> tuple[str, Estimate | None]:
    protocol = material.study.protocol
    answers = (*material.calls, *material.pairs, *material.ratings)
    asked = {one.kind for one in (protocol.questions if protocol else answers)}
    if "real-or-synthetic" in asked:
        wants_area = bool(plan.endpoints) and "auc" in plan.endpoints[0].lower().replace("area", "auc")
        name = "auc" if wants_area else "accuracy"
        return name, estimates(material, alpha).get(name)
    if "pairwise" in asked:
        return "pairs", pair_share(material, alpha)
    best = best_steps(material)
    return next(iter(best.items()), ("accuracy", None))


def _verdict(plan: Analysis, estimate: Estimate) -> tuple[bool, str]:
    if plan.primary == "equivalence":
        inside = bool(equivalence(estimate.ci_low, estimate.ci_high, GUESSING, plan.margin).equivalent)
        low, high = GUESSING - plan.margin, GUESSING + plan.margin
        if inside:
            return True, f"readers are equivalent to guessing, within {low:.2f} to {high:.2f} (two one-sided tests)."
        return False, f"equivalence to guessing, within {low:.2f} to {high:.2f}, is not shown."
    if estimate.ci_low > GUESSING:
        return True, "readers tell synthetic from real better than by guessing."
    if estimate.ci_high < GUESSING:
        return True, "readers are right less often than by guessing."
    return False, "that readers do other than guess is not shown, which is no proof that they guess."


def _described(endpoint: str, estimate: Estimate) -> str:
    count = round(estimate.value * estimate.images)
    counted = (
        f"{count} of {estimate.images} images" if estimate.readers == 1 else f"{estimate.images} images, all readers"
    )
    if not np.isfinite(estimate.value):
        return f"{endpoint}: nothing was rated."
    return f"{endpoint}: {estimate.value:.3f} ({estimate.ci_low:.3f} to {estimate.ci_high:.3f}), {counted}."
