"""What differs between kinds of model, one file each."""

from typing import Any

from synthcxr.models.families.base import Family
from synthcxr.models.families.inpainting import StableDiffusionInpainting
from synthcxr.models.families.sana import Sana
from synthcxr.models.families.stable_diffusion import StableDiffusion

FAMILIES: tuple[Family, ...] = (StableDiffusion(), Sana(), StableDiffusionInpainting())


def find_family(name: str) -> Family | None:
    """The family whose models are loaded with this class of diffusers, or None."""
    return next((family for family in FAMILIES if family.pipeline_class == name), None)


def family_of(pipeline: Any) -> Family:
    """The family of a loaded pipeline. Raises TypeError where there is none."""
    found = find_family(type(pipeline).__name__)
    if found is None:
        raise TypeError(f"No family takes a {type(pipeline).__name__}.")
    return found
