"""``study simulate``: a rehearsal. Readers of a given skill read a copy of a study through the real server.

A reader sees a strength of evidence for "synthetic", drawn from a normal distribution of deviation 1 and mean ±d′/2,
and calls synthetic what lies above 0: equal-variance signal detection without bias, in which a share of Φ(d′/2) answers
is right (Green and Swets, Signal Detection Theory and Psychophysics, 1966). Confidence is the distance from 0 in steps.
Draws are independent over readers and images, which the answers of people are not.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import TYPE_CHECKING

from synthcxr.config import StudySimulateConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import Json
from synthcxr.study.amending import log_amendment
from synthcxr.study.folder import load
from synthcxr.study.plan import Truth
from synthcxr.study.protocol import Item, Protocol, Question, order
from synthcxr.study.serving.links import LINKS, make_links, read_links
from synthcxr.study.serving.server import listen, make_app, open_reading

if TYPE_CHECKING:
    from fastapi import FastAPI

SIMULATED = "simulated"
CONFIDENCE_EDGES = (0.25, 0.6, 1.0, 1.5)
"""Distances from indifference, in deviations, at which a reader is one step surer."""
TYPICAL_SECONDS = 12.0
AT_ONCE = 8


def simulate(config: StudySimulateConfig) -> Path:
    """Copy a study without answers and let made-up readers answer all of it; return the copy, which says what it is.

    Raises UsageError where the study holds answers already, or has no protocol, or where `out` exists.
    """
    study = load(config.study)
    if study.protocol is None:
        raise UsageError(f"{config.study} has no protocol to read by. Make the study with `synthcxr study new`.")
    if study.answers:
        raise UsageError(f"{config.study} holds answers of readers, with which simulated ones never mix.")
    if config.out.exists():
        raise UsageError(f"{config.out} exists already. Choose another --out.")
    readers = [*study.protocol.readers, *(f"simulated-{n + 1}" for n in range(config.readers))][: config.readers]
    shutil.copytree(config.study, config.out, ignore=shutil.ignore_patterns("served.sqlite*", Path(LINKS).name))
    mark: Json = {"readers": config.readers, "accuracy": config.accuracy, "seed": config.seed}
    log_amendment(
        config.out,
        SIMULATED,
        f"A rehearsal: no person read this copy. {config.readers} readers of accuracy {config.accuracy:g} were "
        f"simulated, seed {config.seed}.",
    )
    tokens = make_links(config.out, readers)
    reading = open_reading(config.out, readers, mark)
    links = read_links(config.out)
    assert links is not None
    try:
        with _serving(make_app(reading, links)) as port, ThreadPoolExecutor(AT_ONCE) as pool:
            read = [
                pool.submit(_read, port, tokens.readers[name], name, study.protocol, study.truth, config)
                for name in readers
            ]
            for future in read:
                future.result()
    finally:
        reading.database.close()
    return config.out


def respond(
    question: Question, truth: dict[str, Truth], items: tuple[Item, ...], accuracy: float, random: Random
) -> Json:
    """One answer of a reader whose share of right answers is `accuracy`, as the page would send it.

    A pairwise answer is right as often as one on a single image: `accuracy` is the share, not d′, that is held.
    """
    half = NormalDist().inv_cdf(accuracy)
    evidence = random.gauss(half if truth[question.images[0]] == "synthetic" else -half, 1.0)
    sure = 1 + sum(abs(evidence) > edge for edge in CONFIDENCE_EDGES)
    answer: Json = {
        "answer": "synthetic" if evidence > 0 else "real",
        "confidence": sure,
        "ratings": {},
        "comment": "",
        "seconds": round(TYPICAL_SECONDS * random.lognormvariate(0.0, 0.5), 2),
    }
    if question.kind == "pairwise":
        answer["answer"] = "left" if evidence > 0 else "right"
    elif question.kind == "quality":
        steps = {item.name: len(item.steps) for item in items if item.steps}
        looks = {name: NormalDist(sigma=2**0.5).cdf(random.gauss(-evidence, 1.0)) for name in steps}
        ratings = {name: 1 + min(count - 1, int(looks[name] * count)) for name, count in steps.items()}
        answer |= {"answer": "rated", "confidence": None, "ratings": ratings}
    return answer


def _read(
    port: int, token: str, reader: str, protocol: Protocol, truth: dict[str, Truth], config: StudySimulateConfig
) -> None:
    """Read the whole study on one connection; every image is fetched, as a page does."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    questions = order(protocol, reader)
    opened = json.loads(_ask(connection, f"/r/{token}/open", {}))
    for position, question in enumerate(questions, 1):
        for place in range(len(question.images)):
            _ask(connection, f"/r/{token}/image/{position}/{place}")
        random = Random(f"{config.seed}/{reader}/{question.id}")
        given = respond(question, truth, protocol.items, config.accuracy, random)
        nonce = f"{random.getrandbits(128):032x}"
        _ask(
            connection,
            f"/r/{token}/answer",
            {"session": opened["session"], "nonce": nonce, "position": position, **given},
        )
    connection.close()


def _ask(connection: HTTPConnection, path: str, body: Json | None = None) -> bytes:
    headers = {} if body is None else {"content-type": "application/json"}
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        raise SynthCXRError(f"The server refused {path.split('/', 3)[-1]}: {data.decode(errors='replace').strip()}")
    return data


@contextmanager
def _serving(app: "FastAPI") -> Iterator[int]:
    """The app on a free port of this machine, in a thread, as long as the block lasts."""
    import uvicorn

    listener = listen("127.0.0.1", 0)
    settings = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", http="h11", ws="none")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
