"""The page of a cleaned folder: before, after and mask of what was changed, and everything that needs a review."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr import __version__
from synthcxr.cleaning.dicom_out import read_dicom
from synthcxr.cleaning.layout import Job
from synthcxr.cleaning.picture import Picture, read_picture
from synthcxr.config import CleanConfig
from synthcxr.images import Grey, read_grey
from synthcxr.report.html import PAGE, Figure, data_address
from synthcxr.store import Json, write_bytes

if TYPE_CHECKING:
    Done = Sequence[tuple[Job, Json]]

SHOWN = 24
"""Images of either sort that the page shows, the largest masks first."""
SIDE = 320
"""Pixels of the long side of a whole image on the page."""
CROP, MARGIN = 240, 30
"""Largest side in pixels of a crop shown at full size, and pixels around the mark in it."""


def write_cleaning_report(folder: Path, config: CleanConfig, done: "Done", counts: Json, notes: Sequence[str]) -> Path:
    """Write ``index.html`` into a cleaned folder, from its proofs and images. Nothing in it is fetched from elsewhere.

    What was there before is shown only with `show_removed_text`: it may name a patient.
    """
    path = folder / PAGE
    write_bytes(path, render(folder, config, done, counts, notes).encode())
    return path


def render(folder: Path, config: CleanConfig, done: "Done", counts: Json, notes: Sequence[str]) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    changed = sorted(
        ((j, p) for j, p in done if p["mask"]), key=lambda pair: -pair[1]["mask_pixels"] / pair[1]["pixels"]
    )
    review = [(job, proof) for job, proof in done if proof["status"] == "residual"]
    removed = [(job, proof) for job, proof in changed if proof["status"] == "removed"]
    second = next((proof["second_reader"] for _, proof in done if proof["second_reader"]), None)
    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("cleaning.html.jinja").render(
        version=__version__,
        name=config.folder.resolve().name,
        counts=counts,
        notes=notes,
        config=config.identity(),
        kinds=count_kinds(done),
        second=second["name"] if second else None,
        area=100 * float(np.mean([proof["mask_pixels"] / proof["pixels"] for _, proof in changed])) if changed else 0.0,
        before_too=config.show_removed_text,
        review=[show(folder, job, proof, before_too=config.show_removed_text) for job, proof in review[:SHOWN]],
        reviewed=len(review),
        removed=[show(folder, job, proof, before_too=config.show_removed_text) for job, proof in removed[:SHOWN]],
        removals=len(removed),
    )


def count_kinds(done: "Done") -> list[dict[str, Any]]:
    """How many marks of each kind were removed, kept, are left, or were too faint to have strokes."""
    sorts = ("marks", "kept", "left", "faint")
    counts = {sort: Counter(mark["kind"] for _, proof in done for mark in proof[sort]) for sort in sorts}
    kinds = sorted(set().union(*counts.values()))
    return [{"kind": kind, **{sort: counts[sort][kind] for sort in sorts}} for kind in kinds]


def show(folder: Path, job: Job, proof: Json, *, before_too: bool) -> dict[str, Any]:
    """An image's pictures: before, after and mask, and its largest mark at full size."""
    new = _view(_open(folder / proof["file"], is_dicom=job.is_dicom))
    mask = read_grey(folder / proof["mask"]) if proof["mask"] else np.zeros_like(new)
    pictures = [("after", new), ("mask", mask)]
    if before_too:
        pictures.insert(0, ("before", _view(_open_source(job))))
    place = crop(proof["marks"] or proof["left"] or proof["faint"], new.shape)
    return {
        "name": proof["file_name"],
        "figures": [Figure(data_address(picture, SIDE), caption) for caption, picture in pictures],
        "crops": [Figure(data_address(picture[place], CROP), caption) for caption, picture in pictures],
        "texts": [mark.get("text", "") or f"({mark['kind']})" for mark in proof["marks"]],
        "left": [mark.get("text", "") or f"({mark['kind']})" for mark in (*proof["left"], *proof["faint"])],
        "reasons": proof["reasons"],
        "share": 100 * proof["mask_pixels"] / proof["pixels"],
        "second": proof["second_reader"],
    }


def crop(marks: Sequence[Json], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of an image around its largest mark; the middle where there is none."""
    corners = [np.array(mark["polygon"]) for mark in marks] or [np.array([[shape[1] / 2, shape[0] / 2]])]
    largest = max(corners, key=lambda points: float(np.prod(np.ptp(points, axis=0))))
    middle, reach = largest.mean(0), np.minimum(np.ptp(largest, axis=0) / 2 + MARGIN, CROP / 2)
    low = np.floor(np.maximum(middle - reach, 0)).astype(int)
    high = np.ceil(middle + reach).astype(int) + 1
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _open(path: Path, *, is_dicom: bool) -> Picture:
    return read_dicom(path).picture if is_dicom else read_picture(path.read_bytes(), path.name)


def _open_source(job: Job) -> Picture:
    return read_dicom(job.row.path).picture if job.is_dicom else read_picture(job.row.read_bytes(), job.file_name)


def _view(picture: Picture) -> Grey:
    return picture.views(picture.values)[0]
