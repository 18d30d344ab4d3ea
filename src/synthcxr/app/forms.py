"""The forms of the pages: which options of a stage a browser may set, and how each is asked for.

An option that is not listed here cannot be set from a browser. What an option is, its default and its bounds come from
the stage's config model, as on the command line; paths come from shelves of the workspace and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from synthcxr.app.showing import find
from synthcxr.app.workspace import Shelf, Workspace
from synthcxr.config import StageConfig
from synthcxr.errors import UsageError
from synthcxr.models.registry import REGISTRY
from synthcxr.stages import STAGES

Kind = Literal[
    "text", "area", "number", "choice", "picks", "check", "item", "items", "file", "files", "model", "real", "lines",
    "picture", "extractors",
]  # fmt: skip
REFERENCE = "reference:"
LONGEST_TEXT = 4000


@dataclass(frozen=True)
class Asked:
    """One option of a form. `kind` is found from the config where not given.

    `shelves` are where an item may lie, or a file with one of the `suffixes` in an item.
    """

    name: str
    kind: Kind | None = None
    shelves: tuple[Shelf, ...] = ()
    suffixes: tuple[str, ...] = ()
    more: bool = False
    """Whether it lies under “more options”."""


@dataclass(frozen=True)
class Form:
    """What a page asks for one stage; what comes out goes to `shelf` under a name that the browser gives."""

    verb: str
    shelf: Shelf
    stem: str
    asked: tuple[Asked, ...]

    @property
    def config(self) -> type[StageConfig]:
        """The stage's config model."""
        return STAGES[self.verb].config


def _more(*names: str) -> tuple[Asked, ...]:
    return tuple(Asked(name, more=True) for name in names)


TRAINING = (
    Asked("datasets", "items", ("datasets", "cleaned")),
    Asked("base", "model", ("runs",)),
    Asked("preset"),
    Asked("steps"),
    *_more("method", "batch_size", "learning_rate", "rank", "validate_every", "judge_images"),
    *_more(
        "sample_every",
        "sample_steps",
        "checkpoint_every",
        "seed",
        "device",
        "dtype",
        "gradient_checkpointing",
        "limit",
    ),
)
"""What a training is: asked alike by `train` and by `estimate`, which says what it would take."""

