"""Does the study's server lose or double an answer when it is killed? ``kill -9`` 200 times while four readers read.

Run ``python benchmarks/study_faults.py [--kills 200] [--out FILE]``. Each kill comes at a random moment within 20 ms
of somebody reading again. Readers keep an answer until it is acknowledged, as the page does, and send it again after a
break.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.study.faults import many_questions, read_under_kills
from tests.study.readings import make_reading_study

from synthcxr.study.serving.database import SERVED, read_answers

READERS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--questions", type=int, default=250)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        readers = [f"R{number}" for number in range(READERS)]
        folder = make_reading_study(Path(scratch) / "study", many_questions(arguments.questions), readers)
        started = time.perf_counter()
        outcome = read_under_kills(folder, arguments.kills)
        answers = read_answers(folder / SERVED)
        stored = {(answer.reader, str(answer.question)): answer.comment for answer in answers}
        summary = {
            "kills": arguments.kills,
            "readers": READERS,
            "answers": arguments.questions * READERS,
            "acknowledged": len(outcome.acknowledged),
            "stored": len(answers),
            "lost": len(outcome.acknowledged.keys() - stored.keys()),
            "changed": sum(stored.get(key) != words for key, words in outcome.acknowledged.items()),
            "twice": sum(count - 1 for count in Counter((a.reader, a.question) for a in answers).values()),
            "sent_again_after_a_kill": outcome.again,
            "seconds": round(time.perf_counter() - started, 1),
        }
    print(json.dumps(summary, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
