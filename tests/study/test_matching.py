from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row
from synthcxr.store import Json
from synthcxr.study.matching import allocate, balance, distance, match, standardized, traits_of
from synthcxr.study.plan import Candidate, Pair


def candidate(index: int, **fields: object) -> Candidate:
    return Candidate(Row(Path(f"{index}.png"), "test", "", fields), f"pixels {index}", (8, 8))


def pile(rows: list[Json], start: int = 0) -> list[Candidate]:
    return [candidate(start + number, **row) for number, row in enumerate(rows)]


people = st.fixed_dictionaries(
    {
        "view": st.sampled_from(["AP", "PA"]),
        "sex": st.sampled_from(["M", "F", None]),
        "age": st.one_of(st.none(), st.integers(0, 95)),
        "findings": st.lists(st.sampled_from(["Effusion", "Mass", "Edema"]), max_size=2, unique=True),
    }
)


@given(st.lists(people, min_size=1, max_size=25), st.lists(people, min_size=1, max_size=12), st.integers(0, 99))
def test_pairs_agree_in_every_trait_that_both_sides_state(real: list[Json], made: list[Json], seed: int) -> None:
    ours, theirs = pile(real), pile(made, 100)
    try:
        pairs = match(ours, theirs, len(theirs), seed)
    except UsageError:
        return
    assert Counter(pair.synthetic.pixels for pair in pairs) == Counter(one.pixels for one in theirs)
    assert len({pair.real.pixels for pair in pairs}) == len(pairs)
    stated = [
        trait
        for trait in ("view", "sex", "age group", "finding")
        if all(any(traits_of(c).level(trait) for c in side) for side in (ours, theirs))
    ]
    for pair in pairs:
        assert [traits_of(pair.real).level(t) for t in stated] == [traits_of(pair.synthetic).level(t) for t in stated]
    after = {(row.trait, row.level): row.after for row in balance(ours, theirs, pairs)}
    assert all(value == 0 for (trait, _), value in after.items() if trait in stated)


def test_within_a_stratum_the_sum_of_differences_is_the_least() -> None:
    real = pile([{"sex": "M", "age": age, "findings": ["Mass"]} for age in (41, 44, 47, 52, 58)])
    made = pile([{"sex": "M", "age": age, "findings": ["Mass"]} for age in (46, 50, 45)], 100)
    pairs = match(real, made, 3, 0)
    cost = sum(distance(traits_of(pair.real), traits_of(pair.synthetic)) for pair in pairs)
    ages = [46, 50, 45]
    least = min(
        sum(abs(a - b) / 10 for a, b in zip(ages, chosen, strict=True))
        for chosen in permutations((41, 44, 47, 52, 58), 3)
    )
    assert cost == pytest.approx(least)


def test_a_patient_comes_twice_only_where_there_is_no_other() -> None:
    real = pile([{"sex": "M", "patient_id": owner, "age": 50} for owner in "AAAB"])
    made = pile([{"sex": "M", "age": 50}] * 3, 100)
    for seed in range(8):
        assert Counter(pair.real.patient for pair in match(real, made, 2, seed)) == {"A": 1, "B": 1}
        assert Counter(pair.real.patient for pair in match(real, made, 3, seed)) == {"A": 2, "B": 1}


def test_what_is_lacking_is_said_by_stratum() -> None:
    real = pile([{"sex": "M", "view": "PA"}] * 3)
    made = pile([{"sex": "M", "view": "PA"}] * 2 + [{"sex": "F", "view": "PA"}] * 2, 100)
    with pytest.raises(UsageError, match="3 pairs alike in view, sex are needed, but 2 can be made") as refused:
        match(real, made, 3, 0)
    assert "PA, F: 2 synthetic, 0 real, 2 too few" in str(refused.value)
    assert "PA, M" not in str(refused.value)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=8), st.data())
def test_shares_add_up_and_keep_to_the_room(cells: list[tuple[int, int]], data: st.DataObject) -> None:
    weights, room = [weight for weight, _ in cells], [size for _, size in cells]
    count = data.draw(st.integers(0, sum(room)))
    got = allocate(weights, room, count)
    assert sum(got) == count
    assert all(0 <= one <= size for one, size in zip(got, room, strict=True))


def test_ample_room_is_shared_by_the_weights() -> None:
    assert allocate([6, 3, 1], [100, 100, 100], 20) == [12, 6, 2]
    assert allocate([6, 3, 1], [4, 100, 100], 20) == [4, 12, 4]


def test_standardized_differences() -> None:
    """Shares 0.5 and 0.4: 0.1 / sqrt((0.25 + 0.24) / 2) = 0.2020 (Austin 2009, equation for binary variables)."""
    assert standardized(0.4, 0.5, 0.24, 0.25) == pytest.approx(0.20203, abs=1e-5)
    assert standardized(0.0, 1.0, 0.0, 0.0) is None
    rows = balance(pile([{"sex": "F"}, {"sex": "M"}]), pile([{"sex": "F"}] * 2, 9), [])
    assert [(row.level, row.real_before, row.synthetic_before) for row in rows] == [("F", 0.5, 1.0), ("M", 0.5, 0.0)]


def test_fields_are_read_as_sets_and_tables_write_them() -> None:
    traits = traits_of(candidate(0, age="61", sex="f", view="pa", findings="Pleural_Thickening"))
    assert (traits.view, traits.sex, traits.age_group, traits.finding) == ("PA", "F", "60-79", "finding")
    assert traits.findings == frozenset({"pleural thickening"})
    child = traits_of(candidate(1, age_range=[1, 5], findings=["No Finding"]))
    assert (child.age_group, child.finding) == ("0-4", "no finding")
    assert traits_of(candidate(2)).age_group == traits_of(candidate(2)).finding == ""
    assert traits_of(candidate(3, age=80)).age_group == "80+"


def test_images_without_any_field_are_drawn_as_ever() -> None:
    pairs = match(pile([{}] * 6), pile([{}] * 5, 100), 4, 0)
    assert len({pair.real.pixels for pair in pairs}) == len({pair.synthetic.pixels for pair in pairs}) == 4
    assert balance(pile([{}] * 6), pile([{}] * 5, 100), [Pair(candidate(0), candidate(100))]) == []
