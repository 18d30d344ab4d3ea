"""What a cleaned folder looks like: the same kind of thing as its input, with masks and proof beside the images.

dataset.json | set.json | clean.json    the manifest, of the input's kind; `clean` for any other folder
train/ validation/ test/                the input's splits; the images of a plain folder go to train/
    metadata.jsonl                      the input's rows and what was found
dicom/                                  the DICOM files of a plain folder, as DICOM files
needs-review/                           images, of either sort, that a person has to look at; they are nowhere else
masks/NAME.png                          white where an image was changed; only of images in which text was found
proof.jsonl, rejected.jsonl             a row an image
index.html                              before, after, mask
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthcxr.data.dicom.file import DIRECTORY, HEAD_BYTES, recognise
from synthcxr.data.shards import find_shards
from synthcxr.data.sources.files import list_files
from synthcxr.errors import UsageError
from synthcxr.imagefolder import METADATA, SPLITS, Row, read_rows
from synthcxr.images import SUFFIXES
from synthcxr.store import find_manifest

MASKS = "masks"
DICOM = "dicom"
REVIEW = "needs-review"
PROOF = "proof.jsonl"
REJECTED = "rejected.jsonl"
OTHER_SUFFIXES = (".gif", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".heic", ".avif", ".jfif", ".dcm", ".dicom")
"""Names of images that are rejected, not passed over, unless they hold something else than their name says."""


@dataclass(frozen=True)
class Job:
    """One image to clean: its row, its split, its name and mask in the output, and whether it is a DICOM file."""

    row: Row
    split: str
    file_name: str
    mask: str
    is_dicom: bool = False

    @property
    def place(self) -> str:
        """Where it goes in the output once it is clean."""
        return f"{DICOM if self.is_dicom else self.split}/{self.file_name}"

    @property
    def review(self) -> str:
        """Where it goes if a person has to look at it: as flat as masks, under the mask's name."""
        name = self.mask.removeprefix(f"{MASKS}/")
        return f"{REVIEW}/{name.removesuffix('.png') + '.dcm' if self.is_dicom else name}"


@dataclass(frozen=True)
class Found:
    """The images of a folder, files that must not be opened with the reason, and how many others were passed over."""

    jobs: list[Job]
    left_out: dict[str, str]
    passed_over: int = 0


def output_kind(folder: Path) -> str:
    """The kind of manifest that the cleaned folder gets: that of a dataset or a set, else ``clean``."""
    manifest = find_manifest(folder)
    return manifest.stem if manifest is not None and manifest.stem in ("dataset", "set") else "clean"


def look_through(folder: Path) -> Found:
    """The images of a dataset, a set, an earlier cleaned folder, or any folder. Raises UsageError where there are none.

    In a folder that is none of ours every file is looked at: DICOM is known by what it holds, not by its name.
    """
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist.")
    manifest = find_manifest(folder)
    has_splits = any((folder / split / METADATA).is_file() or find_shards(folder / split) for split in SPLITS)
    if has_splits or (manifest is not None and manifest.stem != "clean"):
        rows = read_rows(folder)
        dicom = list_files(folder / DICOM, ("",)).names if (folder / DICOM).is_dir() else {}
        rows += [Row(folder / DICOM / name, SPLITS[0], fields={"file_name": name}) for name in dicom]
        return Found(plan(rows, folder), {})
    files = list_files(folder, ("",))
    own = (f"{MASKS}/", f"{REVIEW}/") if manifest is not None else ()
    rows = [
        Row(folder / name, SPLITS[0])
        for name in files.names
        if not (own and name.startswith(own))
        and (name.lower().endswith((*SUFFIXES, *OTHER_SUFFIXES)) or _is_dicom(folder / name))
    ]
    if not rows:
        raise UsageError(f"There is no image in {folder}: no PNG, JPEG or DICOM.")
    return Found(plan(rows, folder), files.left_out, len(files.names) - len(rows))


def plan(rows: Sequence[Row], folder: Path) -> list[Job]:
    """A job for each row of a folder. Raises UsageError where a row's file name leads out of the folder.

    A mask has its image's own name, unless splits share a name: then the split's name and two underscores come
    first. (A folder masks/test would be read as a split by Hugging Face `datasets`.)
    """
    dicom = [_is_dicom(row.path) for row in rows]
    finals: dict[int, str] = {}
    for split in sorted({row.split for row in rows}):
        for is_dicom, suffix in ((False, ".png"), (True, ".dcm")):
            places = [place for place, row in enumerate(rows) if row.split == split and dicom[place] == is_dicom]
            names = [_name(rows[place], folder) for place in places]
            finals |= dict(zip(places, names_with(suffix, names), strict=True))
    shared = len({_without_suffix(name) for name in finals.values()}) < len(rows)
    jobs = []
    for place, row in enumerate(rows):
        name = finals[place]
        prefix = (f"{DICOM}__" if dicom[place] else f"{row.split}__") if shared else ""
        mask = f"{_without_suffix(name)}.png"
        jobs.append(Job(row, row.split, name, f"{MASKS}/{prefix}{mask}", dicom[place]))
    return jobs


def names_with(suffix: str, names: Sequence[str]) -> list[str]:
    """Names with a suffix; where two would become one, those that had another keep it before the new one."""
    changed = [_without_suffix(name) + suffix for name in names]
    counts = Counter(changed)
    return [
        new if counts[new] == 1 or new == name else f"{name}{suffix}" for name, new in zip(names, changed, strict=True)
    ]


def _without_suffix(name: str) -> str:
    """A name without the suffix of an image; a UID's last number is none."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in (*SUFFIXES, *OTHER_SUFFIXES) else name


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return recognise(head) and DIRECTORY not in head


def _name(row: Row, folder: Path) -> str:
    """A row's file name; of a plain folder, the path inside it with "__" for each slash, as `prepare` writes it."""
    if "file_name" not in row.fields:
        return row.path.relative_to(folder).as_posix().replace("/", "__")
    name = PurePosixPath(row.fields["file_name"])
    if name.is_absolute() or ".." in name.parts:
        raise UsageError(f"The row {name} of {folder / row.split} leads out of its folder. Correct its file_name.")
    return name.as_posix()
