"""What somebody who listens to a reading could learn of the truth without a look at the picture."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import numpy.typing as npt

from synthcxr.store import read_jsonl
from synthcxr.study.folder import TRUTH
from synthcxr.study.protocol import order
from synthcxr.study.serving.links import make_links
from synthcxr.study.serving.server import open_reading
from tests.study.readings import Client, an_answer, serving, wait_for

Floats = npt.NDArray[np.float64]
TREES = 40
FOLDS = 5


@dataclass(frozen=True)
class Heard:
    """One row an image, in the order of the reading: seconds of each of its responses, the lengths of their bodies and
    headers, its place; whether it is synthetic; and every form (status, headers, length) that a response took."""

    features: Floats
    synthetic: npt.NDArray[np.bool_]
    forms: set[tuple[object, ...]]


def listen_in(folder: Path, repeats: int) -> Heard:
    """Read a study of single images as R1, each image fetched `repeats` times, first as the next one of the page."""
    truth = {row["image"]: row["truth"] == "synthetic" for row in read_jsonl(folder / TRUTH)}
    tokens = make_links(folder, ["R1"])
    questions = order(open_reading(folder).protocol, "R1")
    rows: list[list[float]] = [[place] for place in range(len(questions))]
    forms: set[tuple[object, ...]] = set()
    with serving(folder) as server:
        wait_for(server, tokens)
        page = Client(server.port, tokens.readers["R1"])
        session = page.open()["session"]

        def hear(row: list[float], path: str, body: object = None) -> None:
            started = perf_counter()
            status, headers, data = page.ask(f"/r/{page.token}/{path}", body)
            row += [perf_counter() - started, len(data), *map(len, headers.values())]
            forms.add((status, tuple(headers.items()), len(data)))

        hear(rows[0], "image/1/0")
        for place, row in enumerate(rows):
            if place + 1 < len(rows):
                hear(rows[place + 1], f"image/{place + 2}/0")
            for _ in range(repeats - 1):
                hear(row, f"image/{place + 1}/0")
            hear(row, "answer", an_answer(session, {"position": place + 1, "kind": "real-or-synthetic"}))
    synthetic = np.array([truth[question.images[0]] for question in questions])
    return Heard(np.array(rows), synthetic, forms)


def area_of_a_classifier(features: Floats, synthetic: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Area under the ROC curve of a random forest on images that it was not trained on, and its error at chance."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    forest = RandomForestClassifier(TREES, random_state=0)
    guessed = cross_val_predict(forest, features, synthetic, cv=folds, method="predict_proba")[:, 1]
    made, real = int(synthetic.sum()), int((~synthetic).sum())
    return float(roc_auc_score(synthetic, guessed)), ((made + real + 1) / (12 * made * real)) ** 0.5
