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
from synthcxr.progress import say
from synthcxr.store import Json, sha256_file


@dataclass(frozen=True)
class Asked:
    """What the questions are about: the sides, and what judges them; `no_training` says why there is no training."""

    config: EvaluateConfig
    encoder: Encoder
    labeller: Labeller
    extractors: tuple[Extractor, ...]
    real: FeatureSet
    synthetic: FeatureSet
    training: FeatureSet | None
    no_training: str

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
            **{name: config[name] for name in ("seed", "neighbours", "device", "split")},
        }


def ask(question: Question, asked: Asked) -> Answer:
    """Answer one question, or say why it has no answer. What was worked out for the same images before is not again."""

    def work() -> Answer:
        say(f"Asking about {question}.")
        return FUNCTIONS[question](asked)

    try:
        return remembered(question, asked.sides(), asked.about(), work)
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


def _privacy(asked: Asked) -> Answer:
    from synthcxr.evaluation.copies import answer_copies

    return answer_copies(asked.real, asked.synthetic, asked.training, no_training=asked.no_training)


FUNCTIONS: dict[Question, Callable[[Asked], Answer]] = {
    "realism": _realism,
    "faithfulness": _faithfulness,
    "privacy": _privacy,
}
