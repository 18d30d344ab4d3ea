"""Twenty browsers' worth of requests at the app while it draws: does any fail, and how long do answers take?

Run ``python benchmarks/app_load.py [--clients 20] [--seconds 60] [--out FILE]``. The server, its workers and the
clients share the machine; the clients are threads of this process. Each asks for pages, job states and pictures in
turns, with a pause of a tenth to a half second, as pages do that follow a job. Also printed: seconds from the start
of the process to the first page, and from asking for a picture to its first preview, with the model loaded.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.app.conftest import App

from synthcxr.devices import describe


def ask(address: str, body: Any = None) -> tuple[int, bytes]:
    """Status and content of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read()


def visit(app: App, job: str, seconds: float, seed: int) -> tuple[list[float], int]:
    """Seconds of each answer of one client, and how many failed."""
    random, took, errors = Random(seed), list[float](), 0
    paths = ("/", "/generate", f"/jobs/{job}.json", f"/jobs/{job}.json", "/jobs", "/item/sets/first",
             "/picture/sets/first/train/000000.png?side=192")  # fmt: skip
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        try:
            errors += ask(app.address + random.choice(paths))[0] != 200
        except OSError:
            errors += 1
        took.append(time.perf_counter() - started)
        time.sleep(random.uniform(0.1, 0.5))
    return took, errors


def draw(app: App, name: str, count: int, preset: str = "preview") -> str:
    """Ask for a set; the job's name."""
    values = {"prompt": "PA chest X-ray.", "count": count, "preset": preset, "batch_size": 4}
    return str(json.loads(ask(app.address + "/jobs", {"verb": "generate", "name": name, "values": values})[1])["id"])


def wait(app: App, job: str) -> None:
    """Until a job is over."""
    while json.loads(ask(f"{app.address}/jobs/{job}.json")[1])["state"] in ("waiting", "running"):
        time.sleep(0.1)


def first_preview(app: App) -> float:
    """Seconds from asking for images to the first look at them."""
    started = time.perf_counter()
    job = draw(app, "quick", 1)
    while ask(f"{app.address}/jobs/{job}.png")[0] != 200:
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    wait(app, job)
    return seconds


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Middle, 95th and 99th percentile in milliseconds."""
    return {f"p{q}_ms": round(1000 * float(np.percentile(values, q)), 1) for q in (50, 95, 99)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        app = App(Path(place) / "workspace")
        first_page = time.perf_counter() - started
        try:
            wait(app, draw(app, "first", 4))
            preview = first_preview(app)
            job = draw(app, "long", 2000, "fast")
            with ThreadPoolExecutor(options.clients) as pool:
                visits = [pool.submit(visit, app, job, options.seconds, seed) for seed in range(options.clients)]
                done = [one.result() for one in visits]
            drawing = json.loads(ask(f"{app.address}/jobs/{job}.json")[1])
            ask(f"{app.address}/jobs/{job}/cancel", {})
        finally:
            app.close()
    took = [seconds for times, _ in done for seconds in times]
    result = {
        "clients": options.clients,
        "seconds": options.seconds,
        "requests": len(took),
        "errors": sum(errors for _, errors in done),
        **quantiles(took),
        "drawn_meanwhile": drawing["done"],
        "start_to_first_page_s": round(first_page, 2),
        "first_preview_s": round(preview, 2),
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
