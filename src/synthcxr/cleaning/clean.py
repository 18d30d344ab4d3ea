"""The stage `clean`: from a folder of images to the same without burned-in text, with masks and proof."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from synthcxr.cleaning.detect import shared_reader
from synthcxr.cleaning.inpaint import changed_outside
from synthcxr.cleaning.layout import PROOF, REJECTED, Job, output_kind, plan
from synthcxr.cleaning.marks import Kind, Mark, keep_out
from synthcxr.cleaning.remove import Read, Removal, remove_text
from synthcxr.cleaning.solid import find_solid
from synthcxr.config import CleanConfig
from synthcxr.devices import describe, worker_count
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.provenance import KEY
from synthcxr.imagefolder import SPLITS, read_rows, remove_strays, write_rows
from synthcxr.images import Grey, UnreadableImageError, read_grey, read_png_text, write_png
from synthcxr.progress import say, track
from synthcxr.store import (
    HIDDEN_FOLDER,
    Json,
    Output,
    describe_input,
    find_manifest,
    manifest_hash,
    open_output,
    read_jsonl,
    read_manifest,
    sha256_bytes,
    write_jsonl,
)
from synthcxr.workers import map_in_workers

OWN_FIELDS = {
    *("schema_version", "kind", "tool", "config", "inputs", "counts", "environment", "notes", "files", "seal"),
}
"""Fields of a manifest that belong to the folder it lies in; the others (sources, preprocessing …) are handed on."""
IMAGES_A_WORKER = 4
"""A worker process is started for at least so many images: each loads the models anew."""


@dataclass(frozen=True)
class CleanResult:
    """Where the cleaned images are and how many there are of each status."""

    folder: Path
    counts: Json

    @property
    def residual(self) -> int:
        """Images in which text can be read still."""
        return int(self.counts["residual"])


def clean(config: CleanConfig) -> CleanResult:
    """Write a folder's images without burned-in text; a dataset stays a dataset, a set a set.

    Raises UsageError where the folders lie in each other or hold nothing to clean, SynthCXRError where no image can
    be read. Text that can be read still is no error here: see `CleanResult.residual`.
    """
    source, out = config.folder.resolve(), config.out.resolve()
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise UsageError(f"--out {config.out} and {config.folder} lie in each other; choose an --out beside it.")
    jobs = plan(read_rows(config.folder)[: config.limit], config.folder)
    kind = output_kind(config.folder)
    identity = config.identity() | {"folder_sha256": manifest_hash(config.folder)}
    with open_output(config.out, kind, identity, overwrite=config.overwrite, inputs=[config.folder]) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return CleanResult(config.out, read_manifest(config.out)["counts"])
        proofs = list(track(_clean_all(config, jobs), "Cleaning", len(jobs)))
        return _finish(config, output, jobs, proofs)


def clean_image(config: CleanConfig, job: Job) -> Json:
    """Clean one image and write it, its mask and its proof; return the proof, or {"reason": …} for an unreadable one.

    An image that has its proof is not done again. The proof is written last, so a killed run leaves nothing half done.
    """
    target, mask = config.out / job.split / job.file_name, config.out / job.mask
    journal = config.out / HIDDEN_FOLDER / "proof" / job.split / f"{job.file_name}.jsonl"
    if (known := _known(job, journal)) is not None:
        return known
    for stale in (journal, target, mask):  # of an earlier call, before the source was changed
        stale.unlink(missing_ok=True)
    try:
        image = job.row.read()
        text = read_png_text(BytesIO(job.row.read_bytes())) if job.row.path.suffix.lower() == ".png" else {}
        text = text if KEY in text else {}  # a hospital's own text fields may name the patient
    except UnreadableImageError as error:
        return {"reason": str(error)}
    read = _but(_reader(config.minimum_score, kept_kinds(config)), config.points_to_leave(job.file_name))
    removal = remove_text(image, read, config.inpainter, config.dilation)
    write_png(target, removal.image, text)
    if removal.mask.any():
        write_png(mask, np.where(removal.mask, 255, 0).astype(np.uint8))
    proof = prove(job, image, read_grey(target), removal)
    write_jsonl(journal, [proof])  # keeps the order of the fields, so a resumed run writes the same bytes
    return proof


def prove(job: Job, before: Grey, after: Grey, removal: Removal) -> Json:
    """What was found, what was changed and what is left, as a row; `after` is the image as it lies on the disk."""
    outside = changed_outside(before, after, removal.mask)
    if outside:
        raise SynthCXRError(f"{job.file_name}: {outside} pixels outside the mask changed. Please report this.")
    boxes = [box.as_json() | {"round": 1} for box in removal.before]
    boxes += [box.as_json() | {"round": 2} for box in removal.later]  # seen only once the first were gone
    return {
        "file_name": job.file_name,
        "split": job.split,
        "status": removal.status,
        "boxes": boxes,
        "mask": job.mask if removal.mask.any() else None,
        "mask_pixels": int(removal.mask.sum()),
        "pixels": before.size,
        "changed_outside_mask": outside,
        "text_before": [box.text for box in (*removal.before, *removal.later)],
        "text_after": [box.text for box in removal.left],
        "source_sha256": sha256_bytes(job.row.read_bytes()),
    }


def _known(job: Job, journal: Path) -> Json | None:
    """The proof of an image that an earlier call cleaned, if the image is still the same."""
    if not journal.is_file():
        return None
    proof: Json = read_jsonl(journal)[0]
    try:
        return proof if proof["source_sha256"] == sha256_bytes(job.row.read_bytes()) else None
    except OSError:
        return None


def kept_kinds(config: CleanConfig) -> tuple[Kind, ...]:
    """The kinds of text that stay: those asked for, else sides in X-rays that are not known to be synthetic."""
    if config.keep is not None:
        return tuple(kind for kind in config.keep if kind != "nothing")
    manifest = find_manifest(config.folder)
    return () if manifest and manifest.stem == "set" else ("laterality",)


def _reader(minimum_score: float, kept: tuple[Kind, ...]) -> Read:
    """Finds text and solid markers, but for the kinds that stay."""

    def read(image: Grey) -> list[Mark]:
        texts = shared_reader().read(image, minimum_score)
        solid = [] if "marker" in kept else find_solid(image, keep_out(texts, kept))
        return [*keep_out(texts, kept), *solid]

    return read


def _but(read: Read, left: list[tuple[float, float]]) -> Read:
    """Reads all text but what lies at points (x, y) that are to be left."""
    return lambda image: [box for box in read(image) if not any(box.holds(point) for point in left)]


def _clean_all(config: CleanConfig, jobs: Sequence[Job]) -> Iterator[Json]:
    """The proofs in the order of the jobs, whatever the number of workers."""
    workers = min(worker_count(config.workers), max(1, len(jobs) // IMAGES_A_WORKER))
    return map_in_workers(partial(clean_image, config), jobs, workers, set_up=_start_worker)


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)


def _finish(config: CleanConfig, output: Output, jobs: Sequence[Job], proofs: Sequence[Json]) -> CleanResult:
    done = [(job, proof) for job, proof in zip(jobs, proofs, strict=True) if "reason" not in proof]
    rejected = [
        {"file": job.row.path.relative_to(config.folder).as_posix(), "reason": proof["reason"]}
        for job, proof in zip(jobs, proofs, strict=True)
        if "reason" in proof
    ]
    if not done:
        raise SynthCXRError(f"None of the {len(jobs)} images could be read; the first: {rejected[0]['reason']}")
    for split in SPLITS:
        rows = [_row(job, proof) for job, proof in done if job.split == split]
        remove_strays(output.folder, split, rows)
        if rows:
            write_rows(output.folder, split, rows)
    write_jsonl(output.folder / PROOF, [proof for _, proof in done])
    write_jsonl(output.folder / REJECTED, rejected)
    given = read_manifest(config.folder) if find_manifest(config.folder) else {}
    counts = _counts(given, done, rejected)
    summary = (
        f"Burned-in text was removed from {counts['removed'] + counts['residual']} of {counts['images']} images; "
        f"it can be read still in {counts['residual']}."
    )
    say(f"{summary} {len(rejected)} rejected.")
    output.finish(
        inputs={"images": describe_input(config.folder, output.folder)},
        counts=counts,
        environment=describe(),
        notes=[*given.get("notes", []), summary],
        **{name: value for name, value in given.items() if name not in OWN_FIELDS},
    )
    return CleanResult(config.out, counts)


def _row(job: Job, proof: Json) -> Json:
    """A row of the output's metadata: the input's fields, and what was found."""
    return {
        **job.row.fields,
        "file_name": job.file_name,
        "text_removed": proof["mask_pixels"] > 0,
        "text_area": round(proof["mask_pixels"] / proof["pixels"], 6),
        "texts_found": len(proof["text_before"]),
        "texts_left": len(proof["text_after"]),
    }


def _counts(given: Json, done: Sequence[tuple[Job, Json]], rejected: Sequence[Json]) -> Json:
    """The input's counts where all of its images were kept, and this stage's own."""
    held: Json = given.get("counts", {})
    status = Counter(proof["status"] for _, proof in done)
    splits = Counter(job.split for job, _ in done)
    return {
        **(held if held.get("images") == len(done) else {}),
        "images": len(done),
        "rejected": len(rejected),
        "splits": {split: splits[split] for split in SPLITS},
        **{name: status[name] for name in ("clean", "removed", "residual")},
    }
