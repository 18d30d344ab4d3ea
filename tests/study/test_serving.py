"""The server of a reading: what it stores, what it refuses, what it never tells."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import read_grey
from synthcxr.store import read_jsonl, verify
from synthcxr.study.folder import IMAGES, TRUTH
from synthcxr.study.protocol import Question, order
from synthcxr.study.serving.database import SERVED, ContradictionError, Database, Given, read_answers, read_simulated
from synthcxr.study.serving.links import LINKS, Tokens, make_links, read_links
from synthcxr.study.serving.server import open_reading
from tests.study.faults import many_questions, read_under_kills
from tests.study.leaks import area_of_a_classifier, listen_in
from tests.study.readings import (
    Client,
    Server,
    an_answer,
    free_port,
    make_reading_study,
    mixed_questions,
    plain_questions,
    serving,
    wait_for,
)

READERS = ("R1", "R2")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reading_study(tmp_path_factory.mktemp("mixed") / "study", mixed_questions())


@pytest.fixture
def served(mixed: Path, tmp_path: Path) -> Iterator[tuple[Server, Tokens]]:
    folder = Path(shutil.copytree(mixed, tmp_path / "study"))
    tokens = make_links(folder, READERS)
    with serving(folder) as server:
        wait_for(server, tokens)
        yield server, tokens


def client(served: tuple[Server, Tokens], reader: str = "R1") -> Client:
    return Client(served[0].port, served[1].readers[reader])


def test_a_reading_is_stored_in_the_order_of_the_protocol(served: tuple[Server, Tokens]) -> None:
    server, _ = served
    page = client(served)
    opened = page.open()
    reading = open_reading(server.folder)
    questions = order(reading.protocol, "R1")
    truth = {row["image"]: row["truth"] for row in read_jsonl(server.folder / TRUTH)}
    question, told = opened["question"], []
    while question:
        asked = questions[question["position"] - 1]
        assert (question["kind"], question["images"], question["training"]) == (
            asked.kind,
            len(asked.images),
            asked.training,
        )
        for place, name in enumerate(asked.images):
            status, headers, levels = page.ask(f"/r/{page.token}/image/{question['position']}/{place}")
            pixels = read_grey(server.folder / IMAGES / name)
            assert status == 200
            assert np.array_equal(np.frombuffer(levels, np.uint8).reshape(pixels.shape), pixels)
            assert name not in json.dumps(headers)
        status, reply = page.reader("answer", an_answer(opened["session"], question, comment=" odd ribs "))
        assert status == 200
        told.append(reply["feedback"])
        question = reply["question"]
    for asked, feedback in zip(questions, told, strict=True):
        if not asked.training:
            assert feedback is None
        elif asked.kind == "pairwise":
            assert feedback["truth"] == ("left" if truth[asked.images[0]] == "synthetic" else "right")
        else:
            assert feedback == {"truth": truth[asked.images[0]], "right": truth[asked.images[0]] == "real"}
    answers = read_answers(server.folder / SERVED)
    assert [answer.question for answer in answers] == [question.id for question in questions if not question.training]
    assert [answer.position for answer in answers] == [3, 4, 5, 6, 7, 8]
    assert len(read_answers(server.folder / SERVED, training=True)) == len(questions)
    quality = next(answer for answer in answers if answer.kind == "quality")
    assert (quality.answer, quality.ratings, quality.confidence) == ("rated", {"anatomy": 2}, None)
    assert {answer.comment for answer in answers} == {"odd ribs"}
    assert page.open()["question"] is None


def test_the_same_answer_again_gets_the_same_reply_and_another_one_is_refused(served: tuple[Server, Tokens]) -> None:
    page = client(served)
    opened = page.open()
    answer = an_answer(opened["session"], opened["question"])
    first = page.reader("answer", answer)
    assert first[0] == 200
    page.reader("answer", an_answer(opened["session"], first[1]["question"], "another-nonce"))
    assert page.reader("answer", answer) == first
    for other in ({"nonce": "fresh-nonce"}, {"answer": "synthetic"}, {"confidence": 5}, {"seconds": 9.0}):
        status, refusal = page.reader("answer", answer | other)
        assert (status, refusal["error"]) == (409, "answered")
    assert len(read_answers(served[0].folder / SERVED, training=True)) == 2


def test_one_answer_sent_by_many_at_once_is_there_once(served: tuple[Server, Tokens]) -> None:
    opened = client(served).open()
    answer = an_answer(opened["session"], opened["question"])
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: client(served).reader("answer", answer), range(24)))
        others = list(
            pool.map(lambda n: client(served).reader("answer", answer | {"nonce": f"nonce {n:05}"})[0], range(12))
        )
    assert all(reply == replies[0] for reply in replies)
    assert replies[0][0] == 200
    assert set(others) == {409}
    assert len(read_answers(served[0].folder / SERVED, training=True)) == 1


def test_the_same_answer_twice_at_once_is_never_taken_for_one_out_of_turn(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a thread waits between its look at what is stored and the storing."""
    reading = open_reading(Path(shutil.copytree(mixed, tmp_path / "study")))
    look = reading.database.stored

    def slow(reader: str, question: str) -> Given | None:
        found = look(reader, question)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(reading.database, "stored", slow)
    reading.open("R1", "session")
    pair = order(reading.protocol, "R1")[0].kind == "pairwise"
    given = Given("nonce-1234", "left" if pair else "real", 3, 1.0)
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: reading.answer("R1", "session", 1, given), range(6)))
    assert all(reply == replies[0] for reply in replies)


