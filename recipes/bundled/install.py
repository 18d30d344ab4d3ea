"""Put the recipe's runs into the package: weights, encoder, reference features, and where they come from.

python recipes/bundled/install.py WORK [--denoiser RUN] [--before RUN …] [--student RUN] [--encoder RUN]
    [--stage all|model|encoder|few-step] [--goes-on]
"""

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from synthcxr.evaluation.encoder import Encoder, load_encoder
from synthcxr.evaluation.features import write_features
from synthcxr.imagefolder import Row, read_rows
from synthcxr.models.layout import settle_header
from synthcxr.models.registry import ADAPTER_FILE, BUNDLED, FEW_STEP
from synthcxr.store import inherited_sources, read_json, read_manifest, write_json

ACCOUNT = "made.json"
SOURCES = {
    "nih": "NIH ChestX-ray14, a subset (Wang et al., CVPR 2017; NIH Clinical Center)",
    "kermany": "Kermany, Zhang, Goldbaum: Labeled OCT and Chest X-Ray Images, Mendeley Data v2",
}
LICENCES = {"nih": "free to use and share with credit to the NIH Clinical Center", "kermany": "CC BY 4.0"}


def main() -> None:
    """Copy the runs' results into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--denoiser", type=Path, help="Run of the denoiser; default: WORK/denoiser.")
    parser.add_argument("--before", type=Path, nargs="*", default=[], help="Runs that the denoiser's run went on from.")
    parser.add_argument("--student", type=Path, help="Run of the few-step student; default: WORK/student.")
    parser.add_argument("--encoder", type=Path, help="Run of the encoder; default: WORK/encoder.")
    parser.add_argument(
        "--goes-on",
        action="store_true",
        help="The first of these runs began with the package's weights; what is told of those stays.",
    )
    stages = ("all", "model", "encoder", "few-step")
    parser.add_argument("--stage", choices=stages, default="all", help="What to install; the student is made last.")
    options = parser.parse_args()
    work: Path = options.work
    if options.stage in ("all", "model"):
        runs = [*options.before, options.denoiser or work / "denoiser"]
        install_model(None if options.goes_on else work / "autoencoder", runs)
    if options.stage in ("all", "encoder"):
        install_encoder(options.encoder or work / "encoder", work)
    if options.stage == "few-step":
        install_student(options.student or work / "student")


def install_model(autoencoder: Path | None, denoisers: list[Path]) -> None:
    """The last run's model in the package's place; the encoder and its features stay.

    Without a run of the autoencoder, the package's own stays, and so does the account of the denoiser's earlier runs.
    """
    last = denoisers[-1]
    for path in (last / "model").iterdir():
        shutil.rmtree(BUNDLED / path.name, ignore_errors=True)
        shutil.copytree(path, BUNDLED / path.name) if path.is_dir() else shutil.copy(path, BUNDLED / path.name)
    *before, denoiser = map(describe_run, denoisers)
    made = {"sources": inherited_sources(last, read_manifest(last, "run")["inputs"]), "denoiser": denoiser}
    if autoencoder is None:
        held = read_json(BUNDLED / ACCOUNT)
        before = [*held["before_the_denoiser"], held["denoiser"], *before]
    else:
        made["autoencoder"] = describe_run(autoencoder)
    note({**made, "before_the_denoiser": before})


def install_encoder(run: Path, work: Path) -> None:
    """The encoder in the package's place, and the reference features that it gives.

    The quality gate rests on the encoder: calibrate it again afterwards (calibrate_gate.py).
    """
    shutil.copytree(run / "encoder", BUNDLED / "encoder", dirs_exist_ok=True)
    note({"encoder": describe_run(run)})
    write_references(work, load_encoder())


def install_student(run: Path) -> None:
    """The few-step adapter of a run on the bundled model, in float16, and what the run was."""
    FEW_STEP.mkdir(exist_ok=True)
    file = FEW_STEP / ADAPTER_FILE
    with safe_open(run / "adapter" / ADAPTER_FILE, "pt") as held:
        save_file({key: held.get_tensor(key).half() for key in held.keys()}, file, held.metadata())  # noqa: SIM118
    settle_header(file)
    write_json(FEW_STEP / ACCOUNT, describe_run(run))


def note(made: dict[str, Any]) -> None:
    """Renew entries of the package's account of where its parts come from."""
    account = BUNDLED / ACCOUNT
    write_json(account, (read_json(account) if account.exists() else {}) | made)


def describe_run(folder: Path) -> dict[str, Any]:
    """What the package says of a run: its settings, cost, measurements, and the hashes of what went in."""
    manifest = read_manifest(folder, "run")
    kept = ("counts", "hours", "measured", "environment", "notes", "tool")
    settings = {key: value for key, value in manifest["config"].items() if key not in ("datasets", "base", "init")}
    return {
        **{key: manifest[key] for key in kept},
        "config": settings,
        "inputs": {role: {k: v for k, v in entry.items() if k != "path"} for role, entry in manifest["inputs"].items()},
    }


def write_references(work: Path, encoder: Encoder) -> None:
    """Features of held-out patients, and of the training patients for finding near-copies; never images."""
    test = {source: read_rows(work / source, "test") for source in SOURCES}
    adults = [row for row in test["nih"] if (row.fields["age"] or 0) >= 18]
    train = [row for source in SOURCES for row in read_rows(work / source, "train")]
    write_reference("nih-adults", adults, ["nih"], "test", encoder)
    write_reference("kermany-children", test["kermany"], ["kermany"], "test", encoder)
    write_reference("all", [*test["nih"], *test["kermany"]], list(SOURCES), "test", encoder)
    write_reference("bundled-training", train, list(SOURCES), "train", encoder)


def write_reference(name: str, rows: list[Row], sources: Iterable[str], split: str, encoder: Encoder) -> None:
    """One file of features with what it is beside it."""
    about = {
        "source": "; ".join(SOURCES[source] for source in sources),
        "licence": "; ".join(LICENCES[source] for source in sources),
        "split": split,
    }
    write_features(BUNDLED / "reference" / f"{name}.npz", rows, encoder, about, "cpu")


if __name__ == "__main__":
    main()
