"""``study new``: a blinded reading in which nothing but the picture tells, and its frozen protocol."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from synthcxr.config import StudyNewConfig
from synthcxr.devices import describe
from synthcxr.errors import UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, encode_png, to_square
from synthcxr.store import (
    Json,
    describe_input,
    find_manifest,
    open_output,
    read_manifest,
    sha256_bytes,
    write_bytes,
    write_json,
    write_jsonl,
)
from synthcxr.study.answers import blank_sheet
from synthcxr.study.folder import (
    BALANCE,
    IMAGES,
    KIND,
    LIVING,
    MANIFEST,
    README,
    REJECTED,
    SHEET,
    TRUTH,
    answer_files,
    load,
    read_balance,
)
from synthcxr.study.items import read_items
from synthcxr.study.matching import TRAITS, Balance, balance, match, matchable, traits_of
from synthcxr.study.plan import (
    TRUTHS,
    Candidate,
    Case,
    Pair,
    Screens,
    arrange,
    ask,
    common_side,
    deal,
    draw,
    pairs_needed,
)
from synthcxr.study.protocol import PROTOCOL, Analysis, Item, Protocol
from synthcxr.study.survey import Pile, check_apart, check_enough, survey
from synthcxr.study.telltales import Telltale, compare, figures

INSTRUCTIONS = """\
Real or synthetic?

The folder images holds {count} chest X-rays. Each one is either real (taken of a patient) or synthetic (made
by a computer). How many there are of each is not said.

1. Open answer-sheet.csv in a spreadsheet program. Write your name or initials in the column reader, in the
   first row.
2. Look at the images in the order of their numbers, as large as you like. Judge by the picture alone.
3. For each image write in the column answer one of the words
       real
       synthetic
   In the column confidence write how sure you are of that answer: 1 (a guess) to 5 (certain). In the column
   seconds you may write how long you looked. Leave a row empty if you cannot decide.
4. Do not go back to earlier images, and do not talk about them with other readers before all are done.
5. Save the sheet as CSV (UTF-8), its first line and the names of the images as they are, and send it back.
"""


DIFFERENCE = (
    "Readers tell synthetic from real images otherwise than by guessing: the primary endpoint differs from 0.5."
)
EQUIVALENCE = "Readers do no better and no worse than guessing: the primary endpoint lies within 0.5 ± {margin:g}."
ENDPOINTS = {
    "real-or-synthetic": ("accuracy over all readers", "sensitivity", "specificity", "AUC"),
    "pairwise": ("share of pairs called right",),
    "quality": ("share of synthetic images on the best step of each item",),
}


@dataclass(frozen=True)
class Plan:
    """All that is drawn and fixed before anything is written."""

    piles: dict[str, Pile]
    pairs: tuple[Pair, ...]
    screens: tuple[Screens, ...]
    cases: tuple[Case, ...]
    side: int | None
    matched: tuple[str, ...]
    """The traits in which real and synthetic images agree."""
    balance: tuple[Balance, ...]
    protocol: Protocol


def new(config: StudyNewConfig) -> Path:
    """Draw real and synthetic images, mix them under neutral names, freeze the protocol; return the study's folder.

    Every image of both folders is read once, so that none can be in both. Raises UsageError where the folders
    are the same, are too small, share a picture, cannot be matched, or where `out` holds answers that would be lost.
    """
    if (config.out / MANIFEST).is_file():
        if not config.overwrite:  # finished before, or another study: the store tells which
            with open_output(config.out, KIND, config.identity()) as output:
                return output.folder
        _keep_answers(config.out)
    _check_folders(config)
    plan = _plan(config, read_items(config.items) if "quality" in config.kind else ())
    inputs = {kind: pile.folder for kind, pile in plan.piles.items()}
    with open_output(config.out, KIND, config.identity(), overwrite=config.overwrite, inputs=inputs.values()) as output:
        telltales = _write(output.folder, plan, config.jpeg)
        drawn = [case.candidate for case in plan.cases if case.truth == "real" and not case.same_as]
        return output.finish(
            inputs={kind: describe_input(folder, output.folder) for kind, folder in inputs.items()},
            counts={
                "real": len(drawn),
                "synthetic": sum(case.truth == "synthetic" and not case.same_as for case in plan.cases),
                "patients": len({candidate.patient for candidate in drawn}),
                "rejected": sum(len(pile.rejected) for pile in plan.piles.values()),
                "readers": 0,
                "answers": 0,
            },
            environment=describe(),
            notes=_notes(config, plan, drawn, telltales),
            living=LIVING,
        )


def encode_blinded(image: Grey) -> bytes:
    """A grey PNG whose length depends on nothing but the image's shape, without any metadata.

    Synthetic images are smoother and compress better, so the length of a compressed file would tell. Stored
    without compression, all are equally long.
    """
    return encode_png(image, compress_level=0)


def level(image: Grey, side: int | None, jpeg: int | None) -> Grey:
    """Bring a picture to the shape that all have, and through JPEG of one quality, whatever it is."""
    shown = image if side is None else to_square(image, side)
    if jpeg is None:
        return shown
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "JPEG", quality=jpeg)
    return np.asarray(Image.open(buffer))


def describe_new(folder: Path) -> Json:
    """What `study new` made, for those who plan: counts, balance, telltales, notes, the protocol's hash."""
    study = load(folder)
    kept = read_balance(folder)
    return {
        "out": str(folder),
        "counts": study.manifest["counts"],
        "questions": len(study.protocol.questions) if study.protocol else 0,
        "protocol_sha256": study.protocol.sha256 if study.protocol else None,
        **kept,
        "notes": study.manifest["notes"],
    }


