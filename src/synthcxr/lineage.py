"""The chain of manifests in words."""

from collections.abc import Iterator

from synthcxr.store import Json

STATES = {
    "intact": "",
    "changed": "  ← its manifest is not the one that was used",
    "missing": "  ← is not there any more",
    "outside": "  (not written by synthcxr)",
}


def draw_tree(node: Json) -> str:
    """A lineage as an indented tree: kind, place, the beginning of the manifest's hash, and what is wrong."""
    return "\n".join(_lines("", node, 0))


def _lines(role: str, node: Json, depth: int) -> Iterator[str]:
    name = node.get("path") or node.get("name")
    digest = node.get("manifest_sha256") or node.get("model_sha256") or ""
    label = f"{role}: " if role else ""
    yield (
        f"{'  ' * depth}{label}{node['kind']} {name}" + (f" [{digest[:12]}]" if digest else "") + STATES[node["state"]]
    )
    for source in node.get("sources", []) if node["kind"] == "dataset" else []:
        sharing = ", not to be passed on" if source.get("restricted") else ""
        yield f"{'  ' * (depth + 1)}terms of {source['name']}: {source['licence']}{sharing}"
    for note in node.get("notes", []):
        yield f"{'  ' * (depth + 1)}note: {note}"
    for child_role, child in node["inputs"].items():
        yield from _lines(child_role, child, depth + 1)


def broken(node: Json) -> bool:
    """Whether any link of the chain was changed or is missing."""
    return node["state"] in ("changed", "missing") or any(broken(child) for child in node["inputs"].values())
