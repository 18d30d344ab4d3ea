"""Mutate files by the ten thousand and count what becomes of them: python benchmarks/fuzz_readers.py [COUNT] [FIRST].

COUNT mutations of each kind of file: DICOM, tables, XML reports, PNG and JPEG; FIRST is the first seed.

Run from the root of the repository. Prints a row a kind of reader, and every failure with its seed.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.data import test_dicom_fuzz as dicom
from tests.data import test_sources_fuzz as sources
from tests.data.fuzzing import fuzz

READERS = {
    "dicom": (dicom.attempt, dicom.samples),
    "table": (sources.attempt_table, sources.tables),
    "report": (sources.attempt_report, sources.reports),
    "image": (sources.attempt_image, sources.images),
}


def main() -> int:
    count, first = (int(word) for word in [*sys.argv[1:], *("20000", "0")[len(sys.argv) - 1 :]])
    failed = 0
    for kind, (read, samples) in READERS.items():
        begun = time.monotonic()
        outcome = fuzz(read, samples(), range(first, first + count))
        seconds = round(time.monotonic() - begun)
        print(json.dumps({"reader": kind, "mutations": count, "seconds": seconds, "became": dict(outcome.words)}))
        print(*outcome.failures, sep="\n")
        failed += len(outcome.failures)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
