"""Nobody looks at results while readers are at work, unless the log says who looked and why."""

from synthcxr.errors import UsageError
from synthcxr.study.amending import UNBLINDED, log_amendment, read_amendments
from synthcxr.study.folder import Study


def unfinished(study: Study) -> dict[str, int]:
    """Readers of the protocol who have questions left, with how many; a row left empty on a sheet is not left."""
    if study.protocol is None:
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
    waiting = ", ".join(f"{reader} {count}" for reader, count in left.items())
    if left and not entries:
        planned = study.protocol.readers if study.protocol else ()
        strangers = sorted({answer.reader for answer in study.answers} - set(planned))
        unknown = "".join(f" {name} is no reader of the protocol." for name in strangers)
        raise UsageError(
            f"Readers are still at work (questions left: {waiting}), and results would bias what follows. Wait for "
            f'them, or say why with --unblind "REASON"; it is logged.{unknown}'
        )
    notes = [f"Results were looked at early, {row['at']}: {row['why']}" for row in entries]
    if left:
        notes.append(f"Not all readers are done (questions left: {waiting}).")
    return notes
