"""Which function answers which question of a report, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass

from synthcxr.config import EvaluateConfig
from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.answer import Answer, Question
from synthcxr.evaluation.encoder import Encoder
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.labelling import Labeller
from synthcxr.evaluation.measure import metric
from synthcxr.evaluation.remember import remembered
from synthcxr.evaluation.usefulness import Lineage
from synthcxr.models.registry import Reference, identify
from synthcxr.progress import say
from synthcxr.store import Json, sha256_file


@dataclass(frozen=True)
class Asked:
    """What the questions are about: the sides, and what judges them.

    `others` are further sets that are compared with the synthetic side. `no_training` says why there is no training,
    `no_model` why there is no model. `real_train` is the training split of the real side's dataset, where usefulness is
    asked about; `lineage` is whom the generator was trained on.
    """

    config: EvaluateConfig
    encoder: Encoder
    labeller: Labeller
    extractors: tuple[Extractor, ...]
    real: FeatureSet
    synthetic: FeatureSet
    others: tuple[FeatureSet, ...]
    training: FeatureSet | None
    no_training: str
    real_train: FeatureSet | None
    lineage: Lineage
    model: Reference | None
    no_model: str

    def sides(self) -> dict[str, FeatureSet]:
        """Every side that is there, by its role."""
        named = {"real": self.real, "synthetic": self.synthetic, "training": self.training}
        return {name: side for name, side in named.items() if side}

    def about(self) -> Json:
        """What an answer depends on beside the sides."""
        config = self.config.identity()
        return {
            "encoder": self.encoder.sha256,
            "classifier": self.labeller.sha256,
            "statistics": [[file.name, sha256_file(file)] for file in self.config.statistics],
            "extractors": [each.fingerprint for each in self.extractors],
            "no_training": self.no_training,
            "lineage": [self.lineage.patients, self.lineage.complete],
            "model": [*identify(self.model).values()] if self.model else self.no_model,
            **{name: config[name] for name in ("seed", "neighbours", "device", "split")},
        }


def ask(question: Question, asked: Asked) -> Answer:
    """Answer one question, or say why it has no answer. What was worked out for the same images before is not again."""

    def work() -> Answer:
        say(f"Asking about {question}.")
        return FUNCTIONS[question](asked)

    try:
        more: dict[str, FeatureSet] = {}
        if question == "usefulness" and asked.real_train:
            more = {"real training": asked.real_train}
        if question == "comparison":
            more = {f"other {number}": side for number, side in enumerate(asked.others, 1)}
        return remembered(question, asked.sides() | more, asked.about(), work)
    except SynthCXRError as error:
        n, m = len(asked.real), len(asked.synthetic)
        none = metric(question, None, n_real=n, n_synthetic=m, title=question.capitalize(), reason=str(error))
        return Answer(question, f"Not answered: {error}", (none,))


def _realism(asked: Asked) -> Answer:
    from synthcxr.evaluation.extractors.bundled import as_extractor
    from synthcxr.evaluation.realism import answer_realism

    return answer_realism(
        asked.real,
        asked.synthetic,
        asked.training,
        no_training=asked.no_training,
        bundled=as_extractor(asked.encoder),
        extractors=asked.extractors,
        statistics=asked.config.statistics,
        k=asked.config.neighbours,
        seed=asked.config.seed,
        batch_size=asked.config.batch_size,
        device=asked.config.device,
    )


def _faithfulness(asked: Asked) -> Answer:
    from synthcxr.evaluation.faithfulness import answer_faithfulness

    return answer_faithfulness(asked.real, asked.synthetic, asked.labeller)


def _usefulness(asked: Asked) -> Answer:
    from synthcxr.evaluation.usefulness import answer_usefulness

    config = asked.config
    return answer_usefulness(
        asked.real_train,
        asked.real,
        asked.synthetic,
        lineage=asked.lineage,
        seed=config.seed,
        device=config.device,
    )


def _privacy(asked: Asked) -> Answer:
    from synthcxr.evaluation.privacy import answer_privacy

    return answer_privacy(
        asked.real,
        asked.synthetic,
        asked.training,
        no_training=asked.no_training,
        model=asked.model,
        no_model=asked.no_model,
        seed=asked.config.seed,
        device=asked.config.device,
    )


def _artifacts(asked: Asked) -> Answer:
    from synthcxr.evaluation.artifacts import answer_artifacts

    return answer_artifacts(asked.real, asked.synthetic, workers=0, seed=asked.config.seed)


def _anatomy(asked: Asked) -> Answer:
    from synthcxr.evaluation.anatomy import answer_anatomy

    return answer_anatomy(asked.real, asked.synthetic, seed=asked.config.seed)


def _fairness(asked: Asked) -> Answer:
    from synthcxr.evaluation.fairness import answer_fairness

    return answer_fairness(
        asked.real,
        asked.synthetic,
        asked.training,
        asked.labeller,
        seed=asked.config.seed,
        no_training=asked.no_training,
    )


def _comparison(asked: Asked) -> Answer:
    from synthcxr.evaluation.comparison import answer_comparison

    config = asked.config
    return answer_comparison(asked.real, [asked.synthetic, *asked.others], k=config.neighbours, seed=config.seed)


FUNCTIONS: dict[Question, Callable[[Asked], Answer]] = {
    "realism": _realism,
    "faithfulness": _faithfulness,
    "usefulness": _usefulness,
    "privacy": _privacy,
    "artifacts": _artifacts,
    "anatomy": _anatomy,
    "fairness": _fairness,
    "comparison": _comparison,
}
