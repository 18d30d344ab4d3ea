"""A paragraph for a paper, of what was really done, and the sources that it names."""

from synthcxr import __version__
from synthcxr.study.analyze import Analysis
from synthcxr.study.answers import Answer
from synthcxr.study.folder import read_balance
from synthcxr.study.primary import NAMES
from synthcxr.study.serving.database import SERVED, read_simulated

SOURCES = {
    "wilson": "Wilson EB. Probable inference, the law of succession, and statistical inference. "
    "J Am Stat Assoc 1927;22:209–212.",
    "delong": "DeLong ER, DeLong DM, Clarke-Pearson DL. Comparing the areas under two or more correlated receiver "
    "operating characteristic curves. Biometrics 1988;44:837–845.",
    "obuchowski": "Obuchowski NA, Rockette HE. Hypothesis testing of diagnostic accuracy for multiple readers and "
    "multiple tests. Commun Stat Simul Comput 1995;24:285–308.",
    "hillis": "Hillis SL. A comparison of denominator degrees of freedom methods for multiple observer ROC analysis. "
    "Stat Med 2007;26:596–619.",
    "gallas": "Gallas BD. One-shot estimate of MRMC variance: AUC. Acad Radiol 2006;13:353–362.",
    "dean": "Dean N, Pagano M. Evaluating confidence interval methods for binomial proportions in clustered surveys. "
    "J Surv Stat Methodol 2015;3:484–503.",
    "hautus": "Hautus MJ. Corrections for extreme proportions and their biasing effects on estimated values of d′. "
    "Behav Res Methods 1995;27:46–51.",
    "schuirmann": "Schuirmann DJ. A comparison of the two one-sided tests procedure and the power approach. "
    "J Pharmacokinet Biopharm 1987;15:657–680.",
    "cohen": "Cohen J. A coefficient of agreement for nominal scales. Educ Psychol Meas 1960;20:37–46.",
    "kappa": "Fleiss JL. Measuring nominal scale agreement among many raters. Psychol Bull 1971;76:378–382.",
    "icc": "Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. "
    "Psychol Bull 1979;86:420–428.",
}


def _parts(analysis: Analysis) -> list[tuple[str, tuple[str, ...]]]:
    """Sentences, each with the sources that it rests on."""
    material, study = analysis.material, analysis.study
    several = len({a.reader for a in (*material.calls, *material.ratings, *material.pairs)}) > 1
    parts: list[tuple[str, tuple[str, ...]]] = [(_who(analysis), ())]
    if read_simulated(study.folder / SERVED) is not None:
        parts.insert(0, ("SIMULATED ANSWERS, NOT FOR PUBLICATION.", ()))
    parts += [(sentence, ()) for sentence in _design(analysis)]
    parts += _primary(analysis)
    if material.calls:
        parts.append(("Each reader’s accuracy, sensitivity and specificity have Wilson intervals.", ("wilson",)))
        if any(reading.auc.n for reading in analysis.readers):
            text = "The area under the ROC curve comes from answers with confidences; its variance is DeLong’s, its "
            parts.append((text + "interval is taken on the logit scale.", ("delong",)))
        parts.append(("d′ and criterion use the log-linear correction.", ("hautus",)))
    if several:
        parts.append(
            (
                "Figures over readers treat readers and images as random (Obuchowski–Rockette with Hillis’s degrees "
                "of freedom, the variance between readers not below 0; shares by Wilson’s interval at the effective "
                "number of answers), with Gallas’s U-statistic beside it.",
                ("obuchowski", "hillis", "dean", "gallas"),
            )
        )
    elif not material.calls:
        parts.append(("Shares have Wilson intervals.", ("wilson",)))
    if several and material.calls:
        parts.append(("Agreement between readers is Cohen’s and Fleiss’s kappa.", ("cohen", "kappa")))
    if several and material.ratings:
        parts.append(("Agreement of ratings is the intraclass correlation, forms (2,1) and (3,1).", ("icc",)))
    parts.append((f"All figures were computed with synthcxr {__version__}.", ()))
    return parts


