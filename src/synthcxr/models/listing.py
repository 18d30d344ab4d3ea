"""The registry as a person reads it."""

from pathlib import Path
from typing import Any

from synthcxr.models.registry import BUNDLED, REGISTRY, Entry


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
    """The folder of a source that is on this machine: a local one, or one in the hub's cache."""
    if (Path(source) / "model_index.json").is_file():
        return Path(source)
    if Path(source).is_absolute():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source, "model_index.json")
    return Path(found).parent if isinstance(found, str) else None
