"""The command line: verbs to functions, parsing only. Each stage's options are the fields of its config model."""

import inspect
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from synthcxr import __version__
from synthcxr import config as configs
from synthcxr.errors import SynthCXRError
from synthcxr.progress import say
from synthcxr.stages import STAGES

app = typer.Typer(
    help="Synthetic chest X-rays that can be defended: prepare → train → generate → clean → evaluate → study.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
study = typer.Typer(help="A blinded reading of real and synthetic images.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(study, name="study", rich_help_panel="The road")

CTRL_C = 130
CALL_ERROR: Any = typer.BadParameter.__mro__[2]
"""Click's base of wrong calls, wherever this typer keeps it: some carry a click of their own."""

MOST_ROWS = 30
"""Rows of a table that a terminal gets."""

Show = Callable[[Any, Any, bool], int]
"""Prints what a stage gave for its config, as words or as JSON, and says the exit code."""


def main() -> None:
    """Run the command line; every failure is one or two plain lines and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end is Ctrl-C: what was done is kept
    try:
        code = app(standalone_mode=False)
        if code == CTRL_C:  # some typers make an exit code of it
            raise KeyboardInterrupt
    except SynthCXRError as error:
        say(f"Error: {error}")
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say("Stopped. What was done is kept; the same command goes on from there.")
        code = 1
    except BrokenPipeError:
        code = 1
    except OSError as error:
        say(f"Error: {error.filename or 'a file'}: {error.strerror or error}. What was done before is kept.")
        code = 1
    except CALL_ERROR as error:
        asked_for_help = type(error).__name__ == "NoArgsIsHelpError"
        say(error.format_message() if asked_for_help else f"Error: {error.format_message()}")
        code = 2
    sys.exit(code if isinstance(code, int) else 0)


# --- stages: a config model becomes a command -------------------------------------------------------------


def stage(verb: str, show: Show, panel: str = "The road") -> None:
    """Register a stage: its options are its config model's fields, and `show` prints what it gave."""
    found = STAGES[verb]
    config = found.config

    def command(**given: Any) -> int:
        file, as_json = given.pop("config"), given.pop("json")
        values = {name: value for name, value in given.items() if value is not None and value != []}
        loaded = config.load(values, file)
        return show(found.run(loaded), loaded, as_json)

    parameters = [_parameter(name, field) for name, field in config.model_fields.items()]
    parameters.sort(key=lambda parameter: not _is_argument(parameter))
    for name, kind, text in (
        ("config", Path | None, "YAML file of options; an option given here wins."),
        ("json", bool, "Print the result as JSON."),
    ):
        option = typer.Option(f"--{name}", help=text)
        default = None if name == "config" else False
        parameters.append(_keyword(name, Annotated[kind, option], default))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    group = study if verb.startswith("study ") else app
    group.command(verb.rsplit(maxsplit=1)[-1], help=config.__doc__, rich_help_panel=panel)(command)


def _parameter(name: str, field: Any) -> inspect.Parameter:
    """A typer parameter for a field. None stands for “not given”, so that a config file can say it instead."""
    kind = _plain_type(field.annotation)
    default = field.get_default(call_default_factory=True)
    text = field.description or ""
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if extra.get("positional"):
        return _keyword(name, Annotated[kind, typer.Argument(help=text, show_default=False)], None)
    if not field.is_required() and default is not None:
        text += f" [default: {default}]"
    flag = "--" + name.replace("_", "-")
    flags = [f"{flag}/--no-{name.replace('_', '-')}"] if field.annotation is bool else [flag]
    return _keyword(name, Annotated[kind | None, typer.Option(*flags, help=text, show_default=False)], None)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_argument(parameter: inspect.Parameter) -> bool:
    return any(type(part).__name__ == "ArgumentInfo" for part in get_args(parameter.annotation))


def _plain_type(annotation: Any) -> Any:
    """The type that typer parses; the config model does the checking (Optional and Annotated are peeled off)."""
    if get_origin(annotation) is Literal:
        return annotation
    choices = [choice for choice in get_args(annotation) if choice is not type(None)]
    if get_origin(annotation) is list:
        inner = _plain_type(choices[0])
        return list[str] if get_origin(inner) is Literal else list[inner]  # type: ignore[valid-type]
    return _plain_type(choices[0]) if choices else annotation


# --- what a stage gave, for people and machines -----------------------------------------------------------


def show_folder(folder: Path, _: Any, as_json: bool) -> int:
    """Print where the result lies."""
    print(json.dumps({"out": str(folder)}) if as_json else folder)
    return 0


def show_estimate(estimate: Any, _: Any, as_json: bool) -> int:
    """Print what a training would take."""
    print(json.dumps(estimate.to_json(), indent=2) if as_json else estimate.in_words())
    return 0


def show_clean(result: Any, config: configs.CleanConfig, as_json: bool) -> int:
    """Print where the cleaned images lie; exit 1 where text can still be read."""
    print(json.dumps({"out": str(result.folder), "counts": result.counts}) if as_json else result.folder)
    return 1 if result.residual and not config.allow_residual else 0


def show_report(folder: Path, _: Any, as_json: bool) -> int:
    """Print what every question of a report came to; as JSON every figure, too."""
    from synthcxr.store import read_manifest

    report = read_manifest(folder, "report")
    if as_json:
        kept = {name: report[name] for name in ("questions", "metrics", "notes")}
        print(json.dumps({"out": str(folder), **kept}, indent=2, ensure_ascii=False))
        return 0
    for answer in report["questions"]:
        print(f"{answer['question'].capitalize()}: {answer['verdict']}")
    for note in report["notes"]:
        print(f"Note: {note}")
    print(folder)
    return 0


def show_new_study(folder: Path, _: Any, as_json: bool) -> int:
    """Print what a study holds: how alike both sorts of images are, what has to be said, the protocol's hash."""
    from synthcxr.study.new import describe_new

    made = describe_new(folder)
    if as_json:
        print(json.dumps(made, indent=2))
        return 0
    if made["balance"]:
        columns = ("real_before", "synthetic_before", "before", "real_after", "synthetic_after", "after")
        titles = ("all: real", "synthetic", "difference", "drawn: real", "synthetic", "difference")
        cells = [["–" if row[name] is None else f"{row[name]:.2f}" for name in columns] for row in made["balance"]]
        print_table(
            ("", "", *titles), [[r["trait"], r["level"], *c] for r, c in zip(made["balance"], cells, strict=True)]
        )
        print("Shares (ages in years); differences in standard deviations, synthetic minus real: below 0.1 is small.")
    for note in made["notes"]:
        print(note)
    print(f"{made['questions']} questions. The protocol is frozen; its SHA-256 is {made['protocol_sha256']}.")
    print(folder)
    return 0


def show_power(power: Any, config: configs.StudyPowerConfig, as_json: bool) -> int:
    """Print the power of every design, and the smallest ones that have enough."""
    if as_json:
        print(json.dumps(power.to_json(), indent=2))
        return 0
    print_table(power.columns(), power.table())
    for note in power.notes():
        print(note)
    if config.out is not None:
        print(config.out)
    return 0


def show_analysis(analysis: Any, _: Any, as_json: bool) -> int:
    """Print a reading's figures as tables, the primary endpoint first."""
    if as_json:
        print(json.dumps(analysis.to_json(), indent=2))
        return 0
    from synthcxr.study.analyze import COLUMNS

    print(analysis.primary.sentence)
    if analysis.rows():
        print_table(COLUMNS, analysis.rows())
    for note in analysis.notes:
        print(note)
    for section in analysis.sections:
        if section.rows:
            print(f"\n{section.title}")
            print_table(section.columns, section.rows[:MOST_ROWS])
            if len(section.rows) > MOST_ROWS:
                print(f"… and {len(section.rows) - MOST_ROWS} more: --json and --out have all.")
            for note in section.notes:
                print(note)
    return 0


def show_import(imported: Any, _: Any, as_json: bool) -> int:
    """Print how many answers came in."""
    result = imported.to_json()
    print(
        json.dumps(result)
        if as_json
        else f"{result['answers']} answers of {', '.join(result['readers'])}; {result['unanswered']} images unanswered."
    )
    return 0


def print_table(columns: Any, rows: Any, whole: str | None = None) -> None:
    """A plain table on stdout; the lines of the column `whole` are not broken."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column == whole)
    for row in rows:
        table.add_row(*map(str, row))
    Console(soft_wrap=False, width=None if sys.stdout.isatty() else 160, highlight=False).print(table)


stage("prepare", show_folder)
stage("train", show_folder)
stage("generate", show_folder)
stage("clean", show_clean)
stage("evaluate", show_report)
stage("app", show_folder)
stage("demo", show_folder)
stage("estimate", show_estimate, "Around it")
stage("edit", show_folder, "Around it")
stage("export", show_folder, "Around it")
stage("study new", show_new_study)
stage("study power", show_power)
stage("study amend", show_folder)
stage("study serve", show_folder)
stage("study simulate", show_folder)
stage("study import", show_import)
stage("study analyze", show_analysis)


# --- what a person needs around them ----------------------------------------------------------------------

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(rich_help_panel="Around it")
def show(image: Annotated[Path, typer.Argument(help="An image of a set.")]) -> int:
    """Print how a synthetic image was made."""
    from synthcxr.generation.provenance import read_provenance

    print(json.dumps(read_provenance(image), indent=2, ensure_ascii=False))
    return 0


@app.command(rich_help_panel="Around it")
def reproduce(
    image: Annotated[Path, typer.Argument(help="An image of a set, there or anywhere else.")],
    model: Annotated[str | None, typer.Option(help="The model, where its set does not lead to it.")] = None,
    as_json: Json = False,
) -> int:
    """Draw an image again and compare; exit 1 where it is not the same within one grey level."""
    from synthcxr.generation.reproduce import reproduce as draw_again

    compared = draw_again(image, model)
    print(json.dumps(compared.to_json()) if as_json else compared.in_words())
    return 0 if compared.same else 1


@app.command(rich_help_panel="Around it")
def verify(folder: Annotated[Path, typer.Argument(help="A folder that synthcxr wrote.")], as_json: Json = False) -> int:
    """Find any changed, missing or extra file of a folder."""
    from synthcxr.store import verify as find_problems

    problems = find_problems(folder)
    if as_json:
        print(json.dumps({"folder": str(folder), "intact": not problems, "problems": problems}))
    else:
        print("\n".join(problems) or f"{folder} is intact.")
    return 1 if problems else 0


@app.command(rich_help_panel="Around it")
def lineage(
    folder: Annotated[Path, typer.Argument(help="A folder that synthcxr wrote.")], as_json: Json = False
) -> int:
    """Print the chain from a folder back to the data it came from; exit 1 where a link was changed or is missing."""
    from synthcxr.lineage import broken, draw_tree
    from synthcxr.store import lineage as read_lineage

    tree = read_lineage(folder)
    print(json.dumps(tree, indent=2) if as_json else draw_tree(tree))
    return 1 if broken(tree) else 0


@app.command(rich_help_panel="Around it")
def models(as_json: Json = False) -> int:
    """List the models that have a name here, where they come from, their licence, and whether they are here."""
    from synthcxr.models.listing import list_models

    entries = list_models()
    if as_json:
        print(json.dumps(entries, indent=2))
    else:
        columns = ("name", "here", "size", "licence", "sources", "about")
        rows = [entry | {"sources": entry["sources"].replace(", ", "\n")} for entry in entries]
        print_table(columns, [[row[key] for key in columns] for row in rows], whole="sources")
    return 0


@app.command(rich_help_panel="Around it")
def convert(
    model: Annotated[Path, typer.Argument(help="A single file (.safetensors, .ckpt), or a folder with .bin files.")],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    like: Annotated[
        str | None,
        typer.Option(help="For a single file: a model of its kind, whose configs, tokenizer and schedule it takes."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make a diffusers folder of a model in another form; of pickled weights tensors are read, and nothing is run."""
    from synthcxr.models.convert import convert as make_folder

    made = make_folder(model, out, like)
    print(json.dumps({"folder": str(made)}) if as_json else made)
    return 0


@app.command(rich_help_panel="Around it")
def doctor(as_json: Json = False) -> int:
    """Say what this machine can do, and how fast."""
    from synthcxr.doctor import examine

    findings = examine()
    print(
        json.dumps(findings, indent=2) if as_json else "\n".join(f"{key}: {value}" for key, value in findings.items())
    )
    return 0


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options that belong to no verb."""
    if version:
        print(f"synthcxr {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