def _who(analysis: Analysis) -> str:
    material = analysis.material

    def count(number: int, noun: str) -> str:
        return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

    def of(answers: tuple[Answer, ...]) -> int:
        return len({answer.reader for answer in answers})

    parts = []
    # How answers from elsewhere were blinded is not known here.
    blinded = ", blinded to the truth and to each other" if analysis.study.planned else ""
    if material.calls:
        images = {answer.image for answer in material.calls}
        made = sum(material.truth[image] == "synthetic" for image in images)
        parts.append(
            f"{count(of(material.calls), 'reader')} judged {count(len(images), 'chest X-ray')} ({made} synthetic, "
            f"{len(images) - made} real) as real or synthetic{blinded}"
        )
    if material.pairs:
        asked = len({answer.question for answer in material.pairs})
        parts.append(f"{count(of(material.pairs), 'reader')} chose the synthetic image of {count(asked, 'pair')}")
    if material.ratings:
        images = {answer.image for answer in material.ratings}
        names = ", ".join(item.name for item in material.items if item.steps)
        parts.append(f"{count(of(material.ratings), 'reader')} rated {count(len(images), 'image')} for {names}")
    return "; ".join(parts) + "."


def _design(analysis: Analysis) -> list[str]:
    """What the plan fixed of images, order, practice and repeats; nothing for answers without one."""
    study, protocol = analysis.study, analysis.study.protocol
    said = []
    if protocol:
        said.append(f"The protocol (SHA-256 {protocol.sha256[:12]}) was fixed before the first answer.")
    if study.planned:
        matched = read_balance(study.folder)["matched"]
        if matched:
            said.append(
                f"Real images were matched to synthetic ones exactly by {', '.join(matched)}, within these strata by "
                "the nearest age and findings."
            )
        served = any(answer.at for answer in study.answers)
        order = "each reader’s own random order on a web page with zoom and window" if served else "random order"
        said.append(
            f"Images were shown as 8-bit greyscale of one shape without metadata, under neutral names, in {order}."
        )
    questions = protocol.questions if protocol else ()
    if practice := sum(question.training for question in questions):
        said.append(f"Each reader first answered {practice} practice questions with feedback, which are in no figure.")
    if again := sum(question.repeat_of is not None for question in questions):
        said.append(f"{again} questions were asked again under other image names, for each reader’s self-agreement.")
    return said


def _primary(analysis: Analysis) -> list[tuple[str, tuple[str, ...]]]:
    """The test that the protocol planned."""
    found, protocol = analysis.primary, analysis.study.protocol
    if not protocol or found.endpoint not in NAMES:
        return []
    plan, begin = protocol.analysis, f"The primary endpoint was {NAMES[found.endpoint]}"
    if plan.primary == "equivalence":
        end = f"equivalence to guessing, within 0.5 ± {plan.margin:g}, was judged by two one-sided tests at"
        return [(f"{begin}; {end} α = {plan.alpha:g}.", ("schuirmann",))]
    return [(f"{begin}, tested against 0.5 (two-sided, α = {plan.alpha:g}).", ())]


def methods(analysis: Analysis) -> str:
    """The paragraph, with numbers that point into `references`."""
    numbers = {source: number for number, source in enumerate(_used(analysis), 1)}
    sentences = []
    for text, sources in _parts(analysis):
        marks = ",".join(str(numbers[source]) for source in sources)
        sentences.append(f"{text} [{marks}]" if marks else text)
    return " ".join(sentences)


def references(analysis: Analysis) -> list[str]:
    """The sources in the order of their first use."""
    return [SOURCES[source] for source in _used(analysis)]


def _used(analysis: Analysis) -> list[str]:
    return list(dict.fromkeys(source for _, sources in _parts(analysis) for source in sources))
