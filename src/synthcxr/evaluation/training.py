"""Which images the model of a set was trained on: by the manifests, from the set to its model to the data."""

from dataclasses import dataclass, field
from pathlib import Path

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.evaluation.encoder import encoder_sha256
from synthcxr.evaluation.features import DATA, REFERENCE, REFERENCES
from synthcxr.models.registry import IN_PACKAGE, Reference, resolve
from synthcxr.store import Json, find_manifest, lineage, read_json

BUNDLED_TRAINING = REFERENCE + "bundled-training"
TRAINING_FEATURES = "training-features.npz"
"""What a run keeps of its training images in its folder."""


@dataclass(frozen=True)
class Training:
    """Where the training images are: dataset folders, ``reference:`` names, files of features that a run keeps.

    `gaps` says what is unknown.
    """

    sources: tuple[Path | str, ...] = ()
    gaps: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why there is nothing to compare with."""
        gaps = " ".join(self.gaps) or "The set's manifest names no model run with a dataset."
        return f"The training images are not known: {gaps} Give --training DATASET."


@dataclass
class _Found:
    sources: list[Path | str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def add(self, source: Path | str) -> None:
        if source not in self.sources:
            self.sources.append(source)


def find_training(synthetic: Path, *, kept_first: bool = False) -> Training:
    """Follow a set's lineage: set → run → dataset, and on through the run that a run started from.

    With `kept_first` the features that a run keeps stand in for its datasets even where these are at hand.
    """
    if find_manifest(synthetic) is None:
        return Training(gaps=(f"{synthetic.resolve().name} has no manifest.",))
    found = _Found()
    try:
        _walk(lineage(synthetic), found, kept_first)
    except SynthCXRError as error:  # a manifest further back that cannot be read
        found.gaps.append(str(error))
    return Training(tuple(found.sources), tuple(found.gaps))


def given_training(dataset: Path, found: Training) -> Training:
    """The training images that the user names; what the manifests know beside them, or do not, is a gap."""
    others = [source for source in found.sources if str(source) != str(dataset.resolve())]
    named = [f"The manifests name {Path(other).name}." for other in others]
    return Training((dataset,), (*named, *found.gaps))


def find_model(synthetic: Path) -> tuple[Reference | None, str]:
    """The model that drew a set, by the set's manifest; or None and why it is not known."""
    if find_manifest(synthetic) is None:
        return None, f"The model is not known: {synthetic.resolve().name} has no manifest. Give --model."
    node = lineage(synthetic)
    while "model" not in node["inputs"] and "source" in node["inputs"]:  # a cleaned set
        node = node["inputs"]["source"]
    entry = node["inputs"].get("model")
    if entry is None:
        return None, "The model is not known: the manifests name none. Give --model."
    name = str(entry.get("path") or entry.get("name"))
    if entry["state"] not in ("intact", "outside"):
        return None, f"The model {Path(name).name} is gone, or has changed since. Give --model."
    try:
        return resolve(name), ""
    except UsageError as error:
        return None, f"The model is not at hand: {error}"


def _walk(node: Json, found: _Found, kept_first: bool) -> None:
    if node["kind"] == "run":
        _data(node, found, kept_first)
    for entry in node["inputs"].values():
        if node["kind"] in ("run", "set") and entry["kind"] in DATA:
            continue  # a run's: seen to above, not followed to what a cleaned one came from; a set's: mix, or parent
        if entry["kind"] == "image":
            continue  # one that was edited
        if "path" not in entry:
            _shipped_or_remote(entry, found)
        elif entry["state"] == "intact":
            _walk(entry, found, kept_first)
        elif entry["kind"] not in DATA:
            what = {"missing": "is gone", "changed": "has changed since", "outside": "has no manifest"}[entry["state"]]
            found.gaps.append(f"{Path(entry['path']).name} {what}.")


def _shipped_or_remote(entry: Json, found: _Found) -> None:
    name = str(entry.get("name"))
    if name.startswith("layout:"):
        return  # random weights have seen nothing
    if name not in IN_PACKAGE:
        found.gaps.append(f"The data of the model {name} is not at hand.")
    elif (REFERENCES / f"{BUNDLED_TRAINING.removeprefix(REFERENCE)}.npz").is_file():
        found.add(BUNDLED_TRAINING)
    else:
        found.gaps.append("The features of the bundled model's training images do not ship with this version.")


def _data(run: Json, found: _Found, kept_first: bool) -> None:
    """A run's datasets; where one is gone, the features that the run keeps of all of its training images."""
    datasets = [entry for entry in run["inputs"].values() if "path" in entry and entry["kind"] in DATA]
    kept = Path(run["path"]) / TRAINING_FEATURES
    missing = any(entry["state"] == "missing" for entry in datasets)
    there = (missing or kept_first) and kept.is_file()
    if there and read_json(kept.with_suffix(".json"))["encoder_sha256"] == encoder_sha256():
        found.add(kept)
        return
    if there and missing:
        found.gaps.append(f"The features that the run {kept.parent.name} keeps are of another encoder.")
    for entry in datasets:
        name = Path(entry["path"]).name  # a report says nothing of the machine's folders
        if entry["state"] == "missing":
            found.gaps.append(f"The dataset {name} is gone.")
            continue
        if entry["state"] == "changed":
            found.gaps.append(f"The dataset {name} has changed since the training.")
        found.add(Path(entry["path"]))
