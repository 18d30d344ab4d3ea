"""DICOM files of others: every grey one that pydicom ships, and real X-rays in a radiograph's full header."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest

from synthcxr.cleaning.deidentify import Profile
from synthcxr.cleaning.dicom_out import DicomImage, make_dicom, read_dicom, to_values
from synthcxr.data.records import RejectedImageError
from synthcxr.images import UnreadableImageError, read_grey
from tests.data.dicom_files import make, save

SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"
LARGEST_BYTES = 700_000
XRAYS = Path(__file__).parents[3] / "shared" / "data" / "nih" / "images"


def errors(path: Path) -> set[str]:
    """What dciodvfy finds wrong; nothing where it is not installed."""
    if shutil.which("dciodvfy") is None:
        return set()
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace", check=False).stderr
    return {line for line in said.splitlines() if line.startswith("Error")}


def change(image: DicomImage, path: Path, profile: Profile | None = None) -> None:
    """Write an image with other values in its middle; read it back: there they changed, elsewhere none did."""
    values = image.picture.values.copy()
    height, width = values.shape
    mask = np.zeros(values.shape, bool)
    mask[height // 3 : height // 2, width // 3 : width // 2] = True
    values[mask] = values[0, 0]
    path.write_bytes(make_dicom(image, values, changed=True, free_of_text=True, profile=profile, key=b"secret"))
    back = read_dicom(path)
    assert back.stored.dtype == image.stored.dtype
    assert np.array_equal(back.stored[~mask], image.stored[~mask])
    assert np.array_equal(to_values(back.stored)[mask], values[mask])


@pytest.mark.filterwarnings("ignore")
def test_grey_files_of_pydicom_stay_as_sound_as_they_are(tmp_path: Path) -> None:
    done = 0
    for path in sorted(path for path in SHIPPED.rglob("*") if path.is_file() and path.stat().st_size < LARGEST_BYTES):
        try:
            image = read_dicom(path)
        except (RejectedImageError, UnreadableImageError):
            continue
        change(image, tmp_path / "new.dcm")
        if image.dataset.file_meta.TransferSyntaxUID.keyword != "DeflatedExplicitVRLittleEndian":  # dciodvfy cannot
            assert errors(tmp_path / "new.dcm") <= errors(path), path.name
        done += 1
    assert done >= 40


@pytest.mark.parametrize("profile", [None, "basic", "characteristics"])
@pytest.mark.skipif(not XRAYS.is_dir(), reason="the real X-rays are not at hand")
def test_a_real_xray_in_a_full_header_is_valid_under_every_profile(tmp_path: Path, profile: Profile | None) -> None:
    values = read_grey(sorted(XRAYS.iterdir())[0]).astype(np.uint16) * 16
    dataset = make(values, 12, PatientName="DOE^JANE", PatientBirthDate="19500101", StudyDate="20200102", StudyID="1")
    for keyword in ("StudyTime", "AccessionNumber", "ReferringPhysicianName", "SeriesNumber", "InstanceNumber"):
        setattr(dataset, keyword, "")
    dataset.Manufacturer, dataset.SeriesInstanceUID = "MAKER", "1.2.3.4.6"
    dataset.PatientOrientation, dataset.ImageType = ["L", "F"], ["ORIGINAL", "PRIMARY"]
    source = save(dataset, tmp_path / "in.dcm")
    assert errors(source) == set()
    change(read_dicom(source), tmp_path / "out.dcm", profile)
    assert errors(tmp_path / "out.dcm") == set()
    assert pydicom.dcmread(tmp_path / "out.dcm").BurnedInAnnotation == "NO"
