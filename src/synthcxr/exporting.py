"""`export`: what a stage made in another form, with its terms of use said first."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from synthcxr.config import ExportConfig
from synthcxr.data.shards import WRITERS
from synthcxr.devices import describe
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.provenance import KEY, SYNTHETIC
from synthcxr.imagefolder import METADATA, SPLITS, read_rows
from synthcxr.images import read_png_text
from synthcxr.models.export import write_diffusers_lora, write_kohya, write_merged
from synthcxr.progress import say
from synthcxr.store import (
    Json,
    Output,
    describe_input,
    manifest_hash,
    open_output,
    read_manifest,
    verify,
    write_bytes,
    write_jsonl,
)

HANDED_ON = ("sources", "preprocessing", "mix", "acceptance", "edited_from")
"""What a manifest says of images, whatever form they are in."""
DICOM = "dicom"
"""The folder of DICOM files; none of the splits' names, so that no stage takes them for images that it can read."""


@dataclass(frozen=True)
class Form:
    """A form of `--to`: the kinds of folder that can take it, and why no others; what writes it, by their manifest."""

    takes: tuple[str, ...]
    write: Callable[[ExportConfig, Output, Json], None]
    why: str = ""


def export(config: ExportConfig) -> Path:
    """Write a folder in another form. Raises UsageError where its terms restrict sharing and were not accepted."""
    manifest = read_manifest(config.folder)
    kind, form = manifest["kind"], FORMS[config.to]
    if kind not in form.takes:
        raise UsageError(
            f"{config.folder} holds a {kind}; --to {config.to} takes a {' or a '.join(form.takes)}.{form.why}"
        )
    check_terms(manifest.get("sources", []), accepted=config.accept_terms)
    if config.privacy_gate:
        check_privacy(config.folder, config.privacy_gate)
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


def check_privacy(folder: Path, report: Path) -> None:
    """Raise SynthCXRError where a set's report objects to giving it away, UsageError where it is of something else."""
    from synthcxr.evaluation.privacy import objections

    manifest = read_manifest(folder)
    if manifest["kind"] != "set":
        raise UsageError(f"--privacy-gate is for a set; {folder} holds a {manifest['kind']}.")
    judged = read_manifest(report, "report")
    check_whole(report)
    if judged["inputs"].get("synthetic", {}).get("manifest_sha256") != manifest_hash(folder):
        raise UsageError(
            f"{report} is not a report of {folder} as it is now: synthcxr evaluate --synthetic {folder} makes one."
        )
    if reasons := objections(judged["metrics"]):
        raise SynthCXRError(f"The privacy gate holds {folder} back. {' '.join(reasons)} Nothing was exported.")
    say(f"The privacy gate lets {folder} pass, by {report}.")


def write_images(config: ExportConfig, output: Output, manifest: Json) -> None:
    """All rows and images of a dataset or a set, and a manifest of the same kind.

    Raises SynthCXRError where a file is not the one that the folder's manifest vouches for.
    """
    check_whole(config.folder)
    rows = read_rows(config.folder)
    held = {(row.split, row.fields["file_name"]): row for row in rows}
    splits = {split: [row.fields for row in rows if row.split == split] for split in SPLITS}
    WRITERS[config.to](output.folder, splits, lambda split, row: held[split, row["file_name"]].read_bytes())
    finish(config, output, manifest, len(rows))


def write_dicom(config: ExportConfig, output: Output, manifest: Json) -> None:
    """A set's images as DICOM files that say that they are synthetic, and their rows.

    Raises UsageError for a set that was edited from an X-ray that is, or may be, a patient's: what the files say of
    it would be false. SynthCXRError as `write_images`, and for an image without provenance or that is not readable.
    """
    from synthcxr.generation.dicom import encode_dicom, make_uid, to_dicom

    check_whole(config.folder)
    rows = read_rows(config.folder)
    if any(row.fields.get("parent_kind", SYNTHETIC) != SYNTHETIC for row in rows):
        raise UsageError(
            f"{config.folder} was edited from an X-ray that is, or may be, a patient's. A DICOM file that calls it "
            "synthetic would hide that. Nothing was exported."
        )
    origin = manifest_hash(config.folder) or ""
    looked_for_text = "text" in manifest.get("acceptance", {}).get("rules", {})
    written = []
    for row in rows:
        made = read_png_text(BytesIO(row.read_bytes())).get(KEY)
        if made is None:
            raise SynthCXRError(f"{row.path} carries no provenance, so nothing shows that it is synthetic.")
        free = looked_for_text or row.fields.get("texts_left") == 0
        dataset = to_dicom(row.read(), row.fields, json.loads(made), origin, free_of_text=free)
        name = PurePosixPath(row.fields["file_name"]).with_suffix(".dcm").as_posix()
        write_bytes(output.folder / DICOM / name, encode_dicom(dataset))
        uid = make_uid(origin, row.fields["file_name"], "image")
        written.append({**row.fields, "file_name": name, "sop_instance_uid": uid})
    write_jsonl(output.folder / DICOM / METADATA, written)
    finish(config, output, manifest, len(rows))


def check_whole(folder: Path) -> None:
    """Raise SynthCXRError where a file is not the one that the folder's manifest vouches for."""
    if problems := verify(folder):
        raise SynthCXRError(f"{folder} is not what its manifest says: {problems[0]} Nothing was exported.")


def finish(config: ExportConfig, output: Output, manifest: Json, images: int) -> None:
    """The manifest of images in another form: the input's counts, notes and terms."""
    passed: Json = {"privacy_gate": describe_input(config.privacy_gate, output.folder)} if config.privacy_gate else {}
    output.finish(
        inputs={"images": describe_input(config.folder, output.folder)},
        counts=manifest["counts"],
        environment=describe(),
        notes=manifest.get("notes", []),
        **{name: manifest[name] for name in HANDED_ON if name in manifest},
        **passed,
    )
    say(f"{images} images.")


FORMS = {name: Form(("dataset", "set"), write_images) for name in WRITERS} | {
    "dicom": Form(
        ("set",),
        write_dicom,
        " Its files call every image SYNTHETIC and its patient not a person; of a dataset, which may hold patients' "
        "X-rays, that would be false.",
    ),
    "diffusers-lora": Form(("run",), write_diffusers_lora),
    "kohya": Form(("run",), write_kohya),
    "merged": Form(("run",), write_merged),
}
"""The forms by their names in `--to`."""
