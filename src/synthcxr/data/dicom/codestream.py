"""What a compressed image says of itself in its first bytes, read before a decoder in C is trusted with the rest."""

from dataclasses import dataclass
from itertools import chain

START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Markers of ITU-T T.81 table B.1 and, F7, of T.87 annex C."""
START_OF_SCAN = 0xDA
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
MAXIMUM_TILES = 4096
"""Tiles of a JPEG 2000: an X-ray has one, or some hundreds; a decoder sets aside memory for each."""
END = b"\xff\xd9"
"""End of a JPEG, a JPEG-LS and a JPEG 2000."""


@dataclass(frozen=True)
class CodeStream:
    """Size, number of samples a pixel and bits a sample of a compressed image."""

    rows: int
    columns: int
    samples: int
    bits: int


def read_code_stream(data: bytes) -> CodeStream:
    """Read the head of a JPEG, JPEG-LS, JPEG 2000 or HTJ2K code stream. Raises ValueError with the reason."""
    try:
        stream = _read_jpeg(data) if data.startswith(b"\xff\xd8") else _read_jpeg_2000(data)
    except IndexError:
        raise ValueError("its compressed image has no head") from None
    if not data.rstrip(b"\0\xff").endswith(END):  # both are used to pad a fragment to an even length
        raise ValueError("its compressed image is cut off")
    return stream


def _read_jpeg(data: bytes) -> CodeStream:
    """The frame header (ITU-T T.81 section B.2.2, T.87 section C.2.2), every segment before the first scan being sound.

    A head about which libjpeg would only warn, bytes between two segments or another JFIF than 1, makes gdcm end the
    process.
    """
    place, stream = 2, None
    while (marker := data[place + 1]) != START_OF_SCAN or data[place] != 0xFF:
        if data[place] != 0xFF or marker == 0:
            raise ValueError("its compressed image has a broken head")
        if marker == 0xFF or marker in STANDALONE:
            place += 1 if marker == 0xFF else 2
            continue
        length, body = _number(data[place + 2 : place + 4]), data[place + 4 : place + 18]
        if length < 2 or (marker == 0xE0 and body.startswith(b"JFIF\0") and body[5] != 1):
            raise ValueError("its compressed image has a broken head")
        if marker in START_OF_FRAME:
            stream = CodeStream(_number(body[1:3]), _number(body[3:5]), body[5], body[0])
        place += 2 + length
    if stream is None:
        raise ValueError("its compressed image has no head")
    return stream


def _read_jpeg_2000(data: bytes) -> CodeStream:
    """The image and tile size (ISO/IEC 15444-1 section A.5.1), behind the boxes of a JP2 file where there are any."""
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0:
        raise ValueError("its compressed image has no head")
    fields = data[start + 8 : start + 40]
    width, height, left, top, tile_width, tile_height, *_ = (
        _number(fields[place : place + 4]) for place in range(0, 32, 4)
    )
    samples = _number(data[start + 40 : start + 42])
    components = data[start + 42 : start + 42 + 3 * min(samples, 4)]
    bits = max((1 + (depth & 0x7F) for depth in components[::3]), default=0)
    if not tile_width or not tile_height or -(-width // tile_width) * -(-height // tile_height) > MAXIMUM_TILES:
        raise ValueError("its compressed image has tiles that make no sense")
    if any(step != 1 for step in chain(components[1::3], components[2::3])):
        raise ValueError("its compressed image leaves out pixels")
    return CodeStream(height - top, width - left, samples, bits)


def _number(data: bytes) -> int:
    if not data:
        raise IndexError
    return int.from_bytes(data)
