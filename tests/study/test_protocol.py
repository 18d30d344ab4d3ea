from hypothesis import given
from hypothesis import strategies as st

from synthcxr.study.protocol import Analysis, Item, Kind, Protocol, Question, order


def protocol(
    count: int, repeats: int, training: int = 0, seed: int = 0, kinds: tuple[Kind, ...] = ("real-or-synthetic",)
) -> Protocol:
    questions = []
    for kind in kinds:
        questions += [Question(f"{kind}-{n}", kind, (f"{n}.png",)) for n in range(count)]
        questions += [Question(f"{kind}-r{n}", kind, (f"r{n}.png",), repeat_of=f"{kind}-{n}") for n in range(repeats)]
        questions += [Question(f"{kind}-t{n}", kind, (f"t{n}.png",), training=True) for n in range(training)]
    return Protocol("t", seed, ("A", "B", "C"), tuple(questions), (Item("x", "x", ("a", "b")),), Analysis())


sizes = st.integers(1, 12).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count)))


@given(sizes, st.integers(0, 3), st.integers(0, 999), st.sampled_from(["A", "B", "C", "nobody"]))
def test_every_question_comes_once_training_first_then_kind_by_kind(
    size: tuple[int, int], training: int, seed: int, reader: str
) -> None:
    kinds: tuple[Kind, ...] = ("real-or-synthetic", "quality")
    plan = protocol(*size, training, seed, kinds)
    questions = order(plan, reader)
    assert sorted(question.id for question in questions) == sorted(question.id for question in plan.questions)
    assert [question.training for question in questions] == [True] * 2 * training + [False] * 2 * sum(size)
    asked = [question.kind for question in questions if not question.training]
    assert asked == sorted(asked, reverse=True)


@given(sizes, st.integers(0, 999), st.sampled_from(["A", "B", "C"]))
def test_a_repeat_comes_half_the_questions_after_its_original(size: tuple[int, int], seed: int, reader: str) -> None:
    places = {question.id: place for place, question in enumerate(order(protocol(*size, seed=seed), reader))}
    for question in protocol(*size).questions:
        if question.repeat_of:
            assert places[question.id] - places[question.repeat_of] == sum(size) // 2


@given(sizes, st.integers(0, 999))
def test_two_readers_read_in_opposite_orders(size: tuple[int, int], seed: int) -> None:
    plan = protocol(*size, seed=seed)
    first, second = ({q.id: place for place, q in enumerate(order(plan, reader))} for reader in "AB")
    repeated = {q.repeat_of for q in plan.questions if q.repeat_of}
    plain = [q.id for q in plan.questions if not q.repeat_of and q.id not in repeated]
    assert {first[name] + second[name] for name in plain} <= {sum(size) - 1}
    assert len({first[name] + second[name] for name in repeated}) <= 1


def test_orders_differ_by_reader_and_seed() -> None:
    assert len({tuple(q.id for q in order(protocol(20, 0, seed=s), r)) for s in (1, 2) for r in "ABC"}) == 6


def test_a_protocol_is_itself_after_json() -> None:
    plan = protocol(3, 1, 1)
    assert Protocol.from_json(plan.to_json()) == plan
    assert Protocol.from_json(plan.to_json()).sha256 == plan.sha256
