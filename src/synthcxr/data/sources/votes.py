"""Findings that several radiologists stated of the same image: those of the greater part of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from synthcxr.data.sources.tables import tidy_findings


@dataclass
class Votes:
    """Of each image the readers, and of each of its findings those who stated it."""

    readers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    stated: dict[str, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))

    def add(self, image: str, reader: str, findings: Iterable[str]) -> None:
        """Count what one reader states of one image, once however many boxes were drawn."""
        self.readers[image].add(reader)
        for finding in findings:
            self.stated[image][finding].add(reader)

    def findings(self, image: str, doubts: Counter[str]) -> tuple[str, ...]:
        """The findings of an image that more than half of its readers stated."""
        half = len(self.readers[image]) / 2
        stated = self.stated.get(image, {})
        kept = [finding for finding, readers in stated.items() if len(readers) > half]
        doubts["radiologists disagree, and findings of half of them or fewer are left out"] += len(kept) < len(stated)
        return tidy_findings(kept)
