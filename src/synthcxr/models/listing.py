"""The registry as a person reads it."""

from pathlib import Path
from typing import Any

from synthcxr.models.registry import BUNDLED, REGISTRY, Entry
from synthcxr.models.sources import SourceError, check_folder


def list_models() -> list[dict[str, Any]]:
    """Every named model: name, about, licence, sources, whether it is here, and its size."""
    return [_describe(entry) for entry in REGISTRY.values()]


def _describe(entry: Entry) -> dict[str, Any]:
    folder = next((found for source in entry.sources if (found := _local(source))), None)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors")) if folder else 0
    sources = ["the package"] if folder == BUNDLED else list(entry.sources)
    return {
        "name": entry.name,
        "here": "yes" if folder else "no",
        "size": f"{size / 1e6:.1f} MB" if folder else "",
        "licence": entry.licence,
        "sources": ", ".join(sources),
        "about": entry.about,
    }


def _local(source: str) -> Path | None:
    """The folder of a source that is whole on this machine: a local one, or one in the hub's cache."""
    folder = Path(source)
    if not folder.is_absolute():
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source, "model_index.json")
        folder = Path(found).parent if isinstance(found, str) else folder
    try:
        check_folder(folder)
    except SourceError:
        return None
    return folder