def test_only_the_next_question_can_be_seen_and_answered(served: tuple[Server, Tokens]) -> None:
    page = client(served)
    opened = page.open()
    session, question = opened["session"], opened["question"]
    later = question | {"position": 3, "kind": "real-or-synthetic"}
    assert page.reader("answer", an_answer(session, later)) == (
        409,
        {"error": "not-yet", "sentence": "Question 1 comes first."},
    )
    assert page.reader("answer", an_answer(session, question | {"position": 99}))[0] == 422
    seen = [page.ask(f"/r/{page.token}/image/{position}/0")[0] for position in (0, 1, 2, 3, 9)]
    assert seen == [404, 200, 200, 404, 404]
    assert page.ask(f"/r/{page.token}/image/1/2")[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"answer": "left"},
        {"answer": "maybe"},
        {"confidence": 0},
        {"confidence": 6},
        {"confidence": None},
        {"confidence": 2.5},
        {"seconds": -1},
        {"ratings": {"anatomy": 1}},
        {"comment": "x" * 10_001},
        {"comment": "\ud800"},
        {"nonce": ""},
        {"truth": "real"},
    ],
    ids=str,
)
def test_an_answer_that_fits_no_question_is_refused(served: tuple[Server, Tokens], wrong: dict[str, object]) -> None:
    page = client(served)
    opened = page.open()
    question = opened["question"]
    while question["kind"] != "real-or-synthetic":
        question = page.reader("answer", an_answer(opened["session"], question))[1]["question"]
    before = len(read_answers(served[0].folder / SERVED, training=True))
    status, refusal = page.reader("answer", an_answer(opened["session"], question, "nonce-more") | wrong)
    assert (status, refusal["error"]) == (422, "invalid")
    assert len(read_answers(served[0].folder / SERVED, training=True)) == before


def test_an_endless_body_is_refused(served: tuple[Server, Tokens]) -> None:
    page = client(served)
    assert page.ask(f"/r/{page.token}/answer", {"comment": "x" * 300_000})[0] == 413


def test_the_newest_window_holds_the_pen(served: tuple[Server, Tokens]) -> None:
    first, second = client(served), client(served)
    old = first.open()
    question = old["question"]
    new = second.open()
    assert first.reader(f"pen/{old['session']}") == (200, {"pen": False})
    late = an_answer(old["session"], question, "kept-in-the-browser")
    assert first.reader("answer", late)[1]["error"] == "elsewhere"
    # Back in the first window: its kept answer is sent under the newer session, and the second window is told.
    status, reply = first.reader("answer", late | {"session": first.open()["session"]})
    assert status == 200
    assert (
        second.reader("answer", an_answer(new["session"], reply["question"], "from the other"))[1]["error"]
        == "elsewhere"
    )
    assert len(read_answers(served[0].folder / SERVED, training=True)) == 1


