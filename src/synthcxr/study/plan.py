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
from synthcxr.study.protocol import Kind, Question

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
class Pair:
    """A real image and the synthetic one that it stands beside."""

    real: Candidate
    synthetic: Candidate


@dataclass(frozen=True)
class Case:
    """One picture of the reading, under a neutral name; `same_as` is the name under which it was shown before."""

    image: str
    truth: Truth
    candidate: Candidate
    same_as: str | None = None


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


@dataclass(frozen=True)
class Screens:
    """The pictures of one kind of question, screen by screen: one each, or two (left, right)."""

    kind: Kind
    training: tuple[tuple[Candidate, ...], ...]
    tested: tuple[tuple[Candidate, ...], ...]


def deal(pairs: Sequence[Pair], kinds: Sequence[Kind], count: int, training: int, seed: int) -> list[Screens]:
    """Deal pairs out to the kinds of question, so that no picture is in two questions.

    Each kind gets `count` pairs, and those that can be wrong `training` practice questions more. A pairwise question
    takes a pair, of which chance puts as many synthetic images left as right; any other question takes one image.
    """
    left = iter(sorted(pairs, key=lambda pair: _chance(seed, "deal", pair)))
    dealt = []
    for kind in kinds:
        practice = 0 if kind == "quality" else training if kind == "pairwise" else -(-training // 2)
        mine = [next(left) for _ in range(practice + count)]
        lay = _sides if kind == "pairwise" else _singles
        dealt.append(Screens(kind, tuple(lay(mine[:practice], seed)[:training]), tuple(lay(mine[practice:], seed))))
    return dealt


def pairs_needed(kinds: Sequence[Kind], count: int, training: int) -> int:
    """How many pairs `deal` takes."""
    practice = {"pairwise": training, "real-or-synthetic": -(-training // 2), "quality": 0}
    return sum(count + practice[kind] for kind in kinds)


def _sides(pairs: Sequence[Pair], seed: int) -> list[tuple[Candidate, ...]]:
    mixed = sorted(pairs, key=lambda pair: _chance(seed, "side", pair))
    laid: dict[str, tuple[Candidate, ...]] = {
        pair.real.pixels: (pair.synthetic, pair.real) if number % 2 else (pair.real, pair.synthetic)
        for number, pair in enumerate(mixed, int(_chance(seed, "first side", *mixed[:1])[:8], 16) % 2)
    }
    return [laid[pair.real.pixels] for pair in pairs]


def _singles(pairs: Sequence[Pair], seed: int) -> list[tuple[Candidate, ...]]:
    """Both images of each pair after each other, so that any beginning is balanced; chance says which comes first."""
    turned = [int(_chance(seed, "turn", pair)[:8], 16) % 2 for pair in pairs]
    flat = [(p.synthetic, p.real) if turn else (p.real, p.synthetic) for p, turn in zip(pairs, turned, strict=True)]
    return [(candidate,) for both in flat for candidate in both]


def _chance(seed: int, purpose: str, *pairs: Pair) -> str:
    pictures = "/".join(candidate.pixels for pair in pairs for candidate in (pair.real, pair.synthetic))
    return sha256_bytes(f"{seed}/{purpose}/{pictures}".encode())


def ask(screens: Sequence[Screens], cases: Sequence[Case], repeats: int) -> tuple[list[Case], list[Question]]:
    """The cases with their repeats, and the questions, both in an order that does not know the truth.

    The first `repeats` screens of each kind are asked again, under new names that follow all others.
    """
    names = {case.candidate.pixels: case for case in cases}
    digits = len(cases[0].image) - len("case-.png")
    everything, questions = list(cases), list[Question]()

    def add(kind: Kind, images: tuple[str, ...], training: bool = False, repeat_of: str | None = None) -> None:
        questions.append(Question(f"q{len(questions) + 1:03}", kind, images, training, repeat_of))

    for part in screens:
        for training, group in ((True, part.training), (False, part.tested)):
            for images in sorted(tuple(names[c.pixels].image for c in screen) for screen in group):
                add(part.kind, images, training)
        asked = {question.images: question.id for question in questions}
        for first in sorted(tuple(names[c.pixels].image for c in screen) for screen in part.tested[:repeats]):
            again = [
                Case(f"case-{number:0{digits}}.png", case.truth, case.candidate, case.image)
                for number, case in enumerate(
                    (next(c for c in cases if c.image == image) for image in first), len(everything) + 1
                )
            ]
            everything += again
            add(part.kind, tuple(case.image for case in again), repeat_of=asked[first])
    return everything, questions


def common_side(cases: Sequence[Case]) -> int | None:
    """The side in pixels to which all pictures are squared, or None where they share one shape already."""
    shapes = {case.candidate.shape for case in cases}
    return None if len(shapes) == 1 else min(min(shape) for shape in shapes)
