"""Fifty readers at once: how long does an answer take until the page knows that it is on the disk, and does any fail?

Run ``python benchmarks/study_load.py [--readers 50] [--questions 60] [--thinking 1.0] [--side 512] [--out FILE]``.
The server is a process of its own; the readers are threads of this one, on the same machine. Each fetches an image of
`side` pixels, thinks for a time drawn evenly from 0 to twice `--thinking` seconds, and answers. An answer's time is a
client's: from the request to the last byte of the reply. The load of the machine, and the bare time of a forced write,
stand beside it.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from threading import Barrier

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.study.readings import Client, an_answer, make_reading_study, serving, wait_for

from synthcxr.study.protocol import Question
from synthcxr.study.serving.database import SERVED, read_answers
from synthcxr.study.serving.links import make_links

IMAGES = 10


def read(port: int, token: str, thinking: float, start: Barrier) -> tuple[list[float], list[float], int]:
    """Seconds of each answer and of each image, and how many requests failed."""
    random = Random(token)
    page = Client(port, token)
    opened = page.open()
    question = opened["question"]
    answers, images, errors = [], [], 0
    start.wait()
    while question:
        started = time.perf_counter()
        status, _, _ = page.ask(f"/r/{token}/image/{question['position']}/0")
        images.append(time.perf_counter() - started)
        errors += status != 200
        time.sleep(random.uniform(0, 2 * thinking))
        started = time.perf_counter()
        status, reply = page.reader("answer", an_answer(opened["session"], question))
        answers.append(time.perf_counter() - started)
        errors += status != 200
        question = reply["question"]
    return answers, images, errors


def forced_write(folder: Path, count: int = 200) -> float:
    """Median seconds of one committed row in a database of the same settings, with nobody beside it."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (x TEXT);")
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 300,))
        times.append(time.perf_counter() - started)
    connection.close()
    return float(np.median(times))


def milliseconds(times: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(times) * 1000, [50, 99])
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), "max_ms": round(max(times) * 1000, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=50)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--thinking", type=float, default=1.0, help="mean seconds between an image and its answer")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    names = [f"R{number}" for number in range(arguments.readers)]
    questions = [
        Question(f"q{n}", "real-or-synthetic", (f"case-{n % IMAGES:03}.png",)) for n in range(arguments.questions)
    ]
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (arguments.side, arguments.side), dtype=np.uint8) for _ in range(IMAGES)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_reading_study(Path(scratch) / "study", questions, names, pictures)
        bare = forced_write(Path(scratch))
        tokens = make_links(folder, names)
        start = Barrier(arguments.readers)
        with serving(folder) as server, ThreadPoolExecutor(arguments.readers) as pool:
            wait_for(server, tokens)
            before, started = os.getloadavg()[0], time.perf_counter()
            at_work = [
                pool.submit(read, server.port, tokens.readers[name], arguments.thinking, start) for name in names
            ]
            results = [future.result() for future in at_work]
            took = time.perf_counter() - started
        stored = len(read_answers(folder / SERVED))
    answers = [one for result in results for one in result[0]]
    summary = {
        **{"readers": arguments.readers, "questions": arguments.questions, "thinking_s": arguments.thinking},
        **{"side": arguments.side, "cores": os.cpu_count(), "load_before": round(before, 1)},
        "answers": len(answers),
        "stored": stored,
        "errors": sum(result[2] for result in results),
        "answers_per_second": round(len(answers) / took, 1),
        "answer": milliseconds(answers),
        "image": milliseconds([one for result in results for one in result[1]]),
        "bare_write_p50_ms": round(bare * 1000, 2),
    }
    print(json.dumps(summary, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
