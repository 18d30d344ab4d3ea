"""``study new``: a blinded reading, in which nothing but the picture tells synthetic from real."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from synthcxr.config import StudyNewConfig
from synthcxr.devices import describe
from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey, UnreadableImageError, encode_png, to_square
from synthcxr.progress import track
from synthcxr.store import (
    Json,
    describe_input,
    find_manifest,
    open_output,
    read_manifest,
    sha256_bytes,
    write_bytes,
    write_jsonl,
)
from synthcxr.study.answers import blank_sheet
from synthcxr.study.folder import IMAGES, KIND, MANIFEST, README, REJECTED, SHEET, TRUTH, answer_files
from synthcxr.study.plan import Candidate, Case, arrange, common_side, draw

INSTRUCTIONS = """\
Real or synthetic?

The folder images holds {count} chest X-rays. Each one is either real (taken of a patient) or synthetic (made
by a computer). How many there are of each is not said.

1. Open answer-sheet.csv in a spreadsheet program. Write your name or initials in the column reader, in the
   first row.
2. Look at the images in the order of their numbers, as large as you like. Judge by the picture alone.
3. For each image write in the column answer one of the words
       real
       synthetic
   In the column confidence write how sure you are of that answer: 1 (a guess) to 5 (certain). In the column
   seconds you may write how long you looked. Leave a row empty if you cannot decide.
