"""Mutated files: the same seed gives the same file. A reader is watched from outside, as a decoder in C may crash."""

import multiprocessing
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

LIMIT_SECONDS = 5.0
"""Of computing; on a machine that does other things too, a process may wait for longer."""
WAITING_SECONDS = 60.0
LIMIT_KIB = 1 << 20
START_SECONDS = 120.0
"""What a new process may take to import its libraries."""
TELLING = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\1",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
)

Attempt = Callable[[bytes], str]
"""Reads a file's bytes and gives what became of it in a word; anything that it raises is a failure."""


@dataclass
class Outcome:
    """How often each word came, and each failure with its seed: raised, crashed, hung, grew."""

    words: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def mutate(sample: bytes, seed: int) -> bytes:
    """One to eight changes: bits, bytes, telling values, pieces cut out, doubled or moved, the end cut off.

    Half of the changes fall into the first 2,000 bytes, where headers are.
    """
    rng = random.Random(seed)
    data = bytearray(sample)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        if not data:
            break
        place = rng.randrange(min(len(data), 2000) if rng.random() < 0.5 else len(data))
        end = min(len(data), place + rng.choice((1, 2, 4, 8, 64, 512)))
        kind = rng.randrange(9)
        if kind <= 1:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[place:end] = rng.randbytes(end - place)
        elif kind <= 4:
            value = rng.choice(TELLING)
            data[place : place + len(value)] = value
        elif kind == 5:
            del data[place:end]
        elif kind == 6:
            data[place:place] = data[place:end]
        elif kind == 7:
            other = rng.randrange(len(data))
            data[other : other + end - place] = data[place:end]
        elif rng.random() < 0.3:
            del data[place:]
    return bytes(data)


def fuzz(attempt: Attempt, samples: Sequence[bytes], seeds: range) -> Outcome:
    """Read `samples` mutated by each seed in a process of its own, which is replaced where it crashes or hangs.

    `attempt` is a plain function of a module. Seed by seed the samples take turns.
    """
    outcome = Outcome()
    position = 0
    while position < len(seeds):
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(theirs, attempt, list(samples), seeds[position:]), daemon=True
        )
        process.start()
        theirs.close()
        alive = ours.poll(START_SECONDS) and ours.recv() == "ready"
        while alive and position < len(seeds):
            try:
                word = ours.recv() if ours.poll(WAITING_SECONDS) else "hung"
            except EOFError:
                word = "crashed"
            alive = word not in ("hung", "crashed", "grew")
            if word.startswith("raised") or not alive:
                outcome.failures.append(f"seed {seeds[position]}, sample {seeds[position] % len(samples)}: {word}")
            outcome.words[word.split("\n")[0]] += 1
            position += 1
        process.kill()
        process.join()
        ours.close()
    return outcome


def _work(pipe: Connection, attempt: Attempt, samples: list[bytes], seeds: range) -> None:
    for sample in samples:
        attempt(sample)  # libraries are imported before time and memory count
    pipe.send("ready")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        begun = time.process_time()
        try:
            word = attempt(mutate(samples[seed % len(samples)], seed))
        except Exception:
            word = f"raised\n{traceback.format_exc()}"
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > LIMIT_KIB:
            word = "grew"
        if time.process_time() - begun > LIMIT_SECONDS:
            word = "hung"
        pipe.send(word)