FORMS: dict[str, Form] = {
    form.verb: form
    for form in (
        Form(
            "prepare",
            "datasets",
            "dataset",
            (
                Asked("source_path", "item", ("uploads",)),
                Asked("source"),
                Asked("resolution"),
                Asked("burned_in"),
                Asked("licence"),
                *_more("crop", "window", "prompt_style", "priors", "ids", "split", "missing_age", "name", "limit"),
            ),
        ),
        Form(
            "train",
            "runs",
            "run",
            TRAINING,
        ),
        Form("estimate", "runs", "run", TRAINING),
        Form(
            "generate",
            "sets",
            "set",
            (
                Asked("prompt", "area"),
                Asked("model", "model", ("runs",)),
                Asked("preset"),
                Asked("count"),
                Asked("seed"),
                *_more("negative_prompt", "steps", "guidance", "scheduler", "size", "batch_size", "device", "dtype"),
                Asked("like", "item", ("datasets", "cleaned"), more=True),
                *_more("balance", "accept", "attempts", "keep_rejected"),
            ),
        ),
        Form(
            "clean",
            "cleaned",
            "cleaned",
            (
                Asked("folder", "item", ("sets", "datasets", "uploads", "cleaned")),
                *_more("keep", "leave", "deidentify", "inpainter", "minimum_score", "dilation", "limit"),
            ),
        ),
        Form(
            "edit",
            "sets",
            "edit",
            (
                Asked("image", "picture", ("sets", "uploads", "cleaned", "datasets")),
                Asked("prompt", "area"),
                Asked("strength"),
                Asked("box"),
                Asked("count"),
                Asked("seed"),
                Asked("model", "model", ("runs",), more=True),
                *_more("negative_prompt", "steps", "guidance", "scheduler", "device", "dtype"),
            ),
        ),
        Form(
            "study new",
            "studies",
            "study",
            (
                Asked("real", "item", ("datasets", "cleaned")),
                Asked("synthetic", "item", ("sets", "cleaned")),
                Asked("kind"),
                Asked("count"),
                Asked("reader"),
                *_more("title", "match", "repeats", "training", "primary", "margin", "alpha", "seed"),
            ),
        ),
        Form(
            "export",
            "exports",
            "export",
            (
                Asked("folder", "item", ("sets", "cleaned", "datasets", "runs")),
                Asked("to"),
                Asked("privacy_gate", "item", ("reports",)),
                Asked("accept_terms"),
            ),
        ),
        Form("study analyze", "reports", "reading", (Asked("study", "item", ("studies",)), Asked("unblind"))),
        Form(
            "evaluate",
            "reports",
            "report",
            (
                Asked("synthetic", "item", ("sets", "cleaned")),
                Asked("real", "real", ("datasets", "cleaned")),
                Asked("questions"),
                Asked("compare", "items", ("sets", "cleaned")),
                *_more("split", "neighbours", "seed", "device"),
                Asked("training", "item", ("datasets", "cleaned"), more=True),
                Asked("model", "model", ("runs",), more=True),
                Asked("extractors", "extractors", more=True),
                Asked("classifier", "file", ("uploads",), (".onnx", ".pt", ".pth", ".ts"), more=True),
                Asked("statistics", "files", ("uploads", "reports"), (".npz",), more=True),
                *_more("keep_statistics"),
                Asked("study", "item", ("studies",), more=True),
            ),
        ),
    )
}
"""Every form by its verb."""


# --- from a browser to a config ---------------------------------------------------------------------------


def read_form(verb: str, name: str, given: Mapping[str, Any], workspace: Workspace) -> StageConfig:
    """The config that a browser asks for; what it writes, if anything, goes to the form's shelf.

    Raises UsageError, in the words of the command line, for an option that is not the form's, for a path that is not
    on a shelf, and for any value that the stage itself refuses.
    """
    form = FORMS.get(verb)
    if form is None:
        raise UsageError("There is no such form.")
    asked = {one.name: one for one in form.asked}
    if unknown := sorted(given.keys() - asked.keys()):
        raise UsageError(f"{', '.join(unknown)}: not an option of this form.")
    values = {key: _value(asked[key], value, workspace) for key, value in given.items() if value not in ("", None, [])}
    written = {"out": workspace.place(form.shelf, name)} if "out" in form.config.model_fields else {}
    return form.config.load(values | written)


def _value(asked: Asked, value: Any, workspace: Workspace) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise UsageError(f"{asked.name}: at most {LONGEST_TEXT} characters.")
    if asked.kind in ("items", "files", "extractors"):
        one = {"items": _item, "files": _file, "extractors": _extractor}[asked.kind]
        return [one(str(each), asked, workspace) for each in (value if isinstance(value, list) else [value])]
    if asked.kind == "item":
        return _item(str(value), asked, workspace)
    if asked.kind in ("picture", "file"):
        return _file(str(value), asked, workspace)
    if asked.kind == "model":
        return value if value in REGISTRY else str(_item(str(value), asked, workspace))
    if asked.kind == "real":
        return value if value in references() else str(_item(str(value), asked, workspace))
    return value


def _item(value: str, asked: Asked, workspace: Workspace) -> Path:
    shelf, _, name = value.partition("/")
    for allowed in asked.shelves:
        if shelf == allowed:
            return workspace.item(allowed, name)
    raise UsageError(f"{value!r} is none of the {' or '.join(asked.shelves)}.")


def _file(value: str, asked: Asked, workspace: Workspace) -> Path:
    shelf, _, rest = value.partition("/")
    name, _, path = rest.partition("/")
    for allowed in asked.shelves:
        if shelf == allowed and (not asked.suffixes or Path(path).suffix in asked.suffixes):
            return find(workspace, allowed, name, path)
    raise UsageError(f"{value!r} is no file of the {' or '.join(asked.shelves)} that this option takes.")


