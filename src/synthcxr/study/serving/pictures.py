"""Every image of a study as bare grey levels: nothing about a picture but the picture leaves the server."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synthcxr.errors import SynthCXRError
from synthcxr.images import read_grey
from synthcxr.store import Json, sha256_bytes
from synthcxr.study.folder import IMAGES


@dataclass(frozen=True)
class Pictures:
    """Grey levels row by row, a byte each; all of one `width` and `height`, so all of one length."""

    width: int
    height: int
    levels: dict[str, bytes]


def load_pictures(folder: Path, rows: Mapping[str, Json]) -> Pictures:
    """Read every image that the key lists; `rows` are the key's rows by image.

    Raises SynthCXRError where an image is not the one that was frozen, or differs in shape from the others.
    """
    levels: dict[str, bytes] = {}
    shapes: dict[tuple[int, int], str] = {}
    for name, row in sorted(rows.items()):
        path = folder / IMAGES / name
        data = path.read_bytes()
        if sha256_bytes(data) != row["image_sha256"]:
            raise SynthCXRError(f"{path} was changed after the study was frozen. Restore it.")
        image = read_grey(io.BytesIO(data), str(path))
        shapes.setdefault((image.shape[0], image.shape[1]), name)
        levels[name] = image.tobytes()
    if len(shapes) != 1:
        unlike = ", ".join(f"{name} ({width} by {height})" for (height, width), name in shapes.items())
        raise SynthCXRError(f"The images of {folder} differ in size, which would tell: {unlike}. Make it anew.")
    (height, width) = next(iter(shapes))
    return Pictures(width, height, levels)
