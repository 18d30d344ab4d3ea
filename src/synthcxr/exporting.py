"""`export`: what a stage made in another form, with its terms of use said first."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from synthcxr.config import ExportConfig
from synthcxr.data.shards import WRITERS
from synthcxr.devices import describe
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import SPLITS, read_rows
from synthcxr.models.export import write_diffusers_lora, write_kohya, write_merged
from synthcxr.progress import say
from synthcxr.store import Json, Output, describe_input, manifest_hash, open_output, read_manifest, verify

HANDED_ON = ("sources", "preprocessing")
"""What a manifest says of images, whatever form they are in."""


@dataclass(frozen=True)
class Form:
    """A form of `--to`: the kinds of folder that can take it, and what writes it (the manifest is the input's)."""

    takes: tuple[str, ...]
    write: Callable[[ExportConfig, Output, Json], None]


def export(config: ExportConfig) -> Path:
    """Write a folder in another form. Raises UsageError where its terms restrict sharing and were not accepted."""
    manifest = read_manifest(config.folder)
    kind, form = manifest["kind"], FORMS[config.to]
    if kind not in form.takes:
        raise UsageError(f"{config.folder} holds a {kind}; --to {config.to} takes a {' or a '.join(form.takes)}.")
    check_terms(manifest.get("sources", []), accepted=config.accept_terms)
    identity = config.identity() | {"folder_sha256": manifest_hash(config.folder)}
    with open_output(config.out, kind, identity, overwrite=config.overwrite, inputs=[config.folder]) as output:
        if output.finished:
            say(f"{config.out} is already done.")
        else:
            form.write(config, output, manifest)
    return config.out


def check_terms(sources: Iterable[Json], *, accepted: bool) -> None:
    """Say the terms of every source; raise UsageError where one restricts sharing, unless that was `accepted`."""
    restricted = []
    for source in sources:
        say(f"Terms of {source['name']}: {source['licence']}")
        if source.get("restricted"):
            restricted.append(source["name"])
    if restricted and not accepted:
        raise UsageError(
            f"The terms of {' and '.join(restricted)} restrict who may have these images, or what is made from them. "
            "Read them; if they allow what you are about to do, say so with --accept-terms."
        )


def write_images(config: ExportConfig, output: Output, manifest: Json) -> None:
    """All rows and images of a dataset or a set, and a manifest of the same kind.

    Raises SynthCXRError where a file is not the one that the folder's manifest vouches for.
    """
    if problems := verify(config.folder):
        raise SynthCXRError(f"{config.folder} is not what its manifest says: {problems[0]} Nothing was exported.")
    rows = read_rows(config.folder)
    held = {(row.split, row.fields["file_name"]): row for row in rows}
    splits = {split: [row.fields for row in rows if row.split == split] for split in SPLITS}
    WRITERS[config.to](output.folder, splits, lambda split, row: held[split, row["file_name"]].read_bytes())
    output.finish(
        inputs={"images": describe_input(config.folder, output.folder)},
        counts=manifest["counts"],
        environment=describe(),
        notes=manifest.get("notes", []),
        **{name: manifest[name] for name in HANDED_ON if name in manifest},
    )
    say(f"{len(rows)} images.")


FORMS = {name: Form(("dataset", "set"), write_images) for name in WRITERS} | {
    "diffusers-lora": Form(("run",), write_diffusers_lora),
    "kohya": Form(("run",), write_kohya),
    "merged": Form(("run",), write_merged),
}
"""The forms by their names in `--to`."""
