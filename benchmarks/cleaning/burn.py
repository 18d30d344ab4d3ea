"""Text burned into real X-rays, with its truth: where it is, what it says, and the pixels that it hides.

Run ``python benchmarks/cleaning/burn.py --out FOLDER [--side judging] [--count 40]`` to see some of it. The two sides
share neither patients nor fonts: ``tuning`` takes training patients, ``judging`` those of validation and test.
Fonts are matplotlib's DejaVu, OpenCV's, and Debian's (fonts-liberation2 fonts-roboto-unhinted fonts-roboto-slab
fonts-inter fonts-open-sans fonts-lato fonts-freefont-ttf fonts-ocr-a fonts-ocr-b fonts-hack-ttf fonts-cantarell
fonts-jetbrains-mono fonts-inconsolata fonts-terminus); one that is missing is an error, for the figures would differ.
"""

import argparse
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from synthcxr.cleaning.marks import Kind
from synthcxr.images import Grey, read_grey, write_png
from synthcxr.store import write_jsonl

Side = Literal["tuning", "judging"]
Mask = npt.NDArray[np.bool_]
Levels = npt.NDArray[np.float32]

SPLITS: dict[Side, tuple[str, ...]] = {"tuning": ("train",), "judging": ("validation", "test")}
FONTS: dict[Side, tuple[str, ...]] = {
    "tuning": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "Roboto-Regular", "Roboto-Bold", "RobotoSlab-Regular"),
        *("Lato-Regular", "OCRA", "Hack-Regular", "JetBrainsMono-Regular", "RobotoCondensed-Regular"),
        *("hershey-simplex", "hershey-complex"),
    ),
    "judging": (
        *("LiberationSans-Regular", "LiberationSans-Bold", "LiberationSansNarrow-Regular", "LiberationMono-Bold"),
        *("LiberationSerif-Regular", "OpenSans-Regular", "Inter-Regular", "Inter-Bold", "FreeMonoBold", "FreeSans"),
        *("OCRB", "Inconsolata", "Cantarell-Bold", "TerminusTTF-4.46.0", "hershey-duplex", "hershey-triplex"),
    ),
}
SIZES = (8, 60)
"""Heights of a capital letter, in pixels; drawn evenly on a logarithmic scale."""
APART = 6
"""Pixels between two texts."""
LEAST_CONTRAST = 40
"""Grey levels between a text and the mean of what lies under it."""
NAMES = [
    *("SMITH", "DOE", "GARCIA", "MILLER", "OKAFOR", "NGUYEN", "IVANOVA"),
    *("KOWALSKI", "HASSAN", "LINDQVIST", "MEYER", "TANAKA", "SILVA", "BROWN"),
]
FIRST = [
    *("JOHN", "MARIA", "ANNA", "PETER", "AMINA", "THI", "OLGA"),
    *("JAN", "OMAR", "ASTRID", "KARL", "YUKI", "JOAO", "EMMA"),
]
WARDS = [
    *("ST. MARY HOSPITAL", "CITY CLINIC", "GENERAL HOSPITAL"),
    *("UNIVERSITY MEDICAL CENTER", "RADIOLOGY 2", "CHILDREN'S WARD"),
]
POSITIONS = [
    *("AP", "PA", "PORTABLE", "ERECT", "SUPINE"),
    *("UPRIGHT", "SEMI-ERECT", "SITTING", "MOBILE", "LATERAL"),
]


@dataclass(frozen=True)
class BurnedText:
    """A text that was burned in: what it is, its pixels' bounds (left, top, right, bottom), and how it was drawn."""

    text: str
    kind: Kind
    bounds: tuple[int, int, int, int]
    size: int
    rotation: int
    region: Literal["lung", "bone", "border"]
    contrast: int
    font: str


@dataclass(frozen=True)
class Burned:
    """An X-ray with text, the same without (the truth), whose pixel is whose text (0: none), and the texts."""

    image: Grey
    truth: Grey
    owner: npt.NDArray[np.uint8]
    texts: tuple[BurnedText, ...]

    @property
    def mask(self) -> Mask:
        """All pixels with ink, the anti-aliased rim included."""
        return self.owner > 0


def xrays(side: Side, data: Path, folders: Sequence[Path]) -> list[Path]:
    """The X-rays of a side's patients at full size, of each of the prepared datasets in turn."""
    from itertools import chain, zip_longest

    from synthcxr.imagefolder import read_rows

    lists = [
        [
            data / row.fields["source"] / row.fields["source_file"]
            for row in read_rows(folder)
            if row.split in SPLITS[side]
        ]
        for folder in folders
    ]
    order = np.random.default_rng(0)
    for paths in lists:
        order.shuffle(paths)
    return [path for path in chain.from_iterable(zip_longest(*lists)) if path is not None]


