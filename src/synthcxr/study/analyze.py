"""``study analyze``: how well readers tell synthetic from real, each figure with its N and interval."""

from collections.abc import Sequence
from dataclasses import dataclass

from synthcxr.config import StudyAnalyzeConfig
from synthcxr.errors import UsageError
from synthcxr.progress import say
from synthcxr.store import Json, sha256_bytes
from synthcxr.study import chapters, looks, panel, quality
from synthcxr.study.answers import Answer, layout_of
from synthcxr.study.blinding import check_blinding
from synthcxr.study.folder import Study, answer_files, load
from synthcxr.study.material import Material, Section, gather, readers_of, training_images
from synthcxr.study.primary import Primary, primary
from synthcxr.study.protocol import Item
from synthcxr.study.readings import COLUMNS, POSITIVE, Reading, read
from synthcxr.study.serving.database import SERVED, read_simulated

__all__ = ["COLUMNS", "Analysis", "analyze", "analyze_study"]


@dataclass(frozen=True)
class Analysis:
    """The primary endpoint, every reader's figures, those of all answers pooled, chapters, and what has to be said."""

    study: Study
    material: Material
    primary: Primary
    readers: tuple[Reading, ...]
    pooled: Reading | None
    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    def to_json(self) -> Json:
        """All of it as JSON."""
        return {
            "primary": self.primary.to_json(),
            "positive": POSITIVE,
            "interval": "95 %, Wilson; of areas DeLong, on the logit's scale",
            "readers": [reading.to_json() for reading in self.readers],
            "pooled": self.pooled.to_json() if self.pooled else None,
            **{section.name: section.values for section in self.sections},
            "notes": list(self.notes),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """The table under `COLUMNS`: a row a reader, and the pooled one where there are several."""
        pooled = [self.pooled] if self.pooled and len(self.readers) > 1 else []
        return [reading.row() for reading in [*self.readers, *pooled]]


def analyze(config: StudyAnalyzeConfig) -> Analysis:
    """Analyze a study's answers, after the proof that nothing in its folder changed.

    With `out`, a report and tables are written there. Raises UsageError where there is no study or no answer yet, or
    where readers are still at work and nothing says why to look, SynthCXRError where a file was changed.
    """
    study = load(config.study)
    looked = check_blinding(study, config.unblind)
    analysis = analyze_study(study, looked)
    if config.out is not None:
        from synthcxr.study.page import write_analysis

        write_analysis(config, analysis)
        say(f"The report lies in {config.out}.")
    return analysis


def analyze_study(study: Study, looked: Sequence[str] = ()) -> Analysis:
    """The figures of a study that was read; `looked` is what its log says of looking early."""
    material = gather(study, items_of(study))
    if not (material.calls or material.ratings or material.pairs):
        raise UsageError(
            f"{study.folder} holds no answers yet. Readers give them by the links of `synthcxr study "
            "serve`, or on sheets that `synthcxr study import` takes in."
        )
    readers = []
    for name in readers_of(material.calls):
        given = [answer for answer in material.calls if answer.reader == name]
        readers.append(read(name, given, study.truth, _unanswered(study, name, given)))
    unanswered = sum(reading.unanswered for reading in readers)
    pooled = read("pooled", material.calls, study.truth, unanswered) if readers else None
    return Analysis(
        study,
        material,
        primary(material),
        tuple(readers),
        pooled,
        tuple(_sections(material, readers)),
        (*looked, *_notes(study, material, readers)),
    )


def items_of(study: Study) -> tuple[Item, ...]:
    """The items of quality: the protocol's, or those that imported files name."""
    if study.protocol is not None:
        return study.protocol.items
    named = [item for file in answer_files(study.manifest) for item in layout_of(study.folder / file, None).items]
    return tuple({item.name: item for item in named}.values())


def fingerprint(study: Study) -> str:
    """SHA-256 over all answers and the key: what an analysis is an analysis of."""
    return sha256_bytes(repr((sorted(map(repr, study.answers)), sorted(study.truth.items()))).encode())


def _sections(material: Material, readers: Sequence[Reading]) -> list[Section]:
    found: list[Section] = []
    if material.calls:
        found += [panel.section(material), chapters.detection_section(readers), chapters.agreement_section(material)]
    if material.pairs:
        found.append(quality.pair_section(material))
    if material.ratings:
        found += [quality.section(material), quality.agreement_section(material)]
    if material.calls:
        found += [chapters.learning_section(material), chapters.subgroup_section(material)]
    found.append(chapters.time_section(material))
    if material.calls:
        found.append(looks.image_section(material))
    return [*found, looks.comment_section(material)]


def _unanswered(study: Study, reader: str, given: Sequence[Answer]) -> int:
    """Images that a reader was to call and did not: all of the plan, or the rows that were left empty."""
    if study.protocol is not None:
        asked = {
            question.images[0]
            for question in study.protocol.questions
            if question.kind == "real-or-synthetic" and not question.training and not question.repeat_of
        }
    elif study.planned:
        asked = set(study.truth) - training_images(study)
    else:
        asked = {a.image for a in study.answers if a.reader == reader and a.kind == "real-or-synthetic"}
    return len(asked - {answer.image for answer in given})


def _notes(study: Study, material: Material, readers: Sequence[Reading]) -> list[str]:
    notes = []
    if read_simulated(study.folder / SERVED) is not None:
        notes.append("These answers were SIMULATED, for rehearsal. They say nothing of any reader or image.")
    if not readers:
        return notes
    notes += [
        "Positive is synthetic: sensitivity is the share of synthetic images called synthetic, specificity "
        "the share of real images called real.",
        "A reader's intervals are 95 % Wilson intervals over the images that were answered, of the AUC DeLong's.",
    ]
    missing = [f"{reading.reader} {reading.unanswered}" for reading in readers if reading.unanswered]
    if missing:
        notes.append(f"Images left unanswered are in no figure: {', '.join(missing)}.")
    if len(readers) > 1:
        notes.append(
            f"Pooled over {len(readers)} readers as if all answers were independent and all confidences on "
            "one scale. Answers of one reader, and answers to one image, are correlated, which this ignores: "
            "the pooled intervals are too narrow. Report those over all readers."
        )
    if len(readers) == 2:
        notes.append("Two readers say little of other readers: the interval over readers is wide, and should be.")
    areas = [reading.auc.value for reading in readers if reading.auc.value is not None]
    if areas and max(areas) > 0.98:
        notes.append(
            "Areas above 0.98 rest on a few hard images. In simulations at 0.995, intervals held the truth in 92 to "
            "99 % of readings instead of 95 %."
        )
    return notes
