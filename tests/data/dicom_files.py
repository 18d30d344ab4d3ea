"""Made-up DICOM files: a chest that is none, in any transfer syntax that an encoder here can write."""

import base64
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

CR = "1.2.840.10008.5.1.4.1.1.1"

Values = npt.NDArray[Any]


def pattern(bits: int = 12, shape: tuple[int, int] = (48, 64), *, signed: bool = False) -> Values:
    """Stored values of many kinds, the smallest and the largest of the bits among them."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    values = (x * 37 + y * 53 + (x * y) % 11 * 7) % 2**bits
    values[0, 0], values[-1, -1] = 0, 2**bits - 1
    name = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return np.asarray(values - (2 ** (bits - 1) if signed else 0)).astype(name)


def make(values: Values, bits: int = 12, **elements: Any) -> Dataset:
    """A frontal chest radiograph with these stored values; `elements` are added, or left out where they are None."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CR, "1.2.3.4.5"
    dataset.StudyInstanceUID, dataset.PatientID = "1.2.3.4", "P1"
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.PatientAge, dataset.PatientSex = "055Y", "M"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * values.dtype.itemsize, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.add_new("PixelData", "OB" if values.dtype.itemsize == 1 else "OW", values.tobytes())
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path, **how: Any) -> Path:
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True, **how)
    return path


def with_frame(dataset: Dataset, syntax: str, frame: bytes) -> Dataset:
    """The dataset with a compressed frame in place of its pixels."""
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def compress(dataset: Dataset, syntax: str) -> Dataset:
    """The dataset in RLE, JPEG-LS or JPEG 2000 (pydicom's encoders), or in a JPEG (gdcm's)."""
    if syntax in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"):
        return _compress_by_gdcm(dataset, syntax)
    lossy: dict[str, dict[str, Any]] = {
        "1.2.840.10008.1.2.4.81": {"jls_error": 2},
        "1.2.840.10008.1.2.4.91": {"j2k_cr": [2]},
    }
    dataset.compress(syntax, generate_instance_uid=False, **lossy.get(syntax, {}))
    return dataset


def _compress_by_gdcm(dataset: Dataset, syntax: str) -> Dataset:
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "given"), Path(folder, "made")
        save(dataset, given)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(given))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(made))
        assert writer.Write()
        return dcmread(made)


HTJ2K_OF_PATTERN = base64.b64decode(
    "/0//UQApQAAAAAAgAAAAGAAAAAAAAAAAAAAAIAAAABgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAygAAf+TwAAmqfkFB3QAwAATQAASwAASgFT9Aod0ACwCh3QA8QDHdADAABUw"
    "AATQAASgHARgIvUBArQA3fwAAjQAZwDBdADAABaMAAFowAAVwAjYAWSBDorfA6kCfcEItzcASgZAX1e9tjX3AARPc1GvOADi95n4Zt9b+AWcSJeW"
    "AMAAF2UAAF2sAAF2IA9DGLzDLCK+xRFBySwlSOyCWo4/JggwNImWLF2FBip6wUYl+QGO5qDzhgowRFkZAZ4AD2AMGAo0SQ43Ydo6lRQ4VSjVYWAZ"
    "EiERcA3dQbQAiqApEkL2AHICDyAxyQXIIBUkka0CkQGj2xhGy/iCfMjRWi6NV5hGE7JxDPNSL4XyGTCNxSygC2zUAqpdIh6uFQqeROTSAb8AwAAv"
    "quAAF9YwAAvpEDydRKYqQ74uWXxyEoInQpApUXKVsCxWgLzRISwUkhACRkISrguHEV7kjQYEWXKJkIAl+DiYwou80RAB0x0HLMGJkOQWBDHEh57A"
    "HAcswYlgeRFqKTyiFwmsZREqN0EkJhASBLUIR/RCJFRWpPMiEZBUHQSQ3ISTLKR7kQgAw/wDIs0xMK2SO8do64C6EYeDX3ySFA/DJJ+B6kjvHaOv"
    "SF0k1mk5h017JD/cApwEApNpBSQliCwW0doQThIIDFNGsCQdCvwGESIlrnC0EfJGsCQdCvzeEaJaLcSCLLc7sQSLtSRVBKmqJbEgSxJZSNAmQgJB"
    "BARcHYiURBYStAkuvVtEHIsLS0mEvK3CSAHk3i0ijsU1JWgrQisIwcMmiAvJTInQlVDqEXwrwQpC8LgAoUGnYNSt0D7Ska/BAwLvFjDu/hdxqlwp"
    "F1/wrNYY0GOSh75Kv3ISsyE9Ze/fAnJpySRlaTGZsZFLS0ZZajIz8fhCYpZyjFy5JMsmMxOPl8qSXExKYUplSS6mtGTKS4U0l5jELC0ZealJUsYx"
    "TPmSKS2kOJNZNuUlqYxjmPLCNMaUS2GaDAAgb3wRv7ovAADv/tfKwsXf0TsIq+uSWAL/QiLxwCmfy+gCBfb/U8H5WFqv6a75Ea7J/RpKZeTX2gP/"
    "2Q=="
)
"""`pattern(shape=(24, 32))` without its two corners in reversible HTJ2K, by OpenJPH (imagecodecs 2026.3.6)."""
RAMP = np.add.outer(np.arange(24) * 60, np.arange(32) * 85)
JPEG_12_BIT_OF_RAMP = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    "AQEBAQH/wQALDAAYACABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAADQ7/xAAbEAABBAMAAAAAAAAAAAAAAAALACc4RlZkdP/aAAgBAQAAPwCP2w+Q"
    "7qLrG4dXePWSqAHyHdRdY3Dq7x6yVQA+Q7qLrG4dXePWSqAHyHdRdY3Dq7x6yjz8PkO6i6xuHV3j1kqgB8h3UXWNw6u8eslUAPkO6i6xuHV3j1kq"
    "gB8h3UXWNw6u8eso8/D5Duousbh1d49ZKoAfId1F1jcOrvHrJVAD5Duousbh1d49ZKoAfId1F1jcOrvHrL//2Q=="
)
"""`RAMP` in JPEG of 12 bits, by libjpeg-turbo (imagecodecs 2026.3.6, `jpeg_encode`, level 100), which reads it back."""
