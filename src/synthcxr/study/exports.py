"""The answers as tables for other programs: iMRMC's input, and long CSVs for R."""

import csv
import io
import math
from collections.abc import Iterable

from synthcxr.study.material import Material, readers_of
from synthcxr.study.quality import pair_is_right
from synthcxr.study.readings import POSITIVE, score

MODALITY = "reading"
LONG_COLUMNS = (
    "reader",
    "case",
    "truth",
    "kind",
    "question",
    "answer",
    "score",
    "right",
    "confidence",
    "seconds",
    "position",
    "repeat_of",
    "comment",
)


def imrmc(material: Material, title: str) -> bytes:
    """Input of iMRMC: free lines, ``BEGIN DATA:``, then ``reader,case,modality,score``.

    The truth of a case (0 real, 1 synthetic) has the word truth for reader and modality. (User guide of iMRMC, section
    "Reader study data"; https://github.com/DIDSR/iMRMC.) Answers without a confidence score -1 or 1.
    """
    cases = sorted({answer.image for answer in material.calls})
    lines = [["truth", case, "truth", int(material.truth[case] == POSITIVE)] for case in cases]
    sure = all(answer.confidence is not None for answer in material.calls)
    for answer in material.calls:
        value = score(answer) if sure else 1.0 if answer.answer == POSITIVE else -1.0
        lines.append([_plain(answer.reader), answer.image, MODALITY, f"{value:g}"])
    readers = len(readers_of(material.calls))
    synthetic = sum(material.truth[case] == POSITIVE for case in cases)
    head = [
        _plain(title).replace("\n", " "),
        "Positive is synthetic.",
        f"N0:{len(cases) - synthetic}",
        f"N1:{synthetic}",
        f"NR:{readers}",
        "NM:1",
        "BEGIN DATA:",
    ]
    return ("\n".join(head) + "\n").encode() + _csv(lines)


def long_table(material: Material) -> bytes:
    """One row an answer, also to repeats: reader, case, truth, score and the rest, as `LONG_COLUMNS`."""
    rows = []
    for answer in (*material.calls, *material.pairs, *material.repeats):
        if answer.kind == "pairwise":
            right: bool | None = pair_is_right(material, answer)
        else:
            right = answer.answer == material.truth[answer.image] if answer.kind == "real-or-synthetic" else None
        value = score(answer)
        again = material.same_as(answer.image)
        rows.append(
            [
                answer.reader,
                answer.image,
                material.truth.get(answer.image),
                answer.kind,
                answer.question,
                answer.answer,
                None if math.isnan(value) or answer.kind != "real-or-synthetic" else f"{value:g}",
                None if right is None else int(right),
                answer.confidence,
                answer.seconds,
                answer.position,
                again if again != answer.image else None,
                answer.comment,
            ]
        )
    return _csv([LONG_COLUMNS, *rows])


def rating_table(material: Material) -> bytes:
    """One row a rating: reader, case, truth, item, step from 1, the step's label, the image that it repeats."""
    labels = {item.name: item.steps for item in material.items}
    rows = [
        [
            a.reader,
            a.image,
            material.truth.get(a.image),
            item,
            step,
            labels[item][step - 1],
            material.same_as(a.image) if material.same_as(a.image) != a.image else None,
        ]
        for a in (*material.ratings, *(r for r in material.repeats if r.kind == "quality"))
        for item, step in a.ratings.items()
        if item in labels and 1 <= step <= len(labels[item])
    ]
    return _csv([("reader", "case", "truth", "item", "step", "label", "repeat_of"), *rows])


def _plain(text: str) -> str:
    """iMRMC splits at every comma, quoted or not."""
    return text.replace(",", ";")


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(["" if cell is None else cell for cell in row] for row in rows)
    return buffer.getvalue().encode()