# --- before anything is written ---------------------------------------------------------------------------


def _keep_answers(out: Path) -> None:
    from synthcxr.study.serving.database import SERVED, read_answers

    count = len(answer_files(read_manifest(out, KIND)))
    if count:
        raise UsageError(
            f"{out} holds {count} file{'s' * (count > 1)} of readers' answers, which --overwrite would lose. "
            "Choose another --out."
        )
    if read_answers(out / SERVED, training=True):
        raise UsageError(f"{out} holds answers of readers, which --overwrite would lose. Choose another --out.")


def _check_folders(config: StudyNewConfig) -> None:
    given = {"real": config.real, "synthetic": config.synthetic}
    folders = {role: path.resolve() for role, path in given.items() if path is not None}
    if len(folders) == 2:
        real, synthetic = folders["real"], folders["synthetic"]
        if real == synthetic:
            raise UsageError(f"--real and --synthetic are the same folder, {config.real}. Give two.")
        if real.is_relative_to(synthetic) or synthetic.is_relative_to(real):
            raise UsageError(f"Of --real {config.real} and --synthetic {config.synthetic}, one lies in the other.")
    if any(config.out.resolve().is_relative_to(folder) for folder in folders.values()):
        raise UsageError(f"--out {config.out} lies in a folder of images. Choose a place outside of it.")
    wrong = {"real": "set", "synthetic": "dataset"}
    for role, folder in folders.items():
        manifest = find_manifest(folder)
        if manifest and manifest.stem == wrong[role]:
            raise UsageError(f"--{role} {folder} is a {wrong[role]}. --real takes a dataset, --synthetic a set.")


def _plan(config: StudyNewConfig, items: tuple[Item, ...]) -> Plan:
    """Survey the folders, draw, deal out and ask."""
    piles = {} if config.real is None else {"real": survey(config.real, read_rows(config.real, "test"))}
    piles["synthetic"] = survey(config.synthetic, read_rows(config.synthetic))
    pairs: list[Pair] = []
    if config.real is None:
        check_enough(piles["synthetic"], "synthetic", config.count)
        shown = draw(piles["synthetic"].candidates, config.count, config.seed, "synthetic")
        screens = [Screens("quality", (), tuple((candidate,) for candidate in shown))]
        cases = arrange([], shown, config.seed)
    else:
        pairs = _draw_pairs(config, piles["real"], piles["synthetic"])
        screens = deal(pairs, config.kind, config.count, config.training, config.seed)
        used = {c.pixels for part in screens for screen in (*part.training, *part.tested) for c in screen}
        real = [pair.real for pair in pairs if pair.real.pixels in used]
        cases = arrange(real, [pair.synthetic for pair in pairs if pair.synthetic.pixels in used], config.seed)
    side = _side(config, cases)
    cases, questions = ask(screens, cases, config.repeats)
    protocol = Protocol(
        config.title.strip(),
        config.seed,
        tuple(name.strip() for name in config.reader),
        tuple(questions),
        items,
        _analysis(config),
    )
    ours, theirs = (piles[kind].candidates if kind in piles else () for kind in TRUTHS)
    matched = matchable(ours, theirs) if config.match else ()
    table = balance(ours, theirs, pairs) if pairs else []
    return Plan(piles, tuple(pairs), tuple(screens), tuple(cases), side, matched, tuple(table), protocol)


def _draw_pairs(config: StudyNewConfig, real: Pile, synthetic: Pile) -> list[Pair]:
    needed = pairs_needed(config.kind, config.count, config.training)
    for kind, pile in (("real", real), ("synthetic", synthetic)):
        check_enough(pile, kind, needed)
    check_apart(real, synthetic)
    if config.match:
        return match(real.candidates, synthetic.candidates, needed, config.seed)
    ours, theirs = (draw(p.candidates, needed, config.seed, k) for k, p in (("real", real), ("synthetic", synthetic)))
    return [Pair(*both) for both in zip(ours, theirs, strict=True)]


def _side(config: StudyNewConfig, cases: Sequence[Case]) -> int | None:
    if config.side is None:
        return common_side(cases)
    smallest = min(min(case.candidate.shape) for case in cases)
    if config.side > smallest:
        raise UsageError(f"--side {config.side} would blow up the smallest picture, of {smallest} pixels. Take less.")
    return config.side


