"""Random masks like those of burned-in text: letters and strokes with the rim that the segmenter adds."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthcxr.cleaning.segment import Mask, dilate

SIZES = (7, 60)
"""Heights of fonts in pixels, evenly on a logarithmic scale."""
MOST = 0.4
"""Part of a crop that is masked at most; the more is masked, the less is there to tell from."""
WORDS = [
    *("L", "R", "AP", "PA", "PORTABLE", "ERECT", "SUPINE", "LEFT", "RIGHT", "SEMI"),
    *("12:45", "23.07.1961", "ID", "0048213", "MILLER,", "ANNA", "kV", "mAs", "#"),
]


def random_mask(random: np.random.Generator, side: int) -> Mask:
    """A mask (side, side) of one to five texts, strokes or solid shapes, grown by 1 to 4 pixels; never empty."""
    mask = np.zeros((side, side), bool)
    for _ in range(int(random.integers(1, 6))):
        draw = (_text, _strokes, _shape)[random.choice(3, p=[0.78, 0.15, 0.07])]
        added = dilate(draw(random, side), int(random.integers(1, 5)))
        if (mask | added).mean() <= MOST:
            mask |= added
    if not mask.any():
        mask[side // 3 : side // 2, side // 3 : side // 3 + 3] = True
    return mask


def _text(random: np.random.Generator, side: int) -> Mask:
    size = round(float(np.exp(random.uniform(*np.log(SIZES)))))
    face = _face(str(random.choice(_fonts())), size)
    canvas = Image.new("L", (side * 2, side * 2))
    drawing = ImageDraw.Draw(canvas)
    left, top = (float(place) for place in random.uniform(0.4, 1.3, 2) * side)
    words = " ".join(random.choice(WORDS, int(random.integers(1, 4))))
    for line in range(int(random.integers(1, 4)) if size < side / 6 else 1):
        drawing.text((left, top + 1.4 * size * line), words, font=face, fill=255)
    angle = random.choice([0, 90, 270, random.uniform(-15, 15)], p=[0.7, 0.1, 0.1, 0.1])
    turned = canvas.rotate(float(angle), Image.Resampling.BILINEAR) if angle else canvas
    half = side // 2
    return np.asarray(turned)[half : half + side, half : half + side] > 8  # the anti-aliased rim too


def _strokes(random: np.random.Generator, side: int) -> Mask:
    canvas = Image.new("L", (side, side))
    drawing = ImageDraw.Draw(canvas)
    for _ in range(int(random.integers(1, 5))):
        points = random.uniform(0, side) + np.cumsum(random.normal(0, side / 6, (4, 2)), axis=0)
        drawing.line([(x, y) for x, y in points], fill=255, width=int(random.integers(1, 11)), joint="curve")
    return np.asarray(canvas) > 0


def _shape(random: np.random.Generator, side: int) -> Mask:
    canvas = Image.new("L", (side, side))
    (x, y), radius = random.uniform(0, side, 2), float(random.uniform(3, side / 7))
    drawing = ImageDraw.Draw(canvas)
    if random.random() < 0.5:
        drawing.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    else:
        drawing.regular_polygon((x, y, radius), int(random.integers(3, 6)), float(random.uniform(0, 90)), fill=255)
    return np.asarray(canvas) > 0


@cache
def _fonts() -> list[str]:
    """matplotlib's fonts of letters; those of mathematical signs are left out."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    return sorted(str(path) for path in folder.glob("*.ttf") if path.stem.startswith(("DejaVu", "STIXGeneral", "cmr")))


@cache
def _face(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
