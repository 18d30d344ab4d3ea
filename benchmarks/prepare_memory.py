"""Does the memory of `prepare` grow with the number of images? Its peak over made-up DICOMs, 2,000 and 20,000 of them.

Run ``python benchmarks/prepare_memory.py [--counts 2000 20000] [--workers 2] [--json FILE]`` (Linux). Each file has its
own patient, study and pixels: one DICOM is written, and of every other only the ids and the pixels differ. The whole
gate is at work; the rules by which the encoder would leave such patterns out are skipped, the encoder still sees all.
Memory is the sum of resident sizes over the main process and its workers, shared pages counted in each of them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 160
BEATS_PER_SECOND = 4
SKIPPED = ("not-frontal", "inverted", "rotated", "blank", "saturated", "text-only")


def write_dicoms(folder: Path, count: int) -> None:
    """Files of one template with their own ids and pixels."""
    template, pixels = _template()
    ids = [b"PATIENT-0000000000", b"1.2.3.4.1111111111", b"1.2.3.4.2222222222"]
    assert all(template.count(one) for one in ids)
    start = template.index(pixels)
    for number in range(count):
        data = bytearray(template)
        for one in ids:
            stem = one[:-10]
            fresh = stem + f"{number // 2 + 3_000_000_000 if one is ids[0] else number + 3_000_000_000}".encode()
            data[:] = bytes(data).replace(one, fresh)
        data[start : start + len(pixels)] = _values(number).tobytes()
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _template() -> tuple[bytes, bytes]:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3.4.2222222222")
    dataset.StudyInstanceUID, dataset.PatientID = "1.2.3.4.1111111111", "PATIENT-0000000000"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.PatientAge, dataset.PatientSex = "055Y", "M"
    dataset.Rows = dataset.Columns = SIDE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = _values(0).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "one.dcm")
        dataset.save_as(path, enforce_file_format=True)
        return path.read_bytes(), dataset.PixelData


def _values(number: int) -> npt.NDArray[np.uint16]:
    """A pattern of its own, of 12 bits."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 3600, (20, 20))
    values = np.kron(coarse, np.ones((SIDE // 20, SIDE // 20), np.int64)) + rng.integers(0, 400, (SIDE, SIDE))
    return values.astype(np.uint16)


def resident_bytes(process: int) -> int:
    """Resident size of a process and all below it."""
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        try:
            pages = int(Path(f"/proc/{one}/statm").read_text().split()[1])
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except (OSError, ValueError):  # it has just ended
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def measure(count: int, workers: int) -> dict[str, Any]:
    """Prepare so many DICOMs; the peak memory, and what came of it."""
    folder = Path(tempfile.mkdtemp(prefix="prepare-memory-"))
    try:
        write_dicoms(folder / "in", count)
        out = folder / "out"
        skips = [part for rule in SKIPPED for part in ("--skip-checks", rule)]
        command = [sys.executable, "-m", "synthcxr.cli", "prepare", str(folder / "in"), "--out", str(out)]
        command += ["--resolution", "128", "--workers", str(workers), "--key", str(folder / "key"), *skips]
        begun, peak = time.monotonic(), 0
        process = subprocess.Popen(command)
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(1 / BEATS_PER_SECOND)
        assert process.returncode == 0
        counts = json.loads((out / "dataset.json").read_text())["counts"]
        return {
            "dicoms": count,
            "images": counts["images"],
            "rejected": counts["rejected_by_rule"],
            "workers": workers,
            "peak_mb": round(peak / 1e6),
            "seconds": round(time.monotonic() - begun),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="File to write the results to.")
    options = parser.parse_args()
    lines = []
    for count in options.counts:
        lines.append(measure(count, options.workers))
        print(json.dumps(lines[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "prepare_memory", "lines": lines}, indent=2) + "\n")


if __name__ == "__main__":
    main()
