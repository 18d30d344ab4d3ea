"""What to draw: one prompt or a template of prompts, a file of them, or the mix of a dataset."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from string import Formatter
from typing import Any

from synthcxr.config import GenerateConfig
from synthcxr.errors import UsageError
from synthcxr.generation.mixture import BALANCED, draw_grid, draw_mix, largest_remainder, spread, value_of
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Size
from synthcxr.progress import say
from synthcxr.prompts import Subject, name_finding, write_prompt
from synthcxr.seeds import seed_for
from synthcxr.store import find_manifest, read_jsonl, read_manifest

KEPT_FIELDS = ("age", "age_range", "sex", "view", "findings")
AXES = ("view", "age", "sex", "finding")
"""What a template can leave open, and the option of the same name fills in."""
OLDEST = 120


@dataclass(frozen=True)
class Wish:
    """A prompt, and what it asks for where the file says so in fields (age, sex, view, findings).

    `size` is that of a training image which it is to be shaped like.
    """

    text: str
    fields: dict[str, Any] = field(default_factory=dict)
    size: Size | None = None


def read_wishes(config: GenerateConfig) -> list[Wish]:
    """One wish an image, up to the config's count. Raises UsageError where the call is wrong."""
    if config.like is not None:
        return like_dataset(config, config.like)
    given = [name for name in AXES if getattr(config, name) is not None]
    if config.prompts is not None and given:
        raise UsageError(f"--{given[0]} fills a template or picks from --like; a file of prompts says it in its rows.")
    if config.prompt is not None and (given or set("{}") & set(config.prompt)):
        return fill_template(config, config.prompt)
    wishes = [Wish(config.prompt)] if config.prompt is not None else read_prompts(config.prompts or Path())
    count = config.count or len(wishes)
    return [wishes[index % len(wishes)] for index in range(count)]


# --- a template -------------------------------------------------------------------------------------------


def fill_template(config: GenerateConfig, template: str) -> list[Wish]:
    """The prompts of a template, over the grid of its braces' values. Raises UsageError naming what does not fit."""
    names = _braces(template)
    for name in AXES:
        if name in names and getattr(config, name) is None:
            raise UsageError(f"The prompt has {{{name}}}, but no --{name} is given.")
        if name not in names and getattr(config, name) is not None:
            raise UsageError(f"--{name} is given, but the prompt has no {{{name}}}.")
    axes: dict[str, list[Any]] = {name: list(dict.fromkeys(getattr(config, name))) for name in AXES if name in names}
    if "view" in axes:
        axes["view"] = [view.upper() if view.upper() in ("AP", "PA") else view for view in axes["view"]]
    if "age" in axes:
        axes["age"] = _ages(config)
    if "sex" in axes:
        axes["sex"] = _sexes(config)
    return [_fill(template, cell) for cell in draw_grid(axes, config.count, config.seed)]


def _braces(template: str) -> set[str]:
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise UsageError(f"The braces of the prompt do not pair ({error}); write {{{{ or }}}} for a brace.") from None
    for _, name, form, conversion in parts:
        if name not in AXES or form or conversion:
            raise UsageError(
                f"The prompt has {{{name}}}; what can be filled in is {{view}}, {{age}}, {{sex}} and {{finding}}."
            )
    return {str(part[1]) for part in parts}


def _fill(template: str, cell: dict[str, Any]) -> Wish:
    """One prompt with its words as `write_prompt` has them: woman or girl, effusion, an 80-year-old."""
    subject = Subject(
        age=cell.get("age"),
        sex=cell.get("sex"),
        view=cell.get("view"),
        findings=(cell["finding"],) if "finding" in cell else (),
    )
    words = dict(cell)
    if subject.sex:
        words["sex"] = write_prompt(Subject(age=subject.age, sex=subject.sex)).rstrip(".").rpartition(" ")[2]
    if subject.findings:
        words["finding"] = name_finding(subject.findings[0])
    if subject.age is not None:
        article = "an" if f" an {subject.age}-" in write_prompt(Subject(age=subject.age)) else "a"
        template = re.sub(r"\ban?(?= \{age\})", article, template)
    return Wish(template.format(**words), fields_of(subject))


def _ages(config: GenerateConfig) -> list[tuple[int, int]]:
    """The ages of the call as ranges in years, a single age as a range of one."""
    found = []
    for text in dict.fromkeys(config.age or ()):
        match = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= OLDEST:
            raise UsageError(f"--age {text}: give years up to {OLDEST}, or a range of them such as 60-69.")
        found.append((first, last))
    return found


def _sexes(config: GenerateConfig) -> list[str]:
    found = list(dict.fromkeys(text.strip().upper() for text in config.sex or ()))
    for sex in found:
        if sex not in ("F", "M"):
            raise UsageError(f"--sex {sex}: give F or M.")
    return found


# --- a dataset's mix --------------------------------------------------------------------------------------


