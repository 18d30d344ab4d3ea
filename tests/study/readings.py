"""Small planned studies for the tests of the server, and a client that reads them as the page does."""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep
from typing import Any

from synthcxr.images import Grey
from synthcxr.store import Json, open_output, sha256_bytes, write_bytes, write_json, write_jsonl
from synthcxr.study.folder import IMAGES, KIND, LIVING, TRUTH
from synthcxr.study.new import encode_blinded
from synthcxr.study.protocol import PROTOCOL, Analysis, Item, Protocol, Question
from synthcxr.study.serving.links import Tokens, read_links
from synthcxr.study.serving.server import listen, make_app, open_reading, run
from tests.study.piles import rough, smooth

ITEMS = (Item("anatomy", "Anatomy", ("poor", "fair", "good")), Item("comment", "What is odd?"))


def make_reading_study(
    folder: Path, questions: Sequence[Question], readers: Sequence[str] = ("R1", "R2"), images: Sequence[Grey] = ()
) -> Path:
    """A frozen study of `questions`; their images are real and synthetic in turns, by the number in the name."""
    names = sorted({name for question in questions for name in question.images})
    with open_output(folder, KIND, {}) as output:
        key: list[Json] = []
        for index, name in enumerate(names):
            synthetic = index % 2 == 1
            data = encode_blinded(images[index] if images else (smooth if synthetic else rough)(index, 32))
            write_bytes(folder / IMAGES / name, data)
            truth = "synthetic" if synthetic else "real"
            key.append({"image": name, "truth": truth, "source": name, "image_sha256": sha256_bytes(data)})
        write_jsonl(folder / TRUTH, key)
        protocol = Protocol("Real or made?", 7, tuple(readers), tuple(questions), ITEMS, Analysis())
        write_json(folder / PROTOCOL, protocol.to_json())
        output.finish(inputs={}, counts={"readers": 0, "answers": 0}, environment={}, living=LIVING)
    return folder


def plain_questions(count: int, training: int = 0) -> list[Question]:
    return [
        Question(f"q{n:03}", "real-or-synthetic", (f"case-{n:03}.png",), training=n <= training)
        for n in range(1, count + 1)
    ]


def mixed_questions() -> list[Question]:
    """Eight: two of practice, and every kind."""
    return [
        *plain_questions(4, training=1),
        Question("t", "pairwise", ("case-001.png", "case-002.png"), training=True),
        Question("p", "pairwise", ("case-006.png", "case-005.png")),
        Question("v", "quality", ("case-003.png",)),
        Question("w", "quality", ("case-007.png",)),
    ]


class Client:
    """Speaks to the server as the page does, on one connection that is opened anew when it breaks."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.connection = HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, path: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; raises OSError or HTTPException where the server is gone."""
        data = None if body is None else json.dumps(body)
        try:
            self.connection.request(
                "GET" if body is None else "POST", path, data, {"content-type": "application/json"} if data else {}
            )
            response = self.connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        except (OSError, HTTPException):
            self.connection.close()
            raise

    def reader(self, part: str, body: Any = None) -> tuple[int, Any]:
        status, _, data = self.ask(f"/r/{self.token}/{part}", body)
        return status, json.loads(data)

    def open(self) -> Json:
        status, value = self.reader("open", {})
        assert status == 200
        opened: Json = value
        return opened


def an_answer(session: str, question: Json, nonce: str = "nonce-1234", **other: Any) -> Json:
    words = {"real-or-synthetic": "real", "pairwise": "left", "quality": "rated"}
    rated = question["kind"] == "quality"
    return {
        "session": session,
        "nonce": nonce,
        "position": question["position"],
        "answer": words[question["kind"]],
        "confidence": None if rated else 3,
        "ratings": {"anatomy": 2} if rated else {},
        "comment": "",
        "seconds": 1.5,
        **other,
    }


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def serve_here(folder: Path, port: int) -> None:
    """What `study serve` does, with links that are there already."""
    links = read_links(folder)
    assert links is not None
    run(make_app(open_reading(folder), links), listen("127.0.0.1", port))


class Server:
    """A server in a process of its own, forked from one that has imported everything, to be killed at any moment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["fastapi", "uvicorn", "tests.study.readings"])
        self.process: BaseProcess
        self.start()

    def start(self) -> None:
        self.process = self.context.Process(target=serve_here, args=(self.folder, self.port), daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.kill()


def wait_for(server: Server, tokens: Tokens) -> None:
    """Until it answers."""
    for _ in range(2000):
        try:
            assert Client(server.port, tokens.readers["R1"]).reader("pen/none") == (200, {"pen": False})
        except (OSError, HTTPException):
            sleep(0.02)
        else:
            return
    raise AssertionError("the server does not start")
