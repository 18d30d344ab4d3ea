"""Named rules on a sentence: what changes words in it, and what is a reason to drop it."""

import re
from collections.abc import Sequence

Rephrasing = tuple[str, re.Pattern[str], str]
"""Name, what is found, what stands there instead."""
Reason = tuple[str, re.Pattern[str]]
"""Name, and what makes a sentence unfit."""


def rephrasings(*rules: tuple[str, str, str]) -> tuple[Rephrasing, ...]:
    """Compile rules; upper and lower case are alike."""
    return tuple((name, re.compile(pattern, re.IGNORECASE), put) for name, pattern, put in rules)


def reasons(*rules: tuple[str, str]) -> tuple[Reason, ...]:
    """Compile reasons; upper and lower case are alike."""
    return tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in rules)


def rephrase(sentence: str, rules: Sequence[Rephrasing]) -> tuple[str, list[str]]:
    """Apply rules in their order; the sentence and the names of those that changed it."""
    used = []
    for name, pattern, put in rules:
        changed = pattern.sub(put, sentence)
        if changed != sentence:
            sentence = changed
            used.append(name)
    return sentence, used


def reason_to_drop(sentence: str, rules: Sequence[Reason]) -> str | None:
    """The name of the first rule that a sentence falls under."""
    return next((name for name, pattern in rules if pattern.search(sentence)), None)
