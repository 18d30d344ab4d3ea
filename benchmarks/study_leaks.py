"""Does anything but the picture tell a reader's browser the truth? A classifier on what can be heard of a reading.

Run ``python benchmarks/study_leaks.py [--images 1000] [--repeats 3] [--side 512] [--out FILE]``. Half of the images are
smooth, as synthetic ones, half are noise: a PNG of the one is a hundredth of the other's. A random forest learns from
the seconds of every response, the lengths of bodies and headers, and the place in the order, and is tried on images
that it was not trained on. Beside it: the same forest on the lengths that the images' PNGs would have.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.study.leaks import area_of_a_classifier, listen_in
from tests.study.piles import rough, smooth
from tests.study.readings import make_reading_study, plain_questions

from synthcxr.images import encode_png, read_grey
from synthcxr.study.folder import IMAGES
from synthcxr.study.protocol import order
from synthcxr.study.serving.server import open_reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    pictures = [(smooth if n % 2 else rough)(n % 200, arguments.side) for n in range(arguments.images)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_reading_study(Path(scratch) / "study", plain_questions(arguments.images), ["R1"], pictures)
        started = time.perf_counter()
        heard = listen_in(folder, arguments.repeats)
        took = time.perf_counter() - started
        shown = [folder / IMAGES / question.images[0] for question in order(open_reading(folder).protocol, "R1")]
        lengths = np.array([[float(len(encode_png(read_grey(path))))] for path in shown])
    area, error = area_of_a_classifier(heard.features, heard.synthetic)
    summary = {
        "images": arguments.images,
        "side": arguments.side,
        "responses": arguments.images * (arguments.repeats + 1),
        "forms_of_a_response": len(heard.forms),
        "auc": round(area, 3),
        "error_at_chance": round(error, 3),
        "auc_of_png_lengths": round(area_of_a_classifier(lengths, heard.synthetic)[0], 3),
        "seconds": round(took, 1),
    }
    print(json.dumps(summary, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
