"""Every other statistic against published figures, another package, or a computation of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthcxr.study.statistics import proportion, roc
from synthcxr.study.statistics.agreement import fleiss, intraclass, kappa
from synthcxr.study.statistics.detection import detection
from synthcxr.study.statistics.equivalence import equivalence
from synthcxr.study.statistics.learning import learning

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Table 2 of P. E. Shrout, J. L. Fleiss, Psychological Bulletin 86 (1979) 420–428: six targets, four judges."""

FLEISS = """0 0 0 0 14|0 2 6 4 2|0 0 3 5 6|0 3 9 2 0|2 2 8 1 1|7 7 0 0 0|3 2 6 3 0|2 5 3 2 2|6 5 2 1 0|0 2 2 3 7"""
"""Ten subjects, 14 raters, five categories; kappa 0.210 (https://en.wikipedia.org/wiki/Fleiss%27_kappa)."""


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 100, 0.722, 0.875), (43, 50, 0.738, 0.930), (38, 50, 0.626, 0.857), (36, 100, 0.273, 0.458)],
)
def test_wilson_of_the_original_reading(right: int, n: int, low: float, high: float) -> None:
    ends = proportion.wilson(right, n)
    assert [round(float(end), 3) for end in ends] == [low, high]


def test_the_effective_interval_is_wilsons_for_independent_answers() -> None:
    from scipy.stats import norm

    for right, n in ((81, 100), (0, 20), (20, 20), (1, 7)):
        p = right / n
        found = proportion.effective_wilson(p, p * (1 - p) / n, norm.ppf(0.975), n)
        assert np.array(found) == pytest.approx(np.array(proportion.wilson(right, n)), abs=1e-9)


def test_intraclass_correlations_of_shrout_and_fleiss() -> None:
    """The intervals are those of the R package psych, ICC(), for the same table."""
    second, third = intraclass(SHROUT_FLEISS)
    assert second.value is not None and third.value is not None
    assert (round(second.value, 2), round(third.value, 2)) == (0.29, 0.71)
    assert [second.low, second.high] == pytest.approx([0.019, 0.761], abs=6e-4)
    assert [third.low, third.high] == pytest.approx([0.342, 0.946], abs=6e-4)


def test_intraclass_correlations_from_an_anova_of_statsmodels() -> None:
    import pandas  # type: ignore[import-untyped]
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    ratings = np.random.default_rng(4).integers(1, 6, (30, 3)) + np.arange(30)[:, None] // 6
    n, k = ratings.shape
    table = pandas.DataFrame(
        {"y": ratings.ravel(), "image": np.repeat(np.arange(n), k), "reader": np.tile(np.arange(k), n)}
    )
    square = sm.stats.anova_lm(ols("y ~ C(image) + C(reader)", table).fit())["sum_sq"]
    rows, columns, error = square.iloc[0] / (n - 1), square.iloc[1] / (k - 1), square.iloc[2] / ((n - 1) * (k - 1))
    second, third = intraclass(ratings)
    assert third.value == pytest.approx((rows - error) / (rows + (k - 1) * error))
    assert second.value == pytest.approx((rows - error) / (rows + (k - 1) * error + k * (columns - error) / n))


def test_kappa_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(1)
    first = rng.integers(0, 2, 200)
    second = np.where(rng.random(200) < 0.8, first, 1 - first)
    found = kappa(first, second)
    assert found.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.low is not None and found.high is not None and found.value is not None
    assert found.low < found.value < found.high
    assert kappa(["real"] * 5, ["real"] * 5).value is None
    assert kappa(["real", "synthetic"] * 5, ["real", "synthetic"] * 5).value == 1.0


def test_fleiss_kappa_of_the_published_table_and_its_jackknife() -> None:
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = np.array([[int(c) for c in row.split()] for row in FLEISS.split("|")])
    answers = np.array([np.repeat(np.arange(5), row) for row in counts])
    found = fleiss(answers)
    assert found.value == pytest.approx(0.210, abs=5e-4)
    without = np.array([fleiss_kappa(np.delete(counts, i, axis=0)) for i in range(10)])
    pseudo = 10 * float(fleiss_kappa(counts)) - 9 * without
    half = 2.262157 * pseudo.std(ddof=1) / np.sqrt(10)
    assert found.value is not None
    assert [found.low, found.high] == pytest.approx([found.value - half, found.value + half])
    assert fleiss([[1, 1], [1, 1]]).value is None


def test_detection_of_one_hand_and_its_limits() -> None:
    found = detection(20, 25, 10, 25)  # (20.5 / 26, 10.5 / 26) are at 0.80109 and -0.24340 of the normal
    assert found.d_prime == pytest.approx(0.8010 + 0.2434, abs=2e-4)
    assert found.criterion == pytest.approx(-(0.8010 - 0.2434) / 2, abs=2e-4)
    sure = detection(50, 50, 0, 50)
    assert np.isfinite([sure.d_prime, sure.d_prime_low, sure.d_prime_high]).all()
    assert sure.criterion == pytest.approx(0)
    assert detection(25, 50, 25, 50).d_prime == pytest.approx(0)
    assert detection(840_000, 1_000_000, 160_000, 1_000_000).d_prime == pytest.approx(1.989, abs=1e-3)


grades = st.lists(st.integers(1, 5), min_size=2, max_size=25)


@settings(deadline=None)
@given(grades, grades)
def test_the_area_is_that_of_scikit_learn(positive: list[int], negative: list[int]) -> None:
    from sklearn.metrics import roc_auc_score

    places = roc.place(positive, negative)
    truth = [1] * len(positive) + [0] * len(negative)
    assert float(places.area) == pytest.approx(roc_auc_score(truth, positive + negative))
    assert float(places.negative.mean()) == pytest.approx(float(places.area))
    low, high = roc.interval(places)
    assert 0 <= low <= places.area + 1e-9
    assert places.area - 1e-9 <= high <= 1


def test_learning_finds_a_trend_that_is_there_and_none_that_is_not() -> None:
    rng = np.random.default_rng(5)
    readers, images = 8, 100
    position = np.array([rng.permutation(images) + 1 for _ in range(readers)]).ravel()
    reader, image = np.repeat(np.arange(readers), images), np.tile(np.arange(images), readers)
    level = np.linspace(-0.5, 0.5, readers)[reader]

    def draw(slope: float) -> np.ndarray:
        return rng.random(position.size) < 1 / (1 + np.exp(-(level + slope * (position - 1) / (images - 1))))

    found = learning(draw(1.5), position, reader, image)
    assert found.odds_ratio is not None and found.low is not None and found.high is not None
    assert found.low < np.exp(1.5) < found.high
    assert found.low > 1
    none = learning(draw(0.0), position, reader, image)
    assert none.p is not None and none.p > 0.01
    assert learning([True] * 30, range(1, 31), [0] * 30, range(30)).reason


def test_equivalence_needs_the_whole_interval() -> None:
    low, high = np.array([0.42, 0.38, 0.45]), np.array([0.58, 0.55, 0.61])
    assert equivalence(low, high, 0.5, 0.1).equivalent.tolist() == [True, False, False]
