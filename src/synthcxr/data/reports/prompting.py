"""A prompt of a record, in the style that is asked for, or the reason why there is none."""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from synthcxr.data.records import Record, RejectedImageError
from synthcxr.data.reports.cleaning import Cleaned, Sentence, clean
from synthcxr.data.reports.elsewhere import LATERAL_VIEWS
from synthcxr.data.reports.negation import rank
from synthcxr.data.reports.sections import read_sections
from synthcxr.prompts import Subject, drop_fields, name_finding, write_prompt

Style = Literal["structured", "labels", "findings", "impression", "text"]
"""What a prompt is; ``text`` is one that the source itself gives. It is a row's `prompt_style`."""
CountTokens = Callable[[str], int]
Priors = Literal["drop", "keep"]
MIXTURE_DROPOUT = 0.25
"""Share of view, age, sex and findings left out of the prompts of a mixture."""
LONGEST_REPORT = 20_000
"""Characters above which a text is no report of one X-ray."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, the style it is in, and the report's section it was taken from (empty where from none).

    `dropped` counts the report's sentences that it does not say, by reason; `sentences` are those that it does.
    `unsaid` is how many of the dropped ones state a finding as there: where it is not 0, the picture shows more.
    """

    text: str
    style: Style
    section: str = ""
    sentences: tuple[Sentence, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0


@dataclass(frozen=True, slots=True)
class NoPrompt:
    """Why a record gives no prompt: a rule by name, and the reason in words that quote nothing of the report."""

    rule: str
    reason: str
    dropped: Counter[str] = field(default_factory=Counter)


def prompt_of(
    record: Record,
    style: Literal["structured", "labels", "findings", "impression", "mixture"],
    priors: Priors,
    count_tokens: CountTokens,
    limit: int,
    rng: random.Random,
) -> Prompt | NoPrompt:
    """Write a record's prompt; `limit` is in tokens as `count_tokens` counts them, start and end included.

    ``structured`` and ``labels`` need no report. ``findings`` and ``impression`` say view, age and sex and then the
    report's sentences; where a report lacks the section, they take the other. A ``mixture`` takes one of the styles
    that the record has, and leaves fields out, both by `rng`. Sentences that do not fit are dropped whole, the ones
    that tell least first. A record's own `text` is its prompt where there is no report to take one from.
    """
    if len(record.report) > LONGEST_REPORT and style not in ("structured", "labels"):
        return NoPrompt("report too long", f"its report has more than {LONGEST_REPORT:,} characters")
    if style == "mixture":
        return _mixture(record, priors, count_tokens, limit, rng)
    if style == "structured":
        return _structured(record, count_tokens, limit)
    if style == "labels":
        return _labels(record.subject, count_tokens, limit)
    if not record.report.strip() and record.text:
        return _structured(record, count_tokens, limit)
    return _from_report(record, style, priors, count_tokens, limit, record.subject)


def _mixture(
    record: Record,
    priors: Priors,
    count_tokens: CountTokens,
    limit: int,
    rng: random.Random,
) -> Prompt | NoPrompt:
    sections = read_sections(record.report)
    styles: list[Literal["structured", "labels", "findings", "impression"]] = ["structured"]
    styles += ["labels"] if record.subject.findings else []
    styles += ["findings"] if sections.findings else []
    styles += ["impression"] if sections.impression else []
    rng.shuffle(styles)
    subject = drop_fields(record.subject, MIXTURE_DROPOUT, rng)
    result: Prompt | NoPrompt = NoPrompt("no prompt", "nothing is known of the image that a prompt could say")
    for style in styles:
        if style == "labels":
            result = _labels(record.subject, count_tokens, limit)
        elif style == "structured":
            result = _structured(replace(record, subject=subject), count_tokens, limit)
        else:
            result = _from_report(record, style, priors, count_tokens, limit, subject)
        if isinstance(result, Prompt):
            return result
    return result


def _structured(record: Record, count_tokens: CountTokens, limit: int) -> Prompt | NoPrompt:
    """The source's own text, cut to whole sentences, or one written from view, age, sex and findings."""
    if record.text:
        if count_tokens(record.text) <= limit:
            return Prompt(record.text, "text")
        cleaned = clean(record.text, language=record.language, priors_kept=True)
        return _fit("", "", cleaned, count_tokens, limit, "text")
    findings = record.subject.findings
    texts = (write_prompt(replace(record.subject, findings=findings[:count])) for count in _down_from(len(findings)))
    return _longest(texts, "structured", count_tokens, limit)


def _labels(subject: Subject, count_tokens: CountTokens, limit: int) -> Prompt | NoPrompt:
    """Names of findings alone, as many as fit."""
    names = [name_finding(finding) for finding in subject.findings]
    if not names:
        return NoPrompt("no labels", "the source names no finding, and --prompt-style labels says findings alone")
    return _longest((", ".join(names[:count]) for count in _down_from(len(names))), "labels", count_tokens, limit)


def _down_from(count: int) -> range:
    """From all findings down to one, or only none where there is none."""
    return range(count, 0, -1) if count else range(1)


def _longest(texts: Iterable[str], style: Style, count_tokens: CountTokens, limit: int) -> Prompt | NoPrompt:
    """The first text that fits, of texts each with one finding less."""
    for left_out, text in enumerate(texts):
        if count_tokens(text) <= limit:
            return Prompt(text, style, dropped=Counter({"does not fit": left_out} if left_out else {}))
    return NoPrompt("prompt too long", f"not one finding fits {limit} tokens")


def _from_report(
    record: Record,
    style: Literal["findings", "impression"],
    priors: Priors,
    count_tokens: CountTokens,
    limit: int,
    subject: Subject,
) -> Prompt | NoPrompt:
    if not record.report.strip():
        return NoPrompt("no report", f"there is no report of this image, and --prompt-style {style} needs one")
    sections = read_sections(record.report)
    other = "impression" if style == "findings" else "findings"
    head = write_prompt(replace(subject, findings=()))
    result: Prompt | NoPrompt = NoPrompt("no section", "the report has neither findings nor an impression")
    for section, text in ((style, getattr(sections, style)), (other, getattr(sections, other))):
        if text:
            cleaned = _clean(text, record, priors)
            result = _fit(head, section, cleaned, count_tokens, limit, style)
            if isinstance(result, Prompt):
                break
    return result


def _clean(text: str, record: Record, priors: Priors) -> Cleaned:
    return clean(
        text,
        language=record.language,
        priors_kept=priors == "keep",
        lateral_shown=bool(LATERAL_VIEWS.match(record.subject.view or "")),
    )


def _fit(
    head: str,
    section: str,
    cleaned: Cleaned,
    count_tokens: CountTokens,
    limit: int,
    style: Style,
) -> Prompt | NoPrompt:
    """As many whole sentences as fit after the head, what is there before what is not, in the report's order."""
    sentences, dropped = cleaned.sentences, cleaned.dropped
    if not sentences:
        why = ", ".join(f"{count} × {name}" for name, count in dropped.most_common())
        return NoPrompt("no sentence", f"no sentence of the report can be said ({why or 'it is empty'})", dropped)
    ranks: list[int] = []
    for sentence in sentences:  # what leans on a sentence is as weighty as that
        ranks.append(ranks[-1] if sentence.leans and ranks else rank(sentence.text))

    def written(indices: set[int]) -> str:
        return " ".join([head] * bool(head) + [sentences[index].text for index in sorted(indices)])

    chosen: set[int] = set()
    for index in sorted(range(len(sentences)), key=lambda i: (ranks[i], i)):
        stands = not sentences[index].leans or index - 1 in chosen
        if stands and count_tokens(written(chosen | {index})) <= limit:
            chosen.add(index)
    if not chosen:
        return NoPrompt("prompt too long", f"not one sentence of the report fits {limit} tokens", dropped)
    left_out = len(sentences) - len(chosen)
    unsaid = cleaned.unsaid + sum(rank(sentence.text) == 0 for i, sentence in enumerate(sentences) if i not in chosen)
    return Prompt(
        written(chosen),
        style,
        section,
        tuple(sentences[index] for index in sorted(chosen)),
        dropped + Counter({"does not fit": left_out} if left_out else {}),
        unsaid,
    )


def load_report(root: Path, record: Record) -> Record:
    """The record with the text of its `report_file` as its `report`; as it is where it names none.

    Raises RejectedImageError where the file is missing, leads out of the source, is too large, or is no text.
    """
    if not record.report_file or record.report:
        return record
    path = root / record.report_file
    if not path.resolve().is_relative_to(root.resolve()):
        raise RejectedImageError("report", "the path of its report leads out of the source")
    try:
        if path.stat().st_size > 4 * LONGEST_REPORT:
            raise RejectedImageError("report", f"its report has more than {4 * LONGEST_REPORT:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise RejectedImageError("report", f"its report cannot be read: {error.strerror}") from error
    if b"\0" in data:
        raise RejectedImageError("report", "its report is no text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    return replace(record, report=re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", " ", text))
