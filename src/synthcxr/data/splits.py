"""Which patients train, which choose and which test; and the check that nobody is on two sides."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import SPLITS
from synthcxr.prompts import NO_FINDING
from synthcxr.store import Json

Percent = tuple[int, int, int]
"""Percent of patients for training, validation and test."""

AGE_GROUPS = (18, 40, 65)
"""Ages, in years, at which a new group of a stratified split begins."""
NAMED = 5
"""Leaks that an error names; the others it counts."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image of the dataset as far as splits care: its patient, its split by hash, the publisher's own."""

    name: str
    patient: str
    hashed: str
    official: str | None = None


def split_of(patient_id: str, percent: Percent) -> str:
    """The split of a patient, by the first 8 bytes of SHA-256 of the id: it stays when images are added."""
    position = int.from_bytes(hashlib.sha256(patient_id.encode()).digest()[:8]) / 2**64 * 100
    train, validation, _ = percent
    return "train" if position < train else "validation" if position < train + validation else "test"


def publishers(members: Sequence[Member]) -> list[str]:
    """The publisher's splits; an image that has none goes with its patient, or by hash where no image of it has one."""
    known = {member.patient: member.official for member in members if member.official}
    return [member.official or known.get(member.patient) or member.hashed for member in members]


# --- strata -----------------------------------------------------------------------------------------------


@dataclass
class _Patient:
    sex: str = ""
    age: int | None = None
    views: set[str] = field(default_factory=set)
    findings: set[str] = field(default_factory=set)


def stratified(rows: Iterable[Json], fields: Sequence[str], percent: Percent) -> dict[str, str]:
    """The split of every patient so that sex, view, age group and findings (those of `fields`) are mixed alike.

    Within each stratum patients are taken in the order of their ids' hash and allotted by largest remainder; what a
    stratum owes to a split by rounding, the next one pays. Of a patient's findings the rarest counts. Adding
    images can move patients, so such splits hold for one state of a source only.
    """
    patients: dict[str, _Patient] = defaultdict(_Patient)
    for row in rows:
        _add(patients[row["patient_id"]], row)
    commonness = Counter(finding for patient in patients.values() for finding in patient.findings)
    strata: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, patient in patients.items():
        strata[tuple(_trait(patient, trait, commonness) for trait in fields)].append(name)
    allotted, splits = [0] * len(SPLITS), dict[str, str]()
    done = 0
    for _, names in sorted(strata.items()):
        done += len(names)
        shares = _allot(
            len(names), percent, [done * part / 100 - had for part, had in zip(percent, allotted, strict=True)]
        )
        allotted = [had + share for had, share in zip(allotted, shares, strict=True)]
        homes = (split for split, share in zip(SPLITS, shares, strict=True) for _ in range(share))
        splits |= dict(zip(sorted(names, key=_hash), homes, strict=True))
    return splits


def _add(patient: _Patient, row: Json) -> None:
    age = row["age"] if row["age"] is not None else (row["age_range"] or [None])[0]
    patient.sex = patient.sex or row["sex"] or ""
    patient.age = age if patient.age is None else patient.age
    patient.views.add(row["view"] or "")
    patient.findings |= set(row["findings"]) - {NO_FINDING}


def _trait(patient: _Patient, trait: str, commonness: Counter[str]) -> str:
    if trait == "sex":
        return patient.sex
    if trait == "view":
        return "+".join(sorted(patient.views))
    if trait == "age":
        return "" if patient.age is None else str(sum(patient.age >= start for start in AGE_GROUPS))
    return min(patient.findings, key=lambda finding: (commonness[finding], finding), default="")


def _allot(count: int, percent: Percent, owed: Sequence[float]) -> list[int]:
    """How many of `count` patients go to each split: the whole part of its share, the rest where most is owed."""
    shares = [count * part // 100 for part in percent]
    left = [debt - share for debt, share in zip(owed, shares, strict=True)]
    for _ in range(count - sum(shares)):
        most = max((i for i in range(len(shares)) if percent[i]), key=lambda i: left[i])
        shares[most] += 1
        left[most] -= 1
    return shares


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


# --- leaks ------------------------------------------------------------------------------------------------


def check_leaks(members: Sequence[Member], splits: Sequence[str | None], twins: Iterable[tuple[int, int]] = ()) -> None:
    """Raise SynthCXRError where a patient, or one of two images that are nearly the same (`twins`), is in two splits.

    `twins` are pairs of positions in `members`; an image whose split is None is no part of the dataset.
    """
    patients = list(_split_patients(members, splits))
    if patients:
        raise SynthCXRError(
            f"{_count(len(patients), 'patient is', 'patients are')} in two splits: {_list(patients)}. "
            "Give --split 60/10/30 to split by patient instead of by the publisher's lists, or correct those rows."
        )
    across = [
        f"{members[a].name} ({splits[a]}, patient {members[a].patient}) and "
        f"{members[b].name} ({splits[b]}, patient {members[b].patient})"
        for a, b in twins
        if splits[a] and splits[b] and splits[a] != splits[b]
    ]
    if across:
        raise SynthCXRError(
            f"{_count(len(across), 'picture is', 'pictures are')} in two splits: "
            f"{_list(across)}. If it is one patient, give both images one patient_id; else check duplicates without "
            "--skip-checks, so that the later one is left out, or skip both rules on duplicates and look for none."
        )


def _split_patients(members: Sequence[Member], splits: Sequence[str | None]) -> Iterator[str]:
    first: dict[str, int] = {}
    told: set[str] = set()
    for position, member in enumerate(members):
        if splits[position] is None:
            continue
        other = first.setdefault(member.patient, position)
        if splits[position] != splits[other] and member.patient not in told:
            told.add(member.patient)
            yield (f"{member.patient} ({members[other].name} in {splits[other]}, {member.name} in {splits[position]})")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _list(found: Sequence[str]) -> str:
    more = len(found) - NAMED
    return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")
