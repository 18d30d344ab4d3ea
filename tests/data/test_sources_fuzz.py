"""Mutated tables, reports and images: each is read or rejected with a reason; none raises, hangs or grows."""

import gzip
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthcxr import PrepareConfig
from synthcxr.data.records import Record, RejectedImageError
from synthcxr.data.sources import padchest, read_source
from synthcxr.data.sources.openi import read_report
from synthcxr.errors import UsageError
from synthcxr.images import UnreadableImageError, encode_png
from tests.conftest import made_up_xray
from tests.data import layouts
from tests.data.fuzzing import fuzz

COUNT = int(os.environ.get("SYNTHCXR_FUZZ_COUNT", "150"))
"""Mutations of each kind of file; 4,000 of each were read without a failure when this was written."""


def attempt_table(data: bytes) -> str:
    """A PadChest table, or zipped one of NIH, with its images beside it: every row and image is told of."""
    zipped = data[:1] == b"\x1f"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in")
        root.mkdir()
        name = "Data_Entry_2017.csv.gz" if zipped else "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
        (root / name).write_bytes(data)
        images = {f"{letter}.png" for letter in "abcdefg"}
        for image in images:
            (root / image).touch()
        config = PrepareConfig(source_path=root, out=Path(folder, "out"), source="nih" if zipped else "padchest")
        try:
            source = read_source(config)
        except UsageError as error:
            assert str(error)
            return "wrong call"
    assert all(row["reason"] and row["rule"] and len(row["reason"]) <= 500 for row in source.rejected)
    assert images <= {record.name for record in source.records} | {row["file"] for row in source.rejected}
    assert all(record.subject.age is None or 0 <= record.subject.age <= 120 for record in source.records)
    return "read" if source.records else "rejected"


def attempt_report(data: bytes) -> str:
    """A report of OpenI."""
    try:
        report = read_report(data)
    except ValueError as error:
        assert str(error)
        return "rejected"
    assert report.study
    return "read"


def attempt_image(data: bytes) -> str:
    """A PNG or a JPEG, as PadChest's reader opens it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.png").write_bytes(data)
        config = PrepareConfig(source_path=Path(folder), out=Path(folder, "out"))
        try:
            picture = padchest.read_padchest(Path(folder), Record("a.png"), config)
        except (UnreadableImageError, RejectedImageError) as error:
            assert str(error)
            return "rejected"
    assert picture.image.dtype == np.uint8 and picture.image.ndim == 2
    return "read"


def tables() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plain = next(layouts.padchest(root / "padchest").glob("*.csv")).read_bytes()
        zipped = (layouts.nih(root / "nih", "Data_Entry_2017.csv.gz") / "Data_Entry_2017.csv.gz").read_bytes()
    return [plain, plain.decode().encode("utf-16"), plain.replace(b",", b";"), zipped, gzip.compress(plain)]


def reports() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [path.read_bytes() for path in sorted((layouts.openi(Path(folder)) / "ecgen-radiology").glob("*.xml"))]


def images() -> list[bytes]:
    """PNGs of 1, 8 and 16 bits, with a palette, with alpha and with text; JPEGs grey, in colour, progressive."""
    grey = Image.fromarray(made_up_xray(1))
    made: list[bytes] = [encode_png(made_up_xray(1), {"Title": "text", "Long": "x" * 3000})]
    for image, kind, options in (
        (Image.fromarray(made_up_xray(1).astype(np.uint16) * 257), "PNG", {}),
        (grey.convert("1"), "PNG", {}),
        (grey.convert("P"), "PNG", {"transparency": 3}),
        (grey.convert("RGBA"), "PNG", {"optimize": True}),
        (grey, "JPEG", {"quality": 90}),
        (grey.convert("RGB"), "JPEG", {"progressive": True}),
        (grey.convert("CMYK"), "JPEG", {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    return made


@pytest.mark.parametrize(
    ("attempt", "samples"),
    [(attempt_table, tables), (attempt_report, reports), (attempt_image, images)],
    ids=["tables", "reports", "images"],
)
def test_mutated_files_are_read_or_rejected(attempt: object, samples: object) -> None:
    assert callable(attempt) and callable(samples)
    outcome = fuzz(attempt, samples(), range(COUNT))
    assert not outcome.failures, "\n".join(outcome.failures[:5])
    assert outcome.words["read"] and sum(outcome.words.values()) == COUNT


# --- files that somebody made on purpose ------------------------------------------------------------------

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">'
    + "".join(f'<!ENTITY {chr(97 + n)} "{f"&{chr(96 + n)};" * 10}">' for n in range(1, 10))
    + ']><eCitation><uId id="CXR1"/><x>&j;</x></eCitation>'
)
OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    '<eCitation><uId id="CXR1"/><AbstractText>&f;</AbstractText></eCitation>'
)


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE, '<!DOCTYPE eCitation SYSTEM "a.dtd"><eCitation/>'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_report_with_entities_is_refused(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match="DOCTYPE"):
        read_report(text.replace('<?xml version="1.0"?>', "").encode(encoding))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a>" * 300000,
        b'<?xml version="1.0" encoding="klingon"?><a/>',
        b"<eCitation/>",
        b"<a/>" + b" " * 2000000,
        b'<eCitation><uId id="../../etc"/></eCitation>',
    ],
    ids=["empty", "deep", "encoding", "no id", "large", "path"],
)
def test_reports_that_are_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_report(data)


def test_a_picture_in_another_format_is_no_image(tmp_path: Path) -> None:
    """An EPS would run Ghostscript, whatever its name ends in."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    Image.fromarray(made_up_xray(1)).save(tmp_path / "b.png", "TIFF")
    config = PrepareConfig(source_path=tmp_path, out=tmp_path / "out")
    for name in ("a.png", "b.png"):
        with pytest.raises(UnreadableImageError, match="not an image"):
            padchest.read_padchest(tmp_path, Record(name), config)
