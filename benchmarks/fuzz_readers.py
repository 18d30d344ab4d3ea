"""Mutate files by the ten thousand and count what becomes of them: python benchmarks/fuzz_readers.py [COUNT] [FIRST].

Run from the root of the repository. Prints a row a kind of reader, and every failure with its seed.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.data.fuzzing import fuzz
from tests.data.test_dicom_fuzz import attempt, samples


def main() -> int:
    count, first = (int(word) for word in [*sys.argv[1:], *("20000", "0")[len(sys.argv) - 1 :]])
    failed = 0
    for kind, read, given in (("dicom", attempt, samples()),):
        begun = time.monotonic()
        outcome = fuzz(read, given, range(first, first + count))
        seconds = round(time.monotonic() - begun)
        print(json.dumps({"reader": kind, "mutations": count, "seconds": seconds, "became": dict(outcome.words)}))
        print(*outcome.failures, sep="\n")
        failed += len(outcome.failures)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