def test_a_link_is_needed_and_new_links_end_the_old_ones(served: tuple[Server, Tokens]) -> None:
    server, tokens = served
    page = client(served)
    for path in (
        "/",
        "/r/nobody",
        f"/r/{tokens.owner}",
        f"/o/{tokens.readers['R1']}",
        "/key/truth.jsonl",
        "/static/../server.py",
        "/docs",
        "/openapi.json",
    ):
        status, _, body = page.ask(path)
        assert (status, b"opens nothing" in body) == (404, True), path
    status, headers, _ = page.ask(f"/r/{page.token}")
    assert status == 200
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store, no-transform", "no-referrer")
    assert page.ask("/r/nobody/open", {})[0] == 404
    saved = (server.folder / LINKS).read_text()
    assert not any(token in saved for token in (tokens.owner, *tokens.readers.values()))
    make_links(server.folder, READERS)
    links = read_links(server.folder)
    assert links is not None
    assert links.reader(tokens.readers["R1"]) is None
    assert all(len(token) >= 128 / 6 for token in (tokens.owner, *tokens.readers.values()))


def test_the_owner_sees_progress_and_results_only_at_the_end_or_with_a_reason(served: tuple[Server, Tokens]) -> None:
    server, tokens = served
    page = client(served)
    opened = page.open()
    question = opened["question"]
    while question:
        question = page.reader("answer", an_answer(opened["session"], question))[1]["question"]
    owner = f"/o/{tokens.owner}"
    progress = json.loads(page.ask(f"{owner}/progress")[2])
    assert [(row["answered"], row["total"]) for row in progress["readers"]] == [(8, 8), (0, 8)]
    assert "right" not in json.dumps(progress)
    assert page.ask(f"{owner}/unblind", {"why": "  "})[0] == 422
    status, _, body = page.ask(f"{owner}/unblind", {"why": "The second reader fell ill."})
    assert status == 200
    progress = json.loads(body)
    truth = {row["image"]: row["truth"] for row in read_jsonl(server.folder / TRUTH)}
    answers = [a for a in read_answers(server.folder / SERVED) if a.kind != "quality"]
    pair = next(question for question in mixed_questions() if question.id == "p")
    expected = sum(
        truth[a.image] == "real" if a.kind == "real-or-synthetic" else truth[pair.images[0]] == "synthetic"
        for a in answers
    )
    assert (progress["readers"][0]["right"], progress["readers"][0]["asked"]) == (expected, len(answers))
    logged = read_jsonl(server.folder / "key/amendments.jsonl")
    assert [(row["what"], row["why"]) for row in logged] == [("unblinded", "The second reader fell ill.")]


def wait_until_it_listens(port: int) -> None:
    """Until a server answers: before that its own handling of signals is not in place."""
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    for _ in range(600):
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        except HTTPError:
            return
        except URLError:
            time.sleep(0.1)
    raise AssertionError("no answer")


def test_the_command_prints_the_links_once_and_stops_in_peace(mixed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mixed, tmp_path / "study"))

    def command(*options: str) -> subprocess.Popen[str]:
        call = [sys.executable, "-m", "synthcxr.cli", "study", "serve", str(folder), *options]
        return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    port = str(free_port())
    printed: list[dict[str, str]] = []
    for options in ([], [], ["--new-links", "--url", "https://reading.example.org/chest/"]):
        process = command("--port", port, *options)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Serving"):
                break
        if not options and not printed:
            assert command("--port", port).wait(60) == 2  # the port is taken
        wait_until_it_listens(int(port))
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in errors) == (0, False)
        printed.append(dict(line.split("\t") for line in out.splitlines()[:-1]))
    assert [set(links) for links in printed] == [{"R1", "R2", "(owner)"}, set(), {"R1", "R2", "(owner)"}]
    assert printed[0]["R1"].startswith(f"http://127.0.0.1:{port}/r/")
    assert printed[2]["R1"].startswith("https://reading.example.org/chest/r/")
    assert verify(folder) == []  # what goes on changing is no change of the study
    links = read_links(folder)
    assert links is not None
    assert links.reader(printed[2]["R2"].rpartition("/")[2]) == "R2"
    assert links.reader(printed[0]["R2"].rpartition("/")[2]) is None