4. Do not go back to earlier images, and do not talk about them with other readers before all are done.
5. Save the sheet as CSV (UTF-8), its first line and the names of the images as they are, and send it back.
"""


@dataclass(frozen=True)
class Pile:
    """One kind of image: the folder, the distinct pictures in it, and what was left out with the reason."""

    folder: Path
    candidates: tuple[Candidate, ...]
    rejected: tuple[Json, ...]


def new(config: StudyNewConfig) -> Path:
    """Draw real and synthetic images, mix them under neutral names, freeze the plan; return its folder.

    Every image of both folders is read once, so that none can be in both. Raises UsageError where the folders
    are the same, are too small, share a picture, or where `out` holds answers that would be lost.
    """
    if (config.out / MANIFEST).is_file():
        if not config.overwrite:  # finished before, or another study: the store tells which
            with open_output(config.out, KIND, config.identity()) as output:
                return output.folder
        _keep_answers(config.out)
    _check_folders(config)
    real = _survey(config.real, read_rows(config.real, "test"))
    synthetic = _survey(config.synthetic, read_rows(config.synthetic))
    _check_piles(real, synthetic, config.count)
    drawn = draw(real.candidates, config.count, config.seed, "real")
    cases = arrange(drawn, draw(synthetic.candidates, config.count, config.seed, "synthetic"), config.seed)
    inputs = [config.real, config.synthetic]
    with open_output(config.out, KIND, config.identity(), overwrite=config.overwrite, inputs=inputs) as output:
        _write(output.folder, cases, real, synthetic)
        return output.finish(
            inputs={
                "real": describe_input(config.real, output.folder),
                "synthetic": describe_input(config.synthetic, output.folder),
            },
            counts={
                "real": config.count,
                "synthetic": config.count,
                "patients": len({candidate.patient for candidate in drawn}),
                "rejected": len(real.rejected) + len(synthetic.rejected),
                "readers": 0,
                "answers": 0,
            },
            environment=describe(),
            notes=_notes(cases, drawn),
        )


def encode_blinded(image: Grey) -> bytes:
    """A grey PNG whose length depends on nothing but the image's shape, without any metadata.

    Synthetic images are smoother and compress better, so the length of a compressed file would tell. Stored
    without compression, all are equally long.
    """
    return encode_png(image, compress_level=0)


def _keep_answers(out: Path) -> None:
    count = len(answer_files(read_manifest(out, KIND)))
    if count:
        raise UsageError(
            f"{out} holds {count} file{'s' * (count > 1)} of readers' answers, which --overwrite would lose. "
            "Choose another --out."
        )


def _check_folders(config: StudyNewConfig) -> None:
    real, synthetic, out = (path.resolve() for path in (config.real, config.synthetic, config.out))
    if real == synthetic:
        raise UsageError(f"--real and --synthetic are the same folder, {config.real}. Give two.")
    if real.is_relative_to(synthetic) or synthetic.is_relative_to(real):
        raise UsageError(f"Of --real {config.real} and --synthetic {config.synthetic}, one lies in the other.")
    if out.is_relative_to(real) or out.is_relative_to(synthetic):
        raise UsageError(f"--out {config.out} lies in a folder of images. Choose a place outside of it.")
    for role, folder, wrong in (("real", real, "set"), ("synthetic", synthetic, "dataset")):
        manifest = find_manifest(folder)
        if manifest and manifest.stem == wrong:
            raise UsageError(f"--{role} {folder} is a {wrong}. --real takes a dataset, --synthetic a set.")


def _survey(folder: Path, rows: Sequence[Row]) -> Pile:
    """Read every picture once; what cannot be read, or is there twice, is left out."""
    found: dict[str, Candidate] = {}
    rejected: list[Json] = []
    for row in track(rows, f"Reading {folder}", len(rows)):
        name = row.path.relative_to(folder).as_posix()
        try:
            image = row.read()
        except UnreadableImageError as error:
            rejected.append({"source": name, "reason": str(error)})
            continue
        pixels = sha256_bytes(repr(image.shape).encode() + image.tobytes())
        if pixels in found:
            twin = found[pixels].row.path.relative_to(folder).as_posix()
            rejected.append({"source": name, "reason": f"The same picture as {twin}."})
        else:
            found[pixels] = Candidate(row, pixels, (image.shape[0], image.shape[1]))
    return Pile(folder, tuple(found.values()), tuple(rejected))


def _check_piles(real: Pile, synthetic: Pile, count: int) -> None:
    for kind, pile in (("real", real), ("synthetic", synthetic)):
        if len(pile.candidates) < count:
            usable = len(pile.candidates)
            left_out = f" ({len(pile.rejected)} unreadable or there twice)" if pile.rejected else ""
            raise UsageError(
                f"{count} {kind} images were asked for, but there are {usable} in {pile.folder}{left_out}. "
                "Ask for a smaller --count, or give more images."
            )
    ours = {candidate.pixels: candidate.row.path for candidate in real.candidates}
    shared = [(ours[c.pixels], c.row.path) for c in synthetic.candidates if c.pixels in ours]
    if shared:
        raise UsageError(
            f"{shared[0][0]} and {shared[0][1]} are the same picture, in both folders "
            f"({len(shared)} such in all). Remove it from the wrong one."
        )


def _write(folder: Path, cases: Sequence[Case], real: Pile, synthetic: Pile) -> None:
    roots = {"real": real.folder, "synthetic": synthetic.folder}
    side = common_side(cases)
    key: list[Json] = []
    for case in cases:
        row = case.candidate.row
        image = row.read()
        served = encode_blinded(image if side is None else to_square(image, side))
        write_bytes(folder / IMAGES / case.image, served)
        entry: Json = {
            "image": case.image,
            "truth": case.truth,
            "source": row.path.relative_to(roots[case.truth]).as_posix(),
            "source_sha256": sha256_bytes(row.read_bytes()),
            "image_sha256": sha256_bytes(served),
        }
        if case.truth == "synthetic":
            entry |= {"seed": row.fields.get("seed"), "prompt": row.text}
        key.append(entry)
    write_jsonl(folder / TRUTH, key)
    rejected = [
        {"truth": kind, **row} for kind, pile in (("real", real), ("synthetic", synthetic)) for row in pile.rejected
    ]
    write_jsonl(folder / REJECTED, rejected)
    write_bytes(folder / SHEET, blank_sheet([case.image for case in cases]))
    write_bytes(folder / README, INSTRUCTIONS.format(count=len(cases)).encode())


def _notes(cases: Sequence[Case], drawn: Sequence[Candidate]) -> list[str]:
    notes = [
        "Images are grey 8-bit PNGs without metadata, stored without compression: a smooth synthetic image "
        "would compress to a shorter file, which would tell."
    ]
    side = common_side(cases)
    if side is not None:
        notes.append(
            f"Sizes differed, so the central square of every image was brought to {side} by {side} pixels. "
            "Images that were larger are resampled, those of this size are not; a reader might see that."
        )
    patients = len({candidate.patient for candidate in drawn})
    if patients < len(drawn):
        notes.append(f"The {len(drawn)} real images come from {patients} patients; there were no more.")
    return notes
