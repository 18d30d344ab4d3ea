"""Drawn X-rays with text in known places, and a reader without a model."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthcxr.cleaning.marks import Mark
from synthcxr.images import Grey

SIDE = 128
PLACE = (14, 20)
"""Left and top of the burned text."""
CORNERS = ((10.0, 16.0), (44.0, 16.0), (44.0, 42.0), (10.0, 42.0))
"""A box around it, as a detector would give it."""


def drawn_xray(side: int = SIDE, seed: int = 0) -> Grey:
    """Two dark lungs on a grey body with a little grain; nothing in it is brighter than 200."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    body = 150 - 60 * np.abs(columns - 0.5)
    for center in (0.3, 0.7):
        body -= 80 * np.exp(-(((columns - center) / 0.13) ** 2 + ((rows - 0.5) / 0.25) ** 2))
    grain = np.random.default_rng(seed).normal(0, 2, (side, side))
    image: Grey = np.clip(body + grain, 0, 200).astype(np.uint8)
    return image


def burn(image: Grey, text: str, place: tuple[int, int] = PLACE, size: int = 22, level: int = 255) -> Grey:
    """The image with text in Pillow's own font, its top left corner at `place` (x, y)."""
    canvas = Image.fromarray(image)
    font = ImageFont.load_default(size)
    left, top, *_ = font.getbbox(text)
    ImageDraw.Draw(canvas).text((place[0] - left, place[1] - top), text, font=font, fill=level)
    return np.asarray(canvas)


def fake_read(image: Grey) -> list[Mark]:
    """A reader without a model: text is whatever is white in the known box."""
    white = image[16:42, 10:44].max() > 240
    return [Mark(CORNERS, "R", 0.9)] if white else []
