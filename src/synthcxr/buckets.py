"""Aspect ratio bucketing: the few sizes that images of any shape are brought to, so that those of one size go together.

As NovelAI and kohya-ss do it: all buckets have about as many pixels as the square, and none has more.
"""

from collections.abc import Sequence
from functools import cache
from math import log

from synthcxr.images import Size

LONGEST = 2.0
"""Long side over short side of a bucket, at most."""
STEPS = {512: 64, 0: 32}
"""Sides are multiples of this, by the resolution from which it holds. Autoencoders make cells of 8 pixels; the UNets of
Stable Diffusion, for 512 px and more, halve them three times (8 × 8), the bundled one twice (8 × 4)."""


@cache
def buckets(resolution: int) -> tuple[Size, ...]:
    """The sizes (height, width) of a resolution: the square, and beside it all of at most as many pixels.

    Sorted from tall to wide.
    """
    step = next(step for begin, step in STEPS.items() if resolution >= begin)
    found = {(resolution, resolution)}
    for short in range(step, resolution, step):
        long = resolution**2 // short // step * step
        if short < long <= LONGEST * short:
            found |= {(long, short), (short, long)}
    return tuple(sorted(found, key=lambda size: size[1] / size[0]))


def bucket_for(size: Size | None, resolution: int) -> Size:
    """The bucket whose aspect is nearest to an image's, as a ratio; the square where its size is not known."""
    if size is None:
        return resolution, resolution
    aspect = log(size[0] / size[1])
    return min(buckets(resolution), key=lambda bucket: abs(log(bucket[0] / bucket[1]) - aspect))


def by_size(sizes: Sequence[Size]) -> dict[Size, list[int]]:
    """The places of images by their size."""
    found: dict[Size, list[int]] = {}
    for place, size in enumerate(sizes):
        found.setdefault(size, []).append(place)
    return dict(sorted(found.items()))


def blocks_by_size(sizes: Sequence[Size], most: int) -> list[list[int]]:
    """The places of images in blocks of at most `most`, all of one size."""
    groups = by_size(sizes).values()
    return [places[at : at + most] for places in groups for at in range(0, len(places), most)]


def spell(size: Size) -> str:
    """A size as people write it, width first: 224×288 is taller than wide."""
    return f"{size[1]}×{size[0]}"
