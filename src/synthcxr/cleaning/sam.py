"""Segment Anything (arXiv:2304.02643) as segmenter: prompted by a mark's box and by points on its letters."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.segment import Mask, outline, strokes
from synthcxr.devices import Compute, pick
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import Grey
from synthcxr.models import sources

if TYPE_CHECKING:
    from torch import Tensor

MODELS = {
    "sam-base": "facebook/sam-vit-base",
    "sam-large": "facebook/sam-vit-large",
    "sam-huge": "facebook/sam-vit-huge",
}
"""Names of the published weights (Apache-2.0), and where they are had."""
POINTS = 16
"""Points of a mark at most."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours that SAM was trained on, black 0 and white 1."""


@dataclass
class Sam:
    """A loaded `SamModel` of transformers, in the place of `strokes`: takes an image and a mark, gives a mask.

    What it saw of the last image is kept, so that further marks of it cost little.
    """

    network: Any
    compute: Compute
    _seen: tuple[bytes, "Tensor"] | None = field(default=None, repr=False)

    @property
    def side(self) -> int:
        """Side of the square that the network sees; 1024 in the published ones."""
        return int(self.network.config.vision_config.image_size)

    def __call__(self, image: Grey, mark: Mark) -> Mask:
        """The pixels of a mark in a grey image (height, width), none of them outside its outline.

        An image that is larger than the network's square is shown to it by a crop around the mark, at its own
        resolution. A solid marker is masked as by `strokes`.
        """
        if mark.kind == "marker":
            return strokes(image, mark)
        mask = np.zeros(image.shape, bool)
        inside = outline(mark, image.shape)
        if not inside.any():
            return inside
        place = self._place(inside)
        mask[place] = self._segment(np.ascontiguousarray(image[place]), mark, place) & inside[place]
        return mask

    def _place(self, inside: Mask) -> tuple[slice, slice]:
        """The image, or a crop of the network's side around a mark; larger where the mark is."""
        places = []
        for axis in (1, 0):
            span, length = np.flatnonzero(inside.any(axis=axis)), inside.shape[1 - axis]
            start, stop = int(span[0]), int(span[-1]) + 1
            side = min(length, max(self.side, stop - start))
            start = min(max(0, (start + stop - side) // 2), length - side)
            places.append(slice(start, start + side))
        return places[0], places[1]

    def _segment(self, crop: Grey, mark: Mark, place: tuple[slice, slice]) -> Mask:
        import torch

        corner = np.array([place[1].start, place[0].start])
        shifted = Mark(tuple((float(x), float(y)) for x, y in mark.points - corner), mark.text, mark.score, mark.kind)
        points = prompt_points(strokes(crop, shifted), shifted)
        low, high = shifted.points.min(0), shifted.points.max(0)
        scale = self.side / max(crop.shape)
        with torch.no_grad():
            found = self.network(
                image_embeddings=self._look(crop),
                input_points=self._tensor(points * scale)[None, None],
                input_labels=torch.ones((1, 1, len(points)), dtype=torch.long, device=self.compute.device),
                input_boxes=self._tensor(np.concatenate([low, high]) * scale)[None, None],
                multimask_output=True,
            )
        best = int(found.iou_scores[0, 0].argmax())
        return self._back(found.pred_masks[0, 0, best].float(), crop.shape)

    def _look(self, crop: Grey) -> "Tensor":
        """The network's view of a crop, (1, channels, cells, cells); that of the last crop is remembered."""
        key = repr(crop.shape).encode() + crop.tobytes()
        if self._seen is None or self._seen[0] != key:
            values = self._tensor(prepare(crop, self.side))[None]
            self._seen = key, self.network.get_image_embeddings(values)
        return self._seen[1]

    def _tensor(self, values: npt.NDArray[Any]) -> "Tensor":
        import torch

        return torch.from_numpy(np.asarray(values, np.float32)).to(self.compute.device, self.compute.dtype)

    def _back(self, scores: "Tensor", shape: tuple[int, ...]) -> Mask:
        """Scores of the square, cut to what the crop fills of it and enlarged to the crop; above 0 is the mark."""
        from torch.nn.functional import interpolate

        square = interpolate(scores[None, None], (self.side, self.side), mode="bilinear", align_corners=False)
        height, width = _fitted(shape, self.side)
        whole = interpolate(square[..., :height, :width], tuple(shape), mode="bilinear", align_corners=False)
        return np.asarray((whole[0, 0] > 0).cpu().numpy(), bool)


def prepare(crop: Grey, side: int) -> npt.NDArray[np.float32]:
    """A crop as SAM takes it, (3, side, side): the long side fitted, colours white, zeros below or to the right."""
    from PIL import Image

    height, width = _fitted(crop.shape, side)
    fitted = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    square = np.zeros((3, side, side), np.float32)
    for channel, (mean, deviation) in enumerate(zip(MEAN, DEVIATION, strict=True)):
        square[channel, :height, :width] = (fitted - mean) / deviation
    return square


def prompt_points(letters: Mask, mark: Mark) -> npt.NDArray[np.float32]:
    """Points (x, y) on the letters: in each of the largest the one furthest from its rim; the middle where none are."""
    import cv2

    count, labels, areas, _ = cv2.connectedComponentsWithStats(letters.astype(np.uint8), connectivity=8)
    depth = cv2.distanceTransform(letters.astype(np.uint8), cv2.DIST_L2, 5)
    largest: Sequence[int] = sorted(range(1, count), key=lambda label: -int(areas[label, cv2.CC_STAT_AREA]))[:POINTS]
    found = [np.unravel_index(int(np.where(labels == label, depth, 0).argmax()), depth.shape) for label in largest]
    points = [(column, row) for row, column in found] or [tuple(mark.points.mean(0))]
    return np.array(points, np.float32)


def _fitted(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width of an image whose long side is fitted to `side`."""
    scale = side / max(shape)
    return int(shape[0] * scale + 0.5), int(shape[1] * scale + 0.5)


@cache
def load_sam(reference: str = "sam-base", device: str = "auto", dtype: str = "auto") -> Sam:
    """SAM by name (`MODELS`), hub id or folder of transformers. Raises SynthCXRError where it cannot be loaded."""
    from safetensors import SafetensorError
    from transformers import SamModel

    from synthcxr.store import read_json

    is_local = Path(reference).is_dir()
    if not is_local and reference not in MODELS and reference.count("/") != 1:
        raise UsageError(
            f"There is no segmenter {reference!r}; give {', '.join(MODELS)}, a hub id (owner/name), or a folder."
        )
    folder = sources.fetch(
        reference,
        [str(Path(reference).resolve()) if is_local else MODELS.get(reference, reference)],
        sources.TRANSFORMERS,
    )
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "sam":
        raise SynthCXRError(f"The model in {folder} is of the kind {kind!r}, not 'sam'; give weights for SamModel.")
    compute = pick(device, dtype)
    try:
        network = SamModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise SynthCXRError(f"The model in {folder} cannot be loaded: {error}") from error
    return Sam(network.to(compute.device, compute.dtype).eval().requires_grad_(False), compute)
