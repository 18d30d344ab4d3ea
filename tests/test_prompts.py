"""Prompts say what is known, and nothing else."""

import random

from hypothesis import given
from hypothesis import strategies as st

from synthcxr.prompts import Subject, drop_fields, write_prompt

subjects = st.builds(
    Subject,
    age=st.none() | st.integers(0, 110),
    age_range=st.none() | st.just((1, 5)),
    sex=st.sampled_from([None, "M", "F"]),
    view=st.sampled_from([None, "AP", "PA"]),
    findings=st.sampled_from([(), ("No Finding",), ("Pleural_Thickening",), ("Mass", "Nodule", "Effusion")]),
)


def test_sentences() -> None:
    say = write_prompt
    assert say(Subject()) == "Chest X-ray."
    assert say(Subject(age=58, sex="M", view="PA", findings=("Effusion", "Pleural_Thickening"))) == (
        "PA chest X-ray of a 58-year-old man with effusion and pleural thickening."
    )
    assert say(Subject(age=81, sex="F", view="AP", findings=("No Finding",))) == (
        "AP chest X-ray of an 81-year-old woman, no finding."
    )
    assert say(Subject(age=11, sex="F")) == "Chest X-ray of an 11-year-old girl."
    assert say(Subject(age_range=(1, 5), view="AP")) == "AP chest X-ray of a 1 to 5-year-old child."
    assert say(Subject(findings=("Mass", "Nodule", "Edema"))) == "Chest X-ray with mass, nodule and edema."


@given(subjects, st.integers(0, 2**32))
def test_dropping_fields_never_adds_any(subject: Subject, seed: int) -> None:
    dropped = drop_fields(subject, 0.5, random.Random(seed))
    assert dropped.sex in (None, subject.sex)
    assert dropped.view in (None, subject.view)
    assert dropped.findings in ((), subject.findings)
    if subject.age is not None:
        assert dropped.age in (None, subject.age)
    elif subject.age_range:
        assert dropped.age is None or 1 <= dropped.age <= 5
        assert dropped.age_range in (None, subject.age_range)


@given(subjects)
def test_nothing_is_dropped_at_share_zero_and_all_at_one(subject: Subject) -> None:
    kept = drop_fields(subject, 0.0, random.Random(0))
    assert (kept.sex, kept.view, kept.findings) == (subject.sex, subject.view, subject.findings)
    assert write_prompt(drop_fields(subject, 1.0, random.Random(0))) == "Chest X-ray."