def burn(image: Grey, seed: int, side: Side, count: int = 4, avoid: Mask | None = None) -> Burned:
    """Burn up to `count` texts into a grey X-ray (height, width), where they meet neither each other nor `avoid`.

    In every third image (`seed` divisible by 3) a JPEG of quality 60 to 95 follows.
    """
    random = np.random.default_rng(seed)
    canvas = image.astype(np.float32)
    owner = np.zeros(image.shape, np.uint8)
    taken = np.zeros(image.shape, bool) if avoid is None else avoid.copy()
    texts: list[BurnedText] = []
    for _ in range(count * 8):
        if len(texts) == count:
            break
        drawn = _one(canvas, taken, random, side)
        if drawn is not None:
            text, place, ink = drawn
            texts.append(text)
            owner[place][ink > 0] = len(texts)
            rows, columns = (slice(max(0, part.start - APART), part.stop + APART) for part in place)
            taken[rows, columns] = True
    burned = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    if seed % 3 == 0:
        stream = BytesIO()
        Image.fromarray(burned).save(stream, "JPEG", quality=int(random.integers(60, 96)))
        burned = np.asarray(Image.open(stream))
    return Burned(burned, image, owner, tuple(texts))


def _one(
    canvas: Levels, taken: Mask, random: np.random.Generator, side: Side
) -> tuple[BurnedText, tuple[slice, slice], Levels] | None:
    """Draw one text into the canvas at a free place, if a try at one finds it."""
    words, kind = random_text(random)
    size = round(float(np.exp(random.uniform(*np.log(SIZES)))))
    font = str(random.choice(FONTS[side]))
    turn = int(random.choice([0, 90, 270], p=[0.76, 0.12, 0.12]))
    tilt = float(random.uniform(-12, 12)) if random.random() < 0.1 else 0.0
    ink = _turn(draw(words, font, size), turn, tilt)
    lead = random.random() < 0.2  # a letter of lead on the film: soft, and what is under it shows through
    if lead:
        ink = _soften(ink, size)
    place = _place(ink.shape, canvas.shape, random)
    if place is None or taken[place].any():
        return None
    under = canvas[place]
    mean = float(under.mean())
    contrast = _contrast(under, random)
    if contrast is None:
        return None
    canvas[place] = under + ink * contrast if lead else under * (1 - ink) + ink * min(max(mean + contrast, 0), 255)
    bounds = (place[1].start, place[0].start, place[1].stop, place[0].stop)
    return BurnedText(words, kind, bounds, size, turn, _region(canvas, mean), contrast, font), place, ink


def _place(ink: tuple[int, ...], canvas: tuple[int, ...], random: np.random.Generator) -> tuple[slice, slice] | None:
    """Where a text goes, often to the upper or lower edge as most real ones; None where it is too big."""
    height, width = ink
    if height + 4 >= canvas[0] or width + 4 >= canvas[1]:
        return None
    edge = random.random() < 0.4
    top = int(random.integers(2, canvas[0] - height - 1))
    left = int(random.integers(2, canvas[1] - width - 1))
    if edge:
        top = int(random.choice([random.integers(2, 12), canvas[0] - height - random.integers(2, 12)]))
        top = min(max(top, 0), canvas[0] - height)
    return slice(top, top + height), slice(left, left + width)


def _contrast(under: Levels, random: np.random.Generator) -> int | None:
    """Grey levels by which a text differs from the mean under it, dark ones negative; None where there is no room.

    It differs by `LEAST_CONTRAST` from 95 % of what lies under it. Two of five texts are all black or white.
    """
    mean, low, high = float(under.mean()), *map(float, np.percentile(under, (5, 95)))
    dark = bool(high - LEAST_CONTRAST > 60 and random.random() < 0.3)
    room, sign, spread = (low, -1, abs(low - mean)) if dark else (255 - high, 1, abs(high - mean))
    if room < LEAST_CONTRAST:
        return None
    if random.random() < 0.4:
        return sign * int(mean if dark else 255 - mean)
    return sign * int(random.uniform(LEAST_CONTRAST + spread, max(room + spread, LEAST_CONTRAST + 1)))


def _region(canvas: Levels, mean: float) -> Literal["lung", "bone", "border"]:
    """What lies under a text, by brightness alone: black border, darker than the middle of the body, or brighter."""
    if mean < 25:
        return "border"
    return "lung" if mean < float(np.median(canvas[canvas >= 25])) else "bone"


def random_text(random: np.random.Generator) -> tuple[str, Kind]:
    """What hospitals burn in, of each kind."""
    which = random.random()
    if which < 0.25:
        return str(random.choice(["L", "R", "L", "R", "LEFT", "RIGHT"])), "laterality"
    if which < 0.45:
        words = str(random.choice(POSITIONS))
        return (f"{words} {random.choice(POSITIONS)}" if random.random() < 0.2 else words), "position"
    if which < 0.9:
        return _identifier(random), "identifier"
    letters = "".join(random.choice(list(string.ascii_uppercase), 2))
    return str(
        random.choice([letters, str(random.integers(10, 99)), f"{random.integers(60, 130)} kV", "3.2 mAs"])
    ), "other"


