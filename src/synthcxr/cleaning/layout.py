"""What a cleaned folder looks like: the same kind of thing as its input, with masks and proof beside the images.

dataset.json | set.json | clean.json    the manifest, of the input's kind; `clean` for any other folder
train/ validation/ test/                the input's splits; the images of a plain folder go to train/
    metadata.jsonl                      the input's rows and what was found
masks/NAME.png                          white where an image was changed; only of images in which text was found
proof.jsonl, rejected.jsonl             a row an image
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthcxr.errors import UsageError
from synthcxr.imagefolder import Row
from synthcxr.store import find_manifest

MASKS = "masks"
PROOF = "proof.jsonl"
REJECTED = "rejected.jsonl"


@dataclass(frozen=True)
class Job:
    """One image to clean: its row, and its split, name and mask in the output."""

    row: Row
    split: str
    file_name: str
    mask: str


def output_kind(folder: Path) -> str:
    """The kind of manifest that the cleaned folder gets: that of a dataset or a set, else ``clean``."""
    manifest = find_manifest(folder)
    return manifest.stem if manifest is not None and manifest.stem in ("dataset", "set") else "clean"


def plan(rows: Sequence[Row], folder: Path) -> list[Job]:
    """A job for each row of a folder. Raises UsageError where a row's file name leads out of the folder.

    A mask has its image's own name, unless splits share a name: then the split's name and two underscores come
    first. (A folder masks/test would be read as a split by Hugging Face `datasets`.)
    """
    finals: dict[int, str] = {}
    for split in {row.split for row in rows}:
        places = [place for place, row in enumerate(rows) if row.split == split]
        names = [_name(rows[place], folder) for place in places]
        finals |= dict(zip(places, png_names(names), strict=True))
    shared = len(set(finals.values())) < len(rows)
    return [
        Job(
            row=row,
            split=row.split,
            file_name=finals[place],
            mask=f"{MASKS}/{row.split}__{finals[place]}" if shared else f"{MASKS}/{finals[place]}",
        )
        for place, row in enumerate(rows)
    ]


def png_names(names: Sequence[str]) -> list[str]:
    """Names with the suffix .png; where two would become one, those that had another suffix keep it before .png."""
    changed = [PurePosixPath(name).with_suffix(".png").as_posix() for name in names]
    counts = Counter(changed)
    return [new if counts[new] == 1 or new == name else f"{name}.png" for name, new in zip(names, changed, strict=True)]


def _name(row: Row, folder: Path) -> str:
    """A row's file name; of a plain folder, the path inside it with "__" for each slash, as `prepare` writes it."""
    if "file_name" not in row.fields:
        return row.path.relative_to(folder).as_posix().replace("/", "__")
    name = PurePosixPath(row.fields["file_name"])
    if name.is_absolute() or ".." in name.parts:
        raise UsageError(f"The row {name} of {folder / row.split} leads out of its folder. Correct its file_name.")
    return name.as_posix()
