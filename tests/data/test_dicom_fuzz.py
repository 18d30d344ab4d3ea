"""Mutated DICOM files: each is read or rejected with a reason; nothing else is raised, hangs or grows."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from synthcxr import PrepareConfig
from synthcxr.data.records import Record, RejectedImageError
from synthcxr.data.sources.dicom import read_picture
from synthcxr.images import UnreadableImageError
from tests.data.dicom_files import (
    HTJ2K_OF_PATTERN,
    JPEG_12_BIT_OF_RAMP,
    RAMP,
    compress,
    make,
    pattern,
    save,
    with_frame,
)
from tests.data.fuzzing import fuzz, mutate

COUNT = int(os.environ.get("SYNTHCXR_FUZZ_COUNT", "300"))
"""Mutations; benchmarks/fuzz_readers.py makes many more."""


def attempt(data: bytes) -> str:
    """Write the bytes and read them as the source `dicom` does, rules aside, so that more files reach the decoders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a").write_bytes(data)
        config = PrepareConfig(source_path=Path(folder), out=Path(folder, "out"), skip_checks=["all"], frames="first")
        try:
            picture = read_picture(Path(folder), Record("a"), config)
        except RejectedImageError as error:
            assert str(error)
            return error.rule
        except UnreadableImageError as error:
            assert str(error)
            return "unreadable"
    assert picture.image.dtype == np.uint8
    assert picture.image.ndim == 2
    return "read"


def samples() -> list[bytes]:
    """A file in every transfer syntax, with tables, windows and padding among them."""
    with tempfile.TemporaryDirectory() as folder:
        values = pattern(shape=(64, 64))
        window: dict[str, Any] = {
            "WindowCenter": 2000,
            "WindowWidth": 3000,
            "PixelPaddingValue": 0,
            "PixelSpacing": [0.2, 0.14],
        }
        datasets = [
            make(values, **window),
            make(values, VOILUTSequence=[table(4096)], ModalityLUTSequence=[table(4096)]),
            make(pattern(8, (64, 64)), 8, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2, RescaleIntercept=-9),
            with_frame(make(pattern(shape=(24, 32))), "1.2.840.10008.1.2.4.201", HTJ2K_OF_PATTERN),
            with_frame(make(RAMP.astype(np.uint16)), "1.2.840.10008.1.2.4.51", JPEG_12_BIT_OF_RAMP),
            compress(make(pattern(8, (64, 64)), 8), "1.2.840.10008.1.2.4.50"),
        ]
        datasets += [compress(make(values, **window), f"1.2.840.10008.1.2.{kind}") for kind in (5, *CODES)]
        deflated = make(values)
        deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        return [save(dataset, Path(folder, "a")).read_bytes() for dataset in (*datasets, deflated)]


CODES = ("4.57", "4.70", "4.80", "4.81", "4.90", "4.91")


def table(size: int) -> object:
    from pydicom import Dataset

    item = Dataset()
    item.LUTDescriptor = [size, 0, 12]
    item.LUTData = list(range(size))
    item["LUTData"].VR = "US"
    return item


def test_mutations_are_reproducible_and_change_something() -> None:
    sample = bytes(range(256)) * 20
    assert all(mutate(sample, seed) == mutate(sample, seed) for seed in range(50))
    assert len({mutate(sample, seed) for seed in range(50)}) > 40
    assert mutate(b"", 1) == b""


def test_the_watch_sees_what_goes_wrong() -> None:
    outcome = fuzz(misbehave, [b"a", b"b", b"c"], range(3))
    assert outcome.words == {"read": 1, "raised": 1, "crashed": 1}
    assert [failure.split(":")[0] for failure in outcome.failures] == ["seed 1, sample 1", "seed 2, sample 2"]


def misbehave(data: bytes) -> str:
    if data in (b"a", b"b", b"c") or mutate(b"a", 0) == data:
        return "read"
    if mutate(b"b", 1) == data:
        raise ValueError("as a reader must not")
    os._exit(11)


@pytest.mark.slow
def test_mutated_files_are_read_or_rejected() -> None:
    outcome = fuzz(attempt, samples(), range(COUNT))
    assert outcome.failures == []
    assert sum(outcome.words.values()) == COUNT
    assert outcome.words["read"] > 0
    assert len(outcome.words) >= 3
