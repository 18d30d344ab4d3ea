"""What lies behind a set, read back along its chain of manifests: cleaning, drawing, training, data."""

from dataclasses import dataclass, field
from pathlib import Path

from synthcxr.store import Json, find_manifest, manifest_hash, read_json, read_jsonl


@dataclass(frozen=True)
class Chapter:
    """One folder of the chain: its path, its manifest, the role in which the next one read it."""

    folder: Path
    manifest: Json

    @property
    def verb(self) -> str:
        """The stage that wrote it."""
        if "inpainter" in self.manifest["config"]:
            return "clean"
        kind = str(self.manifest["kind"])
        return {"dataset": "prepare", "run": "train", "set": "generate"}.get(kind, kind)


@dataclass
class Story:
    """The chapters from the set back to the data, and how far back they could be followed unchanged."""

    chapters: list[Chapter] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def of(self, verb: str) -> list[Chapter]:
        """The chapters that a stage wrote, the latest first."""
        return [chapter for chapter in self.chapters if chapter.verb == verb]


def read_story(folder: Path) -> Story:
    """Follow a folder's inputs back as far as they are there and are the ones that were used."""
    story = Story()
    _follow(folder.resolve(), None, story, set())
    return story


def _follow(folder: Path, expected: str | None, story: Story, seen: set[Path]) -> None:
    path = find_manifest(folder)
    if path is None or folder in seen:
        return
    if expected and manifest_hash(folder) != expected:
        story.gaps.append(f"{folder.name} was changed after it was used")
        return
    seen.add(folder)
    manifest = read_json(path)
    story.chapters.append(Chapter(folder, manifest))
    for entry in manifest["inputs"].values():
        if "path" in entry:
            _follow((folder / entry["path"]).resolve(), entry.get("manifest_sha256"), story, seen)


def removed_text(chapter: Chapter, limit: int = 4) -> list[Json]:
    """Images of a cleaned folder from which text was removed, the largest masks first."""
    proofs = [
        row
        for row in read_jsonl(chapter.folder / "proof.jsonl")
        if row["status"] == "removed" and row["file"].endswith(".png")
    ]
    return sorted(proofs, key=lambda row: -int(row["mask_pixels"]))[:limit]
