"""A latent diffusion model as inpainter: repainting with known surroundings, in squares of the model's own size."""

from dataclasses import dataclass

import numpy as np

from synthcxr.cleaning.inpainters.base import Levels, Place, windows
from synthcxr.cleaning.inpainters.classical import membrane
from synthcxr.cleaning.segment import Mask
from synthcxr.errors import SynthCXRError
from synthcxr.generation.edit import redraw
from synthcxr.generation.region import Window, cells
from synthcxr.models.registry import Model
from synthcxr.seeds import row_seed

MARGIN = 32
"""Pixels around what is masked that a square shows at least."""


@dataclass(frozen=True)
class Diffusion:
    """Fills by a model of Stable Diffusion (arXiv:2112.10752), or of its inpainting kind.

    The membrane's fill is noised by `strength` of the way and drawn from there; after every step the latent cells
    without a masked pixel are set to the known image at that step's noise (arXiv:2206.02779, algorithm 1). A square
    shows the image at its own resolution. What a text longer than that leaves is drawn in further squares, which see
    what was drawn before.
    """

    model: Model
    prompt: str = "Chest X-ray"
    negative_prompt: str = ""
    strength: float = 0.6
    steps: int = 30
    guidance: float = 1.0
    scheduler: str = "ddim"
    seed: int = 0

    def __call__(self, levels: Levels, mask: Mask) -> Levels:
        """Levels with the masked ones drawn. Raises SynthCXRError where what is drawn is not finite."""
        filled, hole, number = levels.copy(), mask.copy(), 0
        for place, own in windows(mask, MARGIN):
            rest = np.zeros_like(mask)
            rest[place] = own
            while rest.any():
                part = _next(rest, max(self.model.image_size - 2 * MARGIN, MARGIN))
                self._draw(filled, hole, rest, part, row_seed(self.seed, number))
                hole[part] &= ~rest[part]
                rest[part] = False
                number += 1
        return filled

    def _draw(self, filled: Levels, hole: Mask, rest: Mask, part: Place, seed: int) -> None:
        """Draw what is left within a part into `filled`, where the pixels of `hole` are not known."""
        side = self.model.image_size
        top, left = ((piece.start + piece.stop - side) // 2 for piece in part)
        shown = tuple(
            slice(max(0, start), min(length, start + side))
            for start, length in zip((top, left), hole.shape, strict=True)
        )
        known = membrane(filled[shown], hole[shown])
        inside = tuple(
            slice(piece.start - start, piece.stop - start) for piece, start in zip(shown, (top, left), strict=True)
        )
        beyond = [(piece.start, side - piece.stop) for piece in inside]
        square = np.pad(np.clip(np.rint(known), 0, 255).astype(np.uint8), beyond, mode="edge")
        free = cells(hole, Window(top, left, side), side // self.model.pipeline.vae_scale_factor)
        try:
            drawn = redraw(self.model, square, seed, self, free)[inside].astype(np.float32)
        except FloatingPointError as error:
            raise SynthCXRError(f"What was drawn into the mask is not finite: {error} Try --dtype float32.") from error
        # the autoencoder shifts brightness a little; a membrane of the shift at the rim takes it back
        whole = np.clip(drawn + membrane(filled[shown] - drawn, hole[shown]), 0, 255)
        own = np.zeros_like(rest)
        own[part] = rest[part]
        filled[shown] = np.where(own[shown], whole, filled[shown])


def _next(rest: Mask, room: int) -> Place:
    """A rectangle of at most `room` pixels a side around some of the masked pixels: the topmost, leftmost first."""
    top = int(np.flatnonzero(rest.any(axis=1))[0])
    rows = slice(top, top + room)
    left = int(np.flatnonzero(rest[rows].any(axis=0))[0])
    columns = slice(left, left + room)
    spans = (np.flatnonzero(rest[rows, columns].any(axis=axis)) for axis in (1, 0))
    bottom, right = (int(span[-1]) + 1 for span in spans)
    return slice(top, top + bottom), slice(left, left + right)
