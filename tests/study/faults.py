"""Readers at work while the server is killed over and over."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from random import Random
from threading import Event

from synthcxr.study.protocol import Question, order
from synthcxr.study.serving.links import make_links
from synthcxr.study.serving.server import open_reading
from tests.study.readings import Client, Server, an_answer, serving

LIFE = 0.02
"""Seconds, at most, from the moment at which somebody reads again to the next kill."""
THINKING = 0.02
"""Seconds, at most, between a reader's answers: enough that none is done before the last kill."""


@dataclass
class Outcome:
    """What the clients saw."""

    acknowledged: dict[tuple[str, str], str] = field(default_factory=dict)
    """Reader and question to the answer's comment, which is drawn anew for each."""
    again: int = 0
    """Answers that a kill met on their way, and that were sent again."""
    opened: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)


def many_questions(count: int) -> list[Question]:
    """Questions on ten images, so that a server starts fast however many there are."""
    return [Question(f"q{n}", "real-or-synthetic", (f"case-{n % 10:03}.png",)) for n in range(count)]


def read_under_kills(folder: Path, kills: int) -> Outcome:
    """All readers read all of a study while its server is killed `kills` times, each time with a reader at work."""
    protocol = open_reading(folder).protocol
    tokens = make_links(folder, protocol.readers)
    outcome = Outcome()
    random = Random(1)
    with serving(folder) as server, ThreadPoolExecutor(len(protocol.readers)) as pool:
        at_work = [
            pool.submit(_read, server, tokens.readers[name], name, [q.id for q in order(protocol, name)], outcome)
            for name in protocol.readers
        ]
        try:
            for _ in range(kills):
                outcome.opened.clear()
                assert outcome.opened.wait(60), "no reader came back"
                time.sleep(random.uniform(0.0, LIFE))
                server.kill()
                server.start()
        finally:
            outcome.ended.set()
        for future in at_work:
            future.result()
    return outcome


def _read(server: Server, token: str, reader: str, identifiers: list[str], outcome: Outcome) -> None:
    """A page: keep an answer until it is acknowledged, ask where one is after every break."""
    random = Random(reader)
    page = Client(server.port, token)
    pending = None
    while True:
        try:
            opened = page.open()
            outcome.opened.set()
            question = opened["question"]
            outcome.again += pending is not None
            while question or pending:
                if pending is None:
                    time.sleep(0.0 if outcome.ended.is_set() else random.uniform(0.0, THINKING))
                    if question["position"] == len(identifiers):
                        outcome.ended.wait(60)  # the last answer comes after the last kill
                    words = f"{random.getrandbits(64):x}"
                    pending = an_answer("", question, f"nonce-{words}", comment=words)
                status, reply = page.reader("answer", pending | {"session": opened["session"]})
                assert status == 200, reply
                name = (reader, identifiers[reply["stored"] - 1])
                assert name not in outcome.acknowledged
                outcome.acknowledged[name] = pending["comment"]
                pending, question = None, reply["question"]
            return
        except (OSError, HTTPException):
            time.sleep(0.005)