def test_a_changed_image_is_refused(mixed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mixed, tmp_path / "study"))
    image = folder / IMAGES / "case-002.png"
    shutil.copy(folder / IMAGES / "case-003.png", image)
    with pytest.raises(SynthCXRError, match=r"case-002\.png"):
        open_reading(folder)


def test_a_study_without_readers_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--reader"):
        open_reading(make_reading_study(tmp_path / "study", plain_questions(2), []))


def test_answers_of_another_study_or_of_nobody_are_not_mixed(tmp_path: Path) -> None:
    Database(tmp_path / "a.sqlite", "one study").close()
    Database(tmp_path / "a.sqlite", "one study").close()
    with pytest.raises(SynthCXRError, match="another study"):
        Database(tmp_path / "a.sqlite", "another study")
    with pytest.raises(UsageError, match="real answers"):
        Database(tmp_path / "a.sqlite", "one study", {"seed": 1})
    assert read_simulated(tmp_path / "a.sqlite") is None
    (tmp_path / "b.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(SynthCXRError, match="Restore"):
        Database(tmp_path / "b.sqlite", "one study")
    with pytest.raises(SynthCXRError, match="Restore"):
        read_answers(tmp_path / "b.sqlite")
    assert read_answers(tmp_path / "absent.sqlite") == ()


def test_an_answer_is_forced_to_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "a.sqlite", "one study")
    database.record("R1", Question("q", "real-or-synthetic", ("a.png",)), 1, Given("nonce", "real", 3, 1.0))
    modes = [database._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]  # 2 is FULL
    assert len(read_answers(tmp_path / "a.sqlite")) == 1  # while it is open
    database.close()


def test_two_answers_at_the_very_same_time_are_one_and_a_refusal(tmp_path: Path) -> None:
    """Both passed the check that none is there: the table itself says which came first."""
    database = Database(tmp_path / "a.sqlite", "one study")
    question, first = Question("q", "real-or-synthetic", ("a.png",)), Given("nonce", "real", 3, 1.0)
    database.record("R1", question, 1, first)
    database.record("R1", question, 1, first)
    for other in (replace(first, nonce="other"), replace(first, answer="synthetic"), replace(first, comment="!")):
        with pytest.raises(ContradictionError):
            database.record("R1", question, 1, other)
    assert database.stored("R1", "q") == first
    assert len(read_answers(tmp_path / "a.sqlite")) == 1
    database.close()


def test_killed_at_any_moment_every_acknowledged_answer_is_there_once(tmp_path: Path) -> None:
    """`kill -9` over and over while readers read; what was acknowledged stays, and nobody answers a question twice."""
    folder = make_reading_study(tmp_path / "study", many_questions(60), [f"R{n}" for n in range(4)])
    outcome = read_under_kills(folder, kills=40)
    answers = read_answers(folder / SERVED)
    assert outcome.again > 0
    assert {(a.reader, a.question): a.comment for a in answers} == outcome.acknowledged
    assert len(answers) == len(outcome.acknowledged) == 240
    for reader in {a.reader for a in answers}:
        assert [a.position for a in answers if a.reader == reader] == list(range(1, 61))


def test_nothing_that_the_browser_gets_tells_the_truth(tmp_path: Path) -> None:
    """A classifier on lengths, headers, times and order cannot tell smooth images from rough ones, save by a leak."""
    heard = listen_in(make_reading_study(tmp_path / "study", plain_questions(120), ["R1"]), repeats=2)
    assert len(heard.forms) == 2  # one form of an image, one of a reply
    area, error = area_of_a_classifier(heard.features, heard.synthetic)
    assert area < 0.5 + 4 * error
    leaking = heard.features.copy()
    leaking[:, 1] += heard.synthetic * np.median(leaking[:, 1]) / 2  # half again as long for the first response
    assert area_of_a_classifier(leaking, heard.synthetic)[0] > 0.5 + 4 * error
