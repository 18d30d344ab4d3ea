"""The stage `clean`: from a folder of images to the same without burned-in text, with masks and proof."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import parent_process
from pathlib import Path

import numpy as np

from synthcxr.cleaning.detect import shared_reader
from synthcxr.cleaning.dicom_out import DicomImage, make_dicom, read_dicom, to_values
from synthcxr.cleaning.inpaint import find_fill, identify_fill, inpaint
from synthcxr.cleaning.layout import DICOM, MASKS, PROOF, REJECTED, REVIEW, Found, Job, look_through, output_kind
from synthcxr.cleaning.marks import Kind
from synthcxr.cleaning.picture import Picture, Values, read_picture
from synthcxr.cleaning.proof import find_second_reader, prove
from synthcxr.cleaning.remove import MOST_SHORT, Read, Removal, Segment, Tools, remove_text
from synthcxr.cleaning.segment import strokes
from synthcxr.config import CleanConfig
from synthcxr.data.identity import load_key
from synthcxr.data.records import RejectedImageError
from synthcxr.devices import describe, worker_count
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.provenance import KEY
from synthcxr.imagefolder import METADATA, SPLITS, remove_strays, write_rows
from synthcxr.images import UnreadableImageError, encode_png, read_png_text, write_png
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
    write_bytes,
    write_jsonl,
)
from synthcxr.workers import map_in_workers

OWN_FIELDS = {
    *("schema_version", "kind", "tool", "config", "inputs", "counts", "environment", "notes", "files", "seal"),
}
"""Fields of a manifest that belong to the folder it lies in; the others (sources, preprocessing …) are handed on."""
IMAGES_A_WORKER = 4
"""A worker process is started for at least so many images: each loads the models anew."""
TELLS_NOBODY = ("laterality", "position", "marker")
"""Kinds of marks that may stay where a DICOM header says that nothing is burned in."""
LIMIT_SECONDS = 600.0
"""After so long a DICOM file counts as one that hangs its decoder."""


@dataclass(frozen=True)
class CleanResult:
    """Where the cleaned images are and how many there are of each status."""

    folder: Path
    counts: Json

    @property
    def residual(self) -> int:
        """Images that a person has to look at."""
        return int(self.counts["residual"])


def clean(config: CleanConfig) -> CleanResult:
    """Write a folder's images without burned-in text; a dataset stays a dataset, a set a set.

    Raises UsageError where the folders lie in each other or hold nothing to clean, SynthCXRError where no image can
    be read. An image that needs a review is no error here: see `CleanResult.residual`.
    """
    source, out = config.folder.resolve(), config.out.resolve()
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise UsageError(f"--out {config.out} and {config.folder} lie in each other; choose an --out beside it.")
    found = look_through(config.folder)
    jobs = found.jobs[: config.limit]
    key = load_key(config.key, config.out) if config.deidentify != "off" else b""
    kind = output_kind(config.folder)
    second = find_second_reader(config.second_reader)
    identity = config.identity() | {
        "folder_sha256": manifest_hash(config.folder),
        "kept": list(kept_kinds(config)),
        "second_reader": second.name if second else None,
        **identify_fill(config.inpainter, config.inpainter_model),
    }
    with open_output(config.out, kind, identity, overwrite=config.overwrite, inputs=[config.folder]) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return CleanResult(config.out, read_manifest(config.out)["counts"])
        proofs = list(track(_clean_all(config, jobs, key), "Cleaning", len(jobs)))
        return _finish(config, output, found, jobs, proofs)


def clean_image(config: CleanConfig, key: bytes, job: Job) -> Json:
    """Clean one image and write it, its mask and its proof; return the proof, or {"reason": …} for an unreadable one.

    An image that has its proof is not done again. The proof is written last, so a killed run leaves nothing half done.
    """
    journal = config.out / HIDDEN_FOLDER / "proof" / f"{job.place}.jsonl"
    if (known := _known(job, journal)) is not None:
        return known
    for stale in (journal, *(config.out / name for name in (job.place, job.review, job.mask))):
        stale.unlink(missing_ok=True)  # of an earlier call, before the source was changed
    try:
        source = job.row.read_bytes()
        given = read_dicom(job.row.path) if job.is_dicom else read_picture(source, job.row.path.name)
        proof = _clean_read(config, key, job, given, source)
    except OSError as error:
        return {"reason": f"{job.row.path.name} cannot be read: {error.strerror or error}."}
    except (UnreadableImageError, RejectedImageError) as error:
        return {"reason": str(error)}
    write_jsonl(journal, [proof])  # keeps the order of the fields, so a resumed run writes the same bytes
    return proof


def _clean_read(config: CleanConfig, key: bytes, job: Job, given: Picture | DicomImage, source: bytes) -> Json:
    """Clean an image that was read, write it and its mask, read it back, and prove it."""
    picture = given.picture if isinstance(given, DicomImage) else given
    second = find_second_reader(config.second_reader)
    removal = remove_text(picture, make_tools(config, job))
    if isinstance(given, DicomImage):
        free = second is not None and tells_nobody(removal)
        profile = None if config.deidentify == "off" else config.deidentify
        changed = bool(removal.mask.any())
        written = make_dicom(given, removal.image, changed=changed, free_of_text=free, profile=profile, key=key)
    else:
        text = read_png_text(BytesIO(source)) if source.startswith(b"\x89PNG") else {}
        # a hospital's own text fields may name the patient
        written = encode_png(removal.image, text if KEY in text else {})
    target = config.out / (job.review if removal.reasons else job.place)
    write_bytes(target, written)
    if removal.mask.any():
        write_png(config.out / job.mask, np.where(removal.mask, 255, 0).astype(np.uint8))
    after = read_back(job, target)
    words = config.show_removed_text
    return prove(job, picture, after, removal, second, source=source, written=written, words=words)


def tells_nobody(removal: Removal) -> bool:
    """Whether no reader finds anything any more, but for markers of the side and the view that were to stay.

    Burned In Annotation asks for what tells who the patient is, or when the image was made (PS3.3 section C.7.6.1).
    """
    read = removal.reasons or any(removal.second_after)
    return not read and all(mark.kind in TELLS_NOBODY for mark in removal.kept)


def read_back(job: Job, path: Path) -> Values:
    """The values of a file that was written."""
    return to_values(read_dicom(path).stored) if job.is_dicom else read_picture(path.read_bytes(), path.name).values


def make_tools(config: CleanConfig, job: Job) -> Tools:
    """The readers, the inpainter and what is kept of an image, as the options ask for."""
    return Tools(
        read=_reader(config.minimum_score),
        fill=partial(inpaint, method=find_fill(config.inpainter, config.inpainter_model)),
        segment=_segmenter(config),
        second=find_second_reader(config.second_reader),
        dilation=config.dilation,
        kept=kept_kinds(config),
        leave=tuple(config.points_to_leave(job.file_name)),
    )


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
    return () if output_kind(config.folder) == "set" else ("laterality",)


def _segmenter(config: CleanConfig) -> Segment:
    if config.segmenter == "strokes":
        return strokes
    from synthcxr.cleaning.sam import load_sam

    return load_sam(config.segmenter_model)


def _reader(minimum_score: float) -> Read:
    return partial(shared_reader().read, minimum_score=minimum_score)


def _clean_all(config: CleanConfig, jobs: Sequence[Job], key: bytes) -> Iterator[Json]:
    """The proofs in the order of the jobs, whatever the number of workers.

    DICOM's decoders may crash or hang on a broken file; in a process of their own they cost that file alone.
    """
    workers = min(worker_count(config.workers), max(1, len(jobs) // IMAGES_A_WORKER))
    if config.inpainter == "diffusion" or config.segmenter == "sam":  # large models use all cores, or the one GPU
        workers = 1
    work = partial(clean_image, config, key)
    if any(job.is_dicom for job in jobs):
        return map_in_workers(work, jobs, workers, set_up=_start_worker, lost=_lose, limit_seconds=LIMIT_SECONDS)
    return map_in_workers(work, jobs, workers, set_up=_start_worker)


def _lose(job: Job, how: str) -> Json:
    return {"reason": f"{job.row.path.name} {how} the process that was to read it"}


def _start_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    if parent_process():
        os.environ["OMP_NUM_THREADS"] = "1"  # torch's, which is imported when it is first needed


def _finish(
    config: CleanConfig, output: Output, found: Found, jobs: Sequence[Job], proofs: Sequence[Json]
) -> CleanResult:
    pairs = list(zip(jobs, proofs, strict=True))
    done = [(job, proof) for job, proof in pairs if "reason" not in proof]
    rejected = [
        {"file": job.row.path.relative_to(config.folder).as_posix(), "reason": proof["reason"]}
        for job, proof in pairs
        if "reason" in proof
    ]
    rejected += [{"file": name, "reason": reason} for name, reason in found.left_out.items()]
    if not done:
        raise SynthCXRError(f"None of the {len(jobs)} images could be read; the first: {rejected[0]['reason']}")
    _write_tables(output.folder, done)
    write_jsonl(output.folder / PROOF, [proof for _, proof in done])
    write_jsonl(output.folder / REJECTED, rejected)
    given = read_manifest(config.folder) if find_manifest(config.folder) else {}
    counts = _counts(given, done, rejected)
    sideless = sum(proof["may_have_lost_side"] for _, proof in done) if "laterality" in kept_kinds(config) else 0
    notes = _notes(config, counts, len(rejected), found.passed_over, sideless)
    say(" ".join(notes))
    from synthcxr.report.cleaning import write_cleaning_report

    write_cleaning_report(output.folder, config, done, counts, notes)
    output.finish(
        inputs={"images": describe_input(config.folder, output.folder)},
        counts=counts,
        environment=describe(),
        notes=[*given.get("notes", []), *notes],
        **{name: value for name, value in given.items() if name not in OWN_FIELDS},
    )
    return CleanResult(config.out, counts)


def _write_tables(folder: Path, done: Sequence[tuple[Job, Json]]) -> None:
    """The rows of every split and of what needs a review; images that no row names go."""
    for split in SPLITS:
        rows = [_row(job, proof) for job, proof in done if proof["file"] == f"{split}/{job.file_name}"]
        _write_table(folder, split, rows)
    review = [
        _row(job, proof) | {"file_name": Path(job.review).relative_to(REVIEW).as_posix(), "split": job.split}
        for job, proof in done
        if proof["file"] == job.review
    ]
    _write_table(folder, REVIEW, review)
    remove_strays(folder, MASKS, [{"file_name": Path(job.mask).relative_to(MASKS).as_posix()} for job, _ in done])
    places = {proof["file"] for _, proof in done}
    for path in [*(folder / DICOM).rglob("*.dcm"), *(folder / REVIEW).rglob("*.dcm")]:
        if path.relative_to(folder).as_posix() not in places:
            path.unlink()


def _write_table(folder: Path, part: str, rows: Sequence[Json]) -> None:
    remove_strays(folder, part, rows)
    (folder / part / METADATA).unlink(missing_ok=True)
    if rows:
        write_rows(folder, part, rows)


def _notes(config: CleanConfig, counts: Json, rejected: int, passed_over: int, sideless: int) -> list[str]:
    """What happened, in sentences."""
    kept = ", ".join(kept_kinds(config)) or "nothing"
    found, total = counts["removed"] + counts["residual"], counts["images"] + counts["residual"]
    notes = [
        f"Burned-in text was found in {found} of {total} images. Kept: {kept}.",
        f"To be reviewed: {counts['residual']}, in {REVIEW}/ and nowhere else." if counts["residual"] else "",
        f"Without a marker of a side, and a text of up to {MOST_SHORT} characters gone that may have been it: "
        f"{sideless} (may_have_lost_side in {PROOF})."
        if sideless
        else "",
        f"{rejected} rejected." if rejected else "",
        f"Passed over, for they are no images: {passed_over}." if passed_over else "",
    ]
    if find_second_reader(config.second_reader) is None:
        notes.append("No second reader looked at the result.")
    return [note for note in notes if note]


def _row(job: Job, proof: Json) -> Json:
    """A row of the output's metadata: the input's fields, and what was found."""
    return {
        **job.row.fields,
        "file_name": job.file_name,
        "text_removed": proof["mask_pixels"] > 0,
        "text_area": round(proof["mask_pixels"] / proof["pixels"], 6),
        "texts_found": len(proof["marks"]),
        "texts_left": len(proof["left"]) + len(proof["faint"]),
    }


def _counts(given: Json, done: Sequence[tuple[Job, Json]], rejected: Sequence[Json]) -> Json:
    """The input's counts where all of its images were kept, and this stage's own; `images` are those that are done."""
    held: Json = given.get("counts", {})
    status = Counter(proof["status"] for _, proof in done)
    splits = Counter(job.split for job, proof in done if proof["file"] == job.place and not job.is_dicom)
    return {
        **(held if held.get("images") == len(done) - status["residual"] else {}),
        "images": len(done) - status["residual"],
        "rejected": len(rejected),
        "dicom": sum(job.is_dicom for job, _ in done),
        "splits": {split: splits[split] for split in SPLITS},
        **{name: status[name] for name in ("clean", "removed", "residual")},
    }