def _identifier(random: np.random.Generator) -> str:
    number = int(random.integers(10_000, 99_999_999))
    day, month, year = random.integers(1, 29), random.integers(1, 13), random.integers(1990, 2026)
    name, first = random.choice(NAMES), random.choice(FIRST)
    return str(
        random.choice(
            [
                f"{name}, {first}",
                f"{name.title()} {first.title()}",
                f"{name}^{first}",
                str(number),
                f"ID: {number}",
                f"MRN{number}",
                f"{day:02d}/{month:02d}/{year}",
                f"{year}-{month:02d}-{day:02d}",
                f"{day}.{month}.{year % 100:02d}",
                f"{random.integers(0, 24):02d}:{random.integers(0, 60):02d}:{random.integers(0, 60):02d}",
                f"{random.integers(1, 13)}:{random.integers(0, 60):02d} {random.choice(['AM', 'PM'])}",
                str(random.choice(WARDS)),
                f"DOB {day:02d}/{month:02d}/{year}",
                f"{random.choice(['M', 'F'])} {random.integers(1, 99)}Y",
            ]
        )
    )


def draw(words: str, font: str, size: int) -> Levels:
    """The ink (0 to 1) of a text whose capitals are `size` pixels high, cut to its bounds."""
    if font.startswith("hershey"):
        return _hershey(words, font, size)
    face = _face(font, size)
    left, top, right, bottom = face.getbbox(words)
    canvas = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), words, font=face, fill=255)
    return _cut(np.asarray(np.asarray(canvas) / 255, np.float32))


def _hershey(words: str, font: str, size: int) -> Levels:
    import cv2

    number = {"simplex": 0, "duplex": 2, "complex": 3, "triplex": 4}[font.partition("-")[2]]
    scale = size / 21
    thick = max(1, round(size / 14))
    (width, height), below = cv2.getTextSize(words, number, scale, thick)
    canvas = np.zeros((height + below + 2 * size, width + 2 * size), np.uint8)
    cv2.putText(canvas, words, (size, height + size // 2), number, scale, 255, thick, cv2.LINE_AA)
    return _cut(np.asarray(canvas / 255, np.float32))


def _cut(ink: Levels) -> Levels:
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _soften(ink: Levels, size: int) -> Levels:
    import cv2

    soft = np.asarray(cv2.GaussianBlur(ink, (0, 0), max(0.5, size / 30)), np.float32)
    return np.where(soft < 0.02, np.float32(0), soft)


def _turn(ink: Levels, degrees: int, tilt: float) -> Levels:
    """Ink turned clockwise, and tilted a little."""
    turned = np.rot90(ink, -degrees // 90)
    if tilt:
        picture = Image.fromarray(np.rint(turned * 255).astype(np.uint8))
        tilted = np.asarray(picture.rotate(tilt, Image.Resampling.BICUBIC, expand=True)) / 255
        turned = np.asarray(np.where(tilted < 0.02, 0, tilted), np.float32)
    return _cut(np.ascontiguousarray(turned, np.float32))


@cache
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    """A face in which a capital H is `size` pixels high."""
    path = str(_fonts()[font])
    probe = ImageFont.truetype(path, 200)
    _, top, _, bottom = probe.getbbox("H")
    return ImageFont.truetype(path, max(1, round(200 * size / (bottom - top))))


@cache
def _fonts() -> dict[str, Path]:
    """Where the fonts lie. Raises SystemExit where one is missing."""
    import matplotlib

    places = [Path(matplotlib.get_data_path()) / "fonts", Path("/usr/share/fonts")]
    found = {path.stem: path for place in places for path in place.rglob("*.[to]tf")}
    wanted = [font for fonts in FONTS.values() for font in fonts if not font.startswith("hershey")]
    if missing := [font for font in wanted if font not in found]:
        raise SystemExit(f"These fonts are missing: {', '.join(missing)}. See the top of {__file__}.")
    return found


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options that say where the X-rays are."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the X-rays at full size")
    parser.add_argument("--datasets", type=Path, nargs="+", required=True, help="what `prepare` made of them")


def main() -> None:
    """Write some burned X-rays, their masks, and a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_sources(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", choices=("tuning", "judging"), default="judging")
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    rows = []
    for seed, path in enumerate(xrays(options.side, options.data, options.datasets)[: options.count]):
        burned = burn(read_grey(path), seed, options.side)
        name = f"{seed:04d}.png"
        write_png(options.out / name, burned.image)
        write_png(options.out / "masks" / name, np.where(burned.mask, 255, 0).astype(np.uint8))
        rows.append({"file_name": name, "source": path.name, "texts": [text.__dict__ for text in burned.texts]})
    write_jsonl(options.out / "texts.jsonl", rows)


if __name__ == "__main__":
    main()