def _analysis(config: StudyNewConfig) -> Analysis:
    """The frozen plan of analysis; what was not said is said by the kinds of question."""
    standard = DIFFERENCE if config.primary == "difference" else EQUIVALENCE.format(margin=config.margin)
    named = tuple(endpoint for kind in config.kind for endpoint in ENDPOINTS[kind])
    tested = config.kind != ["quality"]
    return Analysis(
        config.primary,
        config.alpha,
        config.margin,
        tuple(config.hypothesis) or (standard,) * tested,
        tuple(config.endpoint) or named,
        config.stopping,
    )


# --- writing ----------------------------------------------------------------------------------------------


def _write(folder: Path, plan: Plan, jpeg: int | None) -> list[Telltale]:
    """Write the pictures, the key, the protocol and what is handed out; returns what tells beside the anatomy."""
    key: list[Json] = []
    practice = {c.pixels for part in plan.screens for screen in part.training for c in screen}
    measured: dict[str, list[dict[str, float]]] = {"real": [], "synthetic": []}
    for case in plan.cases:
        shown = level(case.candidate.row.read(), plan.side, jpeg)
        served = encode_blinded(shown)
        write_bytes(folder / IMAGES / case.image, served)
        key.append(_row(case, plan.piles[case.truth].folder, sha256_bytes(served)))
        if not case.same_as and case.candidate.pixels not in practice:
            measured[case.truth].append(figures(shown))
    telltales = compare(measured["real"], measured["synthetic"]) if all(measured.values()) else []
    write_jsonl(folder / TRUTH, key)
    rejected = [{"truth": kind, **row} for kind, pile in plan.piles.items() for row in pile.rejected]
    write_jsonl(folder / REJECTED, rejected)
    write_json(folder / PROTOCOL, plan.protocol.to_json())
    tables = {"balance": [asdict(row) for row in plan.balance], "telltales": [asdict(row) for row in telltales]}
    write_json(folder / BALANCE, {"matched": list(plan.matched), **tables})
    if all(q.kind == "real-or-synthetic" and not q.training for q in plan.protocol.questions):
        write_bytes(folder / SHEET, blank_sheet([case.image for case in plan.cases]))
        write_bytes(folder / README, INSTRUCTIONS.format(count=len(plan.cases)).encode())
    return telltales


def _row(case: Case, root: Path, image_sha256: str) -> Json:
    """The key's row of a picture."""
    row, traits = case.candidate.row, traits_of(case.candidate)
    entry: Json = {
        "image": case.image,
        "truth": case.truth,
        "source": row.path.relative_to(root).as_posix(),
        "source_sha256": sha256_bytes(row.read_bytes()),
        "image_sha256": image_sha256,
        "same_as": case.same_as,
        "view": traits.view or None,
        "sex": traits.sex or None,
        "age": traits.age,
        "age_group": traits.age_group or None,
        "findings": sorted(traits.findings or ()),
        "patient": row.fields.get("patient_id"),
    }
    if case.truth == "synthetic":
        entry |= {"seed": row.fields.get("seed"), "prompt": row.text}
    return entry


def _notes(config: StudyNewConfig, plan: Plan, drawn: Sequence[Candidate], telltales: Sequence[Telltale]) -> list[str]:
    notes = [
        "Images are grey 8-bit PNGs without metadata, stored without compression: a smooth synthetic image "
        "would compress to a shorter file, which would tell."
    ]
    if plan.side is not None:
        smaller = {min(case.candidate.shape) > plan.side for case in plan.cases}
        notes.append(
            f"The central square of every image was brought to {plan.side} by {plan.side} pixels. "
            + (
                "All were larger, and were resampled by one filter."
                if smaller == {True}
                else "Sizes differed: images that were larger are resampled, those of this size are not; a reader "
                "might see that. A smaller --side resamples all."
            )
        )
    if config.jpeg is not None:
        notes.append(f"Every image went through JPEG of quality {config.jpeg}.")
    if plan.pairs:
        notes.append(_matching_note(config, plan))
    patients = len({candidate.patient for candidate in drawn})
    if patients < len(drawn):
        notes.append(f"The {len(drawn)} real images come from {patients} patients; there were no more.")
    telling = [f"{row.name} (puts {max(row.area, 1 - row.area):.0%} of pairs right)" for row in telltales if row.tells]
    if telling:
        notes.append(
            f"A machine could tell real from synthetic by {', '.join(telling)}. Whether readers see that is not known."
        )
    return notes


def _matching_note(config: StudyNewConfig, plan: Plan) -> str:
    if not config.match:
        return "Real images were not matched to synthetic ones."
    if not plan.matched:
        return "Real images could not be matched to synthetic ones: they have no field that both state."
    missing = [trait for trait in TRAITS if trait not in plan.matched]
    lacking = f" Not stated by both, so not matched: {', '.join(missing)}." if missing else ""
    return f"Real images were matched to synthetic ones, exactly by {', '.join(plan.matched)}.{lacking}"
