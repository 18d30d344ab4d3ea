from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from synthcxr.imagefolder import Row
from synthcxr.study.plan import Candidate, arrange, common_side, draw


def candidate(index: int, patient: str | None = None, shape: tuple[int, int] = (8, 8)) -> Candidate:
    fields = {"patient_id": patient} if patient else {}
    return Candidate(Row(Path(f"{index}.png"), "test", "", fields), f"pixels {index}", shape)


patients = st.lists(st.sampled_from("ABCDEF"), min_size=1, max_size=30)
seeds = st.integers(0, 2**63 - 1)


@given(patients, st.data(), seeds)
def test_a_draw_has_its_count_and_as_many_patients_as_there_can_be(
    owners: list[str], data: st.DataObject, seed: int
) -> None:
    count = data.draw(st.integers(1, len(owners)))
    drawn = draw([candidate(i, owner) for i, owner in enumerate(owners)], count, seed, "real")
    assert len({c.pixels for c in drawn}) == len(drawn) == count
    assert len({c.patient for c in drawn}) == min(count, len(set(owners)))


@given(st.permutations(range(12)), seeds)
def test_a_draw_depends_on_the_seed_and_not_on_the_listing(order: list[int], seed: int) -> None:
    assert draw([candidate(i) for i in order], 5, seed, "real") == draw(
        [candidate(i) for i in range(12)], 5, seed, "real"
    )


def test_another_seed_or_purpose_draws_others() -> None:
    pile = [candidate(i) for i in range(40)]
    assert draw(pile, 10, 0, "real") != draw(pile, 10, 1, "real")
    assert draw(pile, 10, 0, "real") != draw(pile, 10, 0, "synthetic")


@given(st.integers(1, 20), st.integers(1, 20), seeds)
def test_cases_keep_their_truth_under_names_in_order(real: int, synthetic: int, seed: int) -> None:
    ours = [candidate(i) for i in range(real)]
    theirs = [candidate(100 + i) for i in range(synthetic)]
    cases = arrange(ours, theirs, seed)
    assert [case.image for case in cases] == [f"case-{i:03}.png" for i in range(1, real + synthetic + 1)]
    assert {c.candidate.pixels for c in cases if c.truth == "real"} == {c.pixels for c in ours}
    assert {c.candidate.pixels for c in cases if c.truth == "synthetic"} == {c.pixels for c in theirs}


def test_the_order_does_not_know_the_truth() -> None:
    ours, theirs = [candidate(i) for i in range(9)], [candidate(100 + i) for i in range(9)]
    swapped = arrange(theirs, ours, 3)
    assert [case.candidate for case in arrange(ours, theirs, 3)] == [case.candidate for case in swapped]


def test_neither_kind_comes_first_over_many_seeds() -> None:
    """The mean place of synthetic images is that of a fair shuffle, within four of its standard errors."""
    n, studies = 20, 200
    ours, theirs = [candidate(i) for i in range(n)], [candidate(100 + i) for i in range(n)]
    places = [
        place
        for seed in range(studies)
        for place, case in enumerate(arrange(ours, theirs, seed), 1)
        if case.truth == "synthetic"
    ]
    standard_error = ((2 * n + 1) / 12 / studies) ** 0.5  # of the mean rank (Wilcoxon's W over n)
    assert abs(sum(places) / len(places) - (2 * n + 1) / 2) < 4 * standard_error


def test_one_shape_stays_and_several_become_the_smallest_square() -> None:
    same = arrange([candidate(1, shape=(8, 9))], [candidate(2, shape=(8, 9))], 0)
    mixed = arrange([candidate(1, shape=(20, 12))], [candidate(2, shape=(16, 16))], 0)
    assert common_side(same) is None
    assert common_side(mixed) == 12
