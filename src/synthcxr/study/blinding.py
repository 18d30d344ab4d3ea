"""Nobody looks at results while readers are at work, unless the log says who looked and why."""

from synthcxr.errors import UsageError
from synthcxr.study.amending import UNBLINDED, log_amendment, read_amendments
from synthcxr.study.folder import Study
from synthcxr.study.serving.database import SERVED


def unfinished(study: Study) -> dict[str, int]:
    """Readers of a served study who have questions left, with how many; none for a study that is not served."""
    if study.protocol is None or not (study.folder / SERVED).exists():
        return {}
    asked = {question.id for question in study.protocol.questions if not question.training}
    left = {}
    for reader in study.protocol.readers:
        images = {answer.image for answer in study.answers if answer.reader == reader and answer.question is None}
        given = {answer.question for answer in study.answers if answer.reader == reader}
        given |= {q.id for q in study.protocol.questions if q.kind != "pairwise" and q.images[0] in images}
        if asked - given:
            left[reader] = len(asked - given)
    return left


def check_blinding(study: Study, reason: str | None) -> list[str]:
    """Refuse to go on while readers are at work, or log the reason; returns what the analysis has to say of it.

    Raises UsageError where readers are not done and neither a reason nor an earlier entry of the log unblinds.
    """
    left = unfinished(study)
    if left and reason:
        log_amendment(study.folder, UNBLINDED, reason)
    entries = [row for row in read_amendments(study.folder) if row["what"] == UNBLINDED]
    if left and not entries:
        waiting = ", ".join(f"{reader} {count}" for reader, count in left.items())
        raise UsageError(
            f"Readers are still at work (questions left: {waiting}), and results would bias what follows. Wait for "
            'them, or say why with --unblind "REASON"; it is logged.'
        )
    notes = [f"Results were looked at early, {row['at']}: {row['why']}" for row in entries]
    if left:
        notes.append(f"Not all readers are done (questions left: {', '.join(f'{r} {n}' for r, n in left.items())}).")
    return notes