def _extractor(value: str, _: Asked, __: Workspace) -> str:
    """By name alone: the command line takes paths, too."""
    if value in extractors():
        return value
    raise UsageError(f"There is no extractor named {value!r}; there are {', '.join(extractors())}.")


def extractors() -> list[str]:
    """The further extractors, as ``--extractors`` takes them."""
    from synthcxr.evaluation.extractors import EXTRACTORS

    return [name for name in EXTRACTORS if name != "bundled"]


def references() -> list[str]:
    """The features of real patients that ship with the package, as ``--real`` takes them."""
    from synthcxr.evaluation.features import REFERENCES

    return sorted(REFERENCE + path.stem for path in REFERENCES.glob("*.npz") if "training" not in path.stem)


# --- from a config to a form ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """One input as a page draws it."""

    name: str
    label: str
    help: str
    kind: Kind
    default: Any
    choices: tuple[tuple[str, str], ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    whole: bool = True
    needed: bool = False
    more: bool = False


def inputs(verb: str, workspace: Workspace) -> list[Input]:
    """The inputs of a form, with what the workspace has to choose from."""
    form = FORMS[verb]
    return [_input(asked, form.config, workspace) for asked in form.asked]


def _input(asked: Asked, config: type[StageConfig], workspace: Workspace) -> Input:
    field = config.model_fields[asked.name]
    inner = _inner(field.annotation)
    kind = asked.kind or _kind(inner)
    named = {"choice": lambda: get_args(inner), "picks": lambda: get_args(get_args(inner)[0]), "extractors": extractors}
    choices = [(str(one), str(one)) for one in named[kind]()] if kind in named else []
    if asked.suffixes:
        choices = _files(asked, workspace)
    elif asked.kind in ("item", "items", "model", "real"):
        extra = {"model": list(REGISTRY), "real": references()}.get(asked.kind, [])
        choices = [(name, name) for name in extra]
        choices += [(f"{item.shelf}/{item.name}", item.name) for item in workspace.items(*asked.shelves)]
    return Input(
        name=asked.name,
        label=asked.name.replace("_", " ").capitalize(),
        help=field.description or "",
        kind=kind,
        default=field.get_default(call_default_factory=True) if not field.is_required() else None,
        choices=tuple(choices),
        bounds=(_bound(field.metadata, "ge", "gt"), _bound(field.metadata, "le", "lt")),
        whole=inner is int,
        needed=field.is_required(),
        more=asked.more,
    )


def _inner(annotation: Any) -> Any:
    """A type without Optional and Annotated around it."""
    if get_origin(annotation) in (Literal, list) or not get_args(annotation):
        return annotation
    return _inner(next(part for part in get_args(annotation) if part is not type(None)))


def _files(asked: Asked, workspace: Workspace) -> list[tuple[str, str]]:
    """The files of the shelves that an option takes."""
    items = workspace.items(*asked.shelves)
    found = [
        (item, path.relative_to(workspace.root / item.shelf / item.name).as_posix())
        for item in items
        for path in sorted((workspace.root / item.shelf / item.name).rglob("*"))
        if path.suffix in asked.suffixes
    ]
    return [(f"{item.shelf}/{item.name}/{path}", f"{item.name}: {path}") for item, path in found]


def _kind(inner: Any) -> Kind:
    if inner is bool:
        return "check"
    if get_origin(inner) is Literal:
        return "choice"
    if get_origin(inner) is list:
        return "picks" if get_origin(get_args(inner)[0]) is Literal else "lines"
    return "number" if inner in (int, float) else "text"


def _bound(metadata: Sequence[Any], *names: str) -> float | None:
    found = [getattr(one, name) for one in metadata for name in names if getattr(one, name, None) is not None]
    return float(found[0]) if found else None
