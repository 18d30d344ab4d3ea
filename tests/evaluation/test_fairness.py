"""Differences between groups: planted ones are found, absent ones are not, few images are flagged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep

from synthcxr.evaluation.answer import Answer
from synthcxr.evaluation.fairness import answer_fairness, find_groups
from synthcxr.evaluation.features import FeatureSet
from synthcxr.evaluation.intervals import Estimate, Floats, difference, wilson
from synthcxr.evaluation.labelling import Labeller
from synthcxr.imagefolder import Row

N = 240


def side_of(name: str, features: Floats, fields: list[dict[str, Any]]) -> FeatureSet:
    n = len(features)
    keys = tuple(f"{name}/{i}" for i in range(n))
    rows = tuple(Row(Path(f"{name}{i}.png"), "test", fields=each) for i, each in enumerate(fields))
    return FeatureSet(name, features, features, np.arange(n), keys, keys, rows, "encoder", "0", "none")


def fields() -> list[dict[str, Any]]:
    """Two of three are women, half are PA, half are abnormal, independently."""
    return [
        {
            "sex": "F" if i % 3 else "M",
            "view": "PA" if i // 3 % 2 else "AP",
            "age": 30 if i // 6 % 2 else 50,
            "findings": ["No Finding"] if i // 12 % 2 else ["Effusion"],
        }
        for i in range(N)
    ]


def world(seed: int) -> tuple[FeatureSet, FeatureSet, FeatureSet]:
    """Feature 0 tells the findings, on all sides alike."""
    rng = np.random.default_rng(seed)
    sides = []
    for name in ("real", "drawn", "training"):
        features = rng.standard_normal((N, 6))
        features[:, 0] += [2.0 * (each["findings"] != ["No Finding"]) for each in fields()]
        sides.append(side_of(name, features, fields()))
    return sides[0], sides[1], sides[2]


LABELLER = Labeller(
    "made up", "0", "none", ("abnormal",), lambda side: 1 / (1 + np.exp(-4 * (side.features[:, :1] - 1)))
)


def ask(real: FeatureSet, drawn: FeatureSet, training: FeatureSet | None) -> tuple[Answer, dict[str, dict[str, Any]]]:
    answer = answer_fairness(real, drawn, training, LABELLER, seed=0, no_training="The training images are not known.")
    return answer, {each["name"]: each for each in answer.metrics}


def apart(each: dict[str, Any]) -> bool:
    return not each["ci_low"] <= 0 <= each["ci_high"]


def changed(drawn: FeatureSet, column: int, amount: float) -> FeatureSet:
    """The set, its men changed in one feature."""
    features = drawn.features.copy()
    features[::3, column] += amount
    return replace(drawn, features=features, identity=features)


def test_groups_alike_are_not_told_apart() -> None:
    _, found = ask(*world(0))
    assert {name.split("_")[-1] for name in found} >= {"M"}
    assert sum(map(apart, found.values())) <= 1  # of 12, at 95 %
    assert all(
        each["reference"] in ("female", "view AP", "view PA", "18 to 39 years", "40 to 64 years")
        for each in found.values()
    )


def test_a_group_drawn_worse_is_found() -> None:
    real, drawn, training = world(1)
    answer, found = ask(real, changed(drawn, 3, 3.0), training)
    assert found["fairness_kid_sex_M"]["ci_low"] > 0
    assert not apart(found["fairness_faithfulness_sex_M"])
    assert "male is less real than female" in answer.verdict


def test_a_group_drawn_without_what_was_asked_is_found_by_what_real_images_show() -> None:
    real, drawn, training = world(2)
    features = drawn.features.copy()
    features[::3, 0] = np.random.default_rng(3).standard_normal(N // 3) + 1  # men: findings as by a coin
    _, found = ask(real, replace(drawn, features=features), training)
    assert found["fairness_faithfulness_sex_M"]["ci_high"] < 0
    # where real men are as hard to see, it is no fault of the set
    features = real.features.copy()
    features[::3, 0] = np.random.default_rng(4).standard_normal(N // 3) + 1
    blurred = replace(drawn, features=drawn.features.copy())
    blurred.features[::3, 0] = np.random.default_rng(5).standard_normal(N // 3) + 1
    _, found = ask(replace(real, features=features), blurred, training)
    assert not apart(found["fairness_faithfulness_sex_M"])
    assert found["fairness_usefulness_auc_sex_M"]["ci_high"] < 0


def test_copies_of_one_group_are_found() -> None:
    real, drawn, training = world(6)
    identity = drawn.identity.copy()
    identity[:60:3] = training.identity[:60:3]
    _, found = ask(real, replace(drawn, identity=identity), training)
    each = found["fairness_near_copy_rate_sex_M"]
    assert each["of_group"]["synthetic"]["value"] >= 0.25 and each["ci_low"] > 0
    _, found = ask(real, drawn, None)
    assert found["fairness_near_copy_rate_sex_M"]["reason"].startswith("The training images are not known")


def test_few_images_are_flagged_and_fewer_give_no_figure() -> None:
    real, drawn, training = world(7)
    few = [
        dict(row.fields, sex="M" if i < 30 else "F", age=70 if i < 10 else 50)
        for i, row in enumerate(drawn.rows)
        if row
    ]
    answer, found = ask(real, side_of("drawn", drawn.features, few), training)
    assert "30" in found["fairness_kid_sex_M"]["warning"]
    old = found["fairness_kid_age_65_years_and_more"]
    assert old["value"] is None and "20 are needed" in old["reason"]
    assert any("male (80 real, 30 synthetic)" in warning for warning in answer.warnings)


def test_without_groups_it_says_so() -> None:
    real, drawn, training = world(8)
    answer, _ = ask(real, side_of("drawn", drawn.features, [{} for _ in range(N)]), training)
    assert answer.verdict.startswith("Nothing can be said") and answer.metrics[0]["reason"]


def test_an_age_range_counts_where_it_lies_in_one_group() -> None:
    side = side_of("side", np.zeros((3, 2)), [{"age_range": [1, 5]}, {"age": 7}, {"age_range": [10, 30]}])
    (group,) = find_groups(side, side)
    assert group.title == "0 to 17 years" and group.real.tolist() == [True, True, False]


def test_the_difference_of_two_shares_is_newcombes() -> None:
    one, other = (Estimate(a / b, *wilson(a, b)) for a, b in ((56, 70), (48, 80)))
    found = difference(one, other)
    assert (found.low, found.high) == pytest.approx(confint_proportions_2indep(56, 70, 48, 80, method="newcomb"))
    assert found.low == pytest.approx(0.0524, abs=1e-4)  # Newcombe 1998, table II, example (a), method 10
    assert found.high == pytest.approx(0.3339, abs=1e-4)
