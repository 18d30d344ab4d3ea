"""Which images a reader sees, and in which order. Nothing here touches the disk.

Chance comes from SHA-256 of the seed and the picture itself, so a draw does not depend on file names, on the
order of a folder's listing, or on the version of a random generator.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from synthcxr.imagefolder import Row
from synthcxr.store import sha256_bytes

Truth = Literal["real", "synthetic"]
TRUTHS: dict[str, Truth] = {"real": "real", "synthetic": "synthetic"}
"""The two words of a study, and the only ones."""


@dataclass(frozen=True)
class Candidate:
    """A picture that could be shown: its row, the SHA-256 of its grey levels, its shape (height, width)."""

    row: Row
    pixels: str
    shape: tuple[int, int]

    @property
    def patient(self) -> str:
        """The patient's id; a picture without one is its own patient."""
        return str(self.row.fields.get("patient_id") or self.pixels)


@dataclass(frozen=True)
class Case:
    """One picture of the reading, under the neutral name that the reader sees."""

    image: str
    truth: Truth
    candidate: Candidate


def shuffled(candidates: Sequence[Candidate], seed: int, purpose: str) -> list[Candidate]:
    """The candidates in the order that chance gives them; another `purpose` is another, independent order."""
    return sorted(candidates, key=lambda c: sha256_bytes(f"{seed}/{purpose}/{c.pixels}".encode()))


def draw(candidates: Sequence[Candidate], count: int, seed: int, purpose: str) -> list[Candidate]:
    """Draw `count` candidates: one a patient while patients last, then a second one of each, and so on."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Candidate]] = []
    for candidate in shuffled(candidates, seed, purpose):
        ranked.append((seen[candidate.patient], candidate))
        seen[candidate.patient] += 1
    return [candidate for _, candidate in sorted(ranked, key=lambda pair: pair[0])][:count]


def arrange(real: Sequence[Candidate], synthetic: Sequence[Candidate], seed: int) -> list[Case]:
    """Mix both kinds in an order that knows the seed and the pictures but not the truth; name the cases."""
    made = {candidate.pixels for candidate in synthetic}
    order = shuffled([*real, *synthetic], seed, "order")
    digits = max(3, len(str(len(order))))
    return [
        Case(f"case-{number:0{digits}}.png", "synthetic" if c.pixels in made else "real", c)
        for number, c in enumerate(order, 1)
    ]


def common_side(cases: Sequence[Case]) -> int | None:
    """The side in pixels to which all pictures are squared, or None where they share one shape already."""
    shapes = {case.candidate.shape for case in cases}
    return None if len(shapes) == 1 else min(min(shape) for shape in shapes)
