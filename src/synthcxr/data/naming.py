"""What patients, studies and files are called in the dataset: as in the source, or by keyed hashes."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from synthcxr.config import PrepareConfig
from synthcxr.data.identity import fingerprint, links_file, load_key, pseudonym, write_links
from synthcxr.data.records import Record, Source
from synthcxr.prompts import Subject
from synthcxr.store import Json, describe_input, find_manifest

OLDEST_TOLD = 89
"""With hashes, ages above it are told as 90: an age above 89 years is an identifier (US 45 CFR 164.514(b)(2)(i)(C))."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".dic", ".tif", ".tiff")
TOLD = re.compile("‹[^›]*(?:›|$)")
"""What `records.told` marks as the source's own words; a long reason may be cut off inside."""
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|“[^”]*”")

Link = tuple[str, str, str]
"""A kind of id, its pseudonym, and what it stands for."""


@dataclass(frozen=True)
class Naming:
    """Names by keyed hashes, or as they are where `key` is None. `source` is the name of the source in rows."""

    source: str
    key: bytes | None = field(default=None, repr=False)

    def patient(self, record: Record) -> str:
        """The patient's id in rows."""
        return self._name("patient", record.patient_id)

    def study(self, record: Record) -> str:
        """The study's id in rows, empty where the source has none."""
        return self._name("study", record.study_id) if record.study_id else ""

    def file(self, name: str) -> str:
        """What a file of the source is called in rows and in rejected.jsonl."""
        return self._name("file", name)

    def output(self, name: str) -> str:
        """The flat PNG file name of a file of the source."""
        return output_name(name) if self.key is None else f"{self.file(name)}.png"

    def subject(self, subject: Subject) -> Subject:
        """What is told of a patient: with hashes no age above 89, which is an identifier (US 45 CFR 164.514(b)(2))."""
        if self.key is None or subject.age is None or subject.age <= OLDEST_TOLD:
            return subject
        return replace(subject, age=OLDEST_TOLD + 1)

    def links(self, record: Record) -> tuple[Link, ...]:
        """What leads back from a record's pseudonyms; nothing where names are kept."""
        if self.key is None:
            return ()
        named = [("patient", record.patient_id), ("study", record.study_id), ("file", record.name)]
        return tuple((kind, self._name(kind, value), value) for kind, value in named if value)

    def reason(self, reason: str, root: Path, name: str) -> str:
        """A reason in words that name no file by its path; with hashes, nothing that a source's table or file says."""
        if self.key is None:
            return reason.replace(f"{root}/", "").translate({ord("‹"): None, ord("›"): None})
        reason = TOLD.sub("…", reason)
        for written in (str(root / name), name, PurePosixPath(name).name):
            reason = reason.replace(written, "the file")
        return QUOTED.sub("…", reason)

    def identity(self, config: PrepareConfig) -> Json:
        """The config as the manifest saves it: with hashes it tells the key's fingerprint, and no path."""
        identity = config.identity()
        if self.key is None:
            return identity
        place = str(config.source_path.resolve())
        return identity | {"source_path": self._name("path", place), "key": fingerprint(self.key)}

    def describe(self, config: PrepareConfig) -> Json:
        """How the manifest names the source: by its path as seen from the dataset; with hashes by none.

        A dataset of this tool is named by its path in any case, so that the lineage goes on through it.
        """
        if self.key is None or find_manifest(config.source_path):
            return describe_input(config.source_path, config.out)
        return {"name": self.source, "kind": "source", "manifest_sha256": None}

    def _name(self, kind: str, value: str) -> str:
        return value if self.key is None else pseudonym(self.key, kind, value)


def name_source(config: PrepareConfig, source: Source) -> Naming:
    """How things are named: `auto` keeps the public pseudonyms of a published collection and hashes all else."""
    if config.ids == "keep" or (config.ids == "auto" and source.public_ids):
        path = config.source_path.resolve()
        return Naming(config.name or (path.parent if path.is_file() else path).name)
    return Naming(config.name or source.kind, load_key(config.key, config.out))


def output_name(name: str) -> str:
    """A flat PNG file name for a path inside the source."""
    path = PurePosixPath(name)
    plain = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path  # a UID has dots and no suffix
    return f"{plain}.png".removeprefix("images/").replace("/", "__")


class LinkBook:
    """What leads back from pseudonyms, beside the key: a line each while images are read, one list in the end."""

    def __init__(self, naming: Naming, config: PrepareConfig) -> None:
        self.config, self.hashes = config, naming.key is not None
        self.notes = links_file(config.key, config.out).with_suffix(".partial")

    def open(self, *, anew: bool) -> None:
        """Begin, with nothing where everything is read `anew`."""
        if self.hashes:
            flags = os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if anew else os.O_APPEND)
            with os.fdopen(os.open(self.notes, flags, 0o600), "w") as file:
                file.write("\n")  # ends a line that a kill tore

    def add(self, links: Iterable[Link]) -> None:
        """Note links, before the dataset holds their pseudonyms."""
        if self.hashes:
            with self.notes.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.writelines(json.dumps(link) + "\n" for link in links)

    def write(self) -> Path | None:
        """Write the list, each link once; where it lies."""
        return write_links(self.config.key, self.config.out, self._each_once()) if self.hashes else None

    def close(self) -> None:
        """The dataset is done: the notes are of no use any more."""
        if self.hashes:
            self.notes.unlink(missing_ok=True)

    def _each_once(self) -> Iterator[Link]:
        seen: set[tuple[str, str]] = set()
        with self.notes.open(encoding="utf-8") as file:
            for line in file:
                try:
                    kind, hashed, original = json.loads(line)
                except ValueError:  # torn, and noted again by the call that went on
                    continue
                if (kind, hashed) not in seen:
                    seen.add((kind, hashed))
                    yield kind, hashed, original