def like_dataset(config: GenerateConfig, folder: Path) -> list[Wish]:
    """Prompts in the proportions of a dataset's training split; rows of the other splits are never looked at.

    Prompts are written from fields, not taken from the rows, so that they quote no report. Only where no training row
    has any field its texts are drawn as they are, and that is said.
    """
    manifest = find_manifest(folder)
    if manifest is None or manifest.stem not in ("dataset", "clean"):
        read_manifest(folder, "dataset")  # says what the folder is instead
    balance = _balance(config)
    rows = read_rows(folder, "train")
    if not any(fields_of(Subject.from_fields(row.fields)) for row in rows):
        return _like_texts(config, rows)
    ages, sexes = _ages(config), _sexes(config)
    views = {view.lower() for view in config.view or ()}
    findings = {name_finding(finding) for finding in config.finding or ()}
    joint = Counter(
        subject
        for subject in (Subject.from_fields(row.fields) for row in rows)
        if (not views or (subject.view or "").lower() in views)
        and (not sexes or subject.sex in sexes)
        and (not ages or _is_within(subject, ages))
        and (not findings or findings & set(map(name_finding, subject.findings)))
    )
    if not joint:
        raise UsageError(f"No training row of {folder} is as --view, --age, --sex and --finding ask for.")
    count = config.count or joint.total()
    _say_what_balance_cannot(joint, balance, count)
    drawn = draw_mix(joint, count, config.seed, balance)
    left_out = len(joint) - len(set(drawn))
    if left_out:
        say(f"{left_out:,} of {len(joint):,} different combinations in the training split get no image in this set.")
    shapes = shapes_like(drawn, [(Subject.from_fields(row.fields), row.size) for row in rows], config.seed)
    return [Wish(write_prompt(subject), fields_of(subject), size) for subject, size in zip(drawn, shapes, strict=True)]


def shapes_like(
    wanted: Sequence[Hashable], there: Sequence[tuple[Hashable, Size | None]], seed: int
) -> list[Size | None]:
    """For each image wanted the size of a training image of the same subject (or text).

    Each subject's training images have their turn in an order by lot, so that as many images as there are of it have
    just their sizes.
    """
    known: dict[Hashable, list[Size | None]] = defaultdict(list)
    for subject, size in there:
        known[subject].append(size)
    rng = Random(seed_for("shape", seed))
    turns = {subject: cycle(rng.sample(sizes, len(sizes))) for subject, sizes in known.items()}
    return [next(turns[subject]) for subject in wanted]


def _say_what_balance_cannot(joint: Counter[Subject], balance: tuple[str, ...], count: int) -> None:
    groups = Counter[tuple[str, ...]]()
    for subject, rows in joint.items():
        groups[tuple(value_of(subject, name) for name in balance)] += rows
    silent = sum(rows for values, rows in groups.items() if not all(values))
    stated = sum(all(values) for values in groups)
    if silent:
        say(f"{silent:,} training rows do not state all of {', '.join(balance)}, and have no part in the balanced mix.")
    if balance and count < stated:
        say(f"{count:,} images cannot be even over {stated:,} groups of {', '.join(balance)}: draw at least as many.")


def _like_texts(config: GenerateConfig, rows: list[Row]) -> list[Wish]:
    given = [name for name in ("balance", *AXES) if getattr(config, name) is not None]
    if given:
        raise UsageError(f"--{given[0]} needs age, sex, view or findings in the dataset's rows; there are only texts.")
    texts = Counter(row.text for row in rows if row.text.strip())
    if not texts:
        raise UsageError(f"The training rows of {config.like} have neither fields nor texts to take prompts from.")
    say("The training rows have no fields, only texts. These are drawn as they are: look whether they quote a report.")
    rng = Random(seed_for("mix", config.seed))
    different = sorted(texts)
    rng.shuffle(different)
    counts = largest_remainder([texts[text] for text in different], config.count or texts.total())
    drawn = [different[index] for index in spread(counts, rng)]
    shapes = shapes_like(drawn, [(row.text, row.size) for row in rows], config.seed)
    return [Wish(text, size=size) for text, size in zip(drawn, shapes, strict=True)]


def _balance(config: GenerateConfig) -> tuple[str, ...]:
    if config.balance is None:
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in config.balance.split(",")))
    for name in names:
        if name not in BALANCED:
            raise UsageError(f"--balance {name or config.balance}: what can be made even is {', '.join(BALANCED)}.")
    return names


def _is_within(subject: Subject, ages: list[tuple[int, int]]) -> bool:
    known = (subject.age, subject.age) if subject.age is not None else subject.age_range
    return known is not None and any(first <= known[0] and known[1] <= last for first, last in ages)


def fields_of(subject: Subject) -> dict[str, Any]:
    """What a subject states, as a row says it; nothing where nothing is known."""
    fields = {
        "age": subject.age,
        "age_range": list(subject.age_range) if subject.age_range else None,
        "sex": subject.sex,
        "view": subject.view,
        "findings": list(subject.findings),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


# --- a file -----------------------------------------------------------------------------------------------


def read_prompts(path: Path) -> list[Wish]:
    """Read a file of prompts: .txt (one a line), .csv or .jsonl (column text). Raises UsageError in plain words."""
    if not path.is_file():
        raise UsageError(f"The file of prompts {path} does not exist.")
    try:
        match path.suffix.lower():
            case ".txt":
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                wishes = [Wish(line.strip()) for line in lines if line.strip()]
            case ".csv":
                with path.open(encoding="utf-8-sig", newline="") as file:
                    wishes = [_wish(row, path) for row in csv.DictReader(file)]
            case ".jsonl":
                wishes = [_wish(row, path) for row in read_jsonl(path)]
            case suffix:
                raise UsageError(
                    f"{path}: a file of prompts is .txt, .csv or .jsonl, not {suffix or 'without ending'}."
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    if not wishes:
        raise UsageError(f"There is no prompt in {path}.")
    return wishes


def _wish(row: dict[str, Any], path: Path) -> Wish:
    if not str(row.get("text") or "").strip():
        raise UsageError(f"{path} needs a column text with a prompt in every row.")
    kept = {key: row[key] for key in KEPT_FIELDS if row.get(key) not in (None, "", [])}
    return Wish(str(row["text"]).strip(), kept)
