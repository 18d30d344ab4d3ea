"""The report's page: one self-contained HTML file over the whole road, pictures and charts inside."""

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from synthcxr import __version__
from synthcxr.imagefolder import Row, read_rows
from synthcxr.images import Grey, UnreadableImageError, encode_png, read_grey, resize
from synthcxr.report.charts import curve, interval_bar
from synthcxr.report.checklist import ITEMS
from synthcxr.report.methods import methods, references
from synthcxr.report.story import Chapter, read_story, removed_text
from synthcxr.store import Json, read_jsonl, read_manifest, write_bytes

if TYPE_CHECKING:
    from synthcxr.evaluation.answer import Answer, Sheet
    from synthcxr.evaluation.content import Content

SHEET_IMAGES = 24
THUMBNAIL = 128
LONG_TABLE = 12
"""Rows from which a table is folded."""
MOST_ALIKE = 2
"""Figures that may have the same warning; if more have it, it is said once for all."""
IN_TABLES = {"group", "set", "sets"}
"""Fields of figures that an answer's tables show: of a group of patients, or of a comparison's sets."""
PAGE = "index.html"

TITLES = {
    "realism": ("Realism and variety", "Does the set as a whole look like real X-rays, and is it as varied?"),
    "faithfulness": ("Faithfulness", "Do the images show what their prompts ask for?"),
    "usefulness": ("Usefulness", "Do the images teach what holds for real patients, and do they add to real ones?"),
    "privacy": ("Privacy", "Are any of them copies of patients that the model was trained on?"),
    "artifacts": ("Artifacts", "Do the images have traces of a machine, or lack those of a detector?"),
    "anatomy": ("Anatomy", "Are the chests of a shape that real chests have?"),
    "fairness": ("Fairness", "Is the set as good for every group of patients?"),
    "comparison": ("Comparison", "Which of several sets is better, and is the difference more than chance?"),
}
"""Of each question: its heading, and what it asks."""


@dataclass(frozen=True)
class Figure:
    """A picture of the page: its data address, and the words under it."""

    source: str
    caption: str


def write_report(folder: Path, content: "Content") -> None:
    """Write ``index.html`` into the report's folder. Nothing in it is fetched from elsewhere."""
    synthetic, study = content.config["synthetic"], content.config.get("study")
    write_bytes(folder / PAGE, render(content, Path(synthetic), Path(study) if study else None).encode())


def render(content: "Content", synthetic: Path, study: Path | None) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    environment.filters["settings"] = settings
    story = read_story(synthetic)
    return environment.get_template("page.html.jinja").render(
        version=__version__,
        content=content,
        titles=TITLES,
        answers=[chapter_of(answer) for answer in content.answers],
        sheet=sheet(synthetic),
        cleanings=[cleaning(chapter, content.config["show_removed_text"]) for chapter in story.of("clean")],
        trainings=[training(chapter) for chapter in story.of("train")],
        datasets=story.of("prepare"),
        study=reading(study) if study else None,
        story=story,
        methods=methods(content, story),
        references=references(content, story),
        checklist=ITEMS,
    )


def chapter_of(answer: "Answer") -> dict[str, Any]:
    """A question's part of the page; figures of groups and of compared sets are in its tables."""
    main = [metric_row(each) for each in answer.metrics if not IN_TABLES & each.keys()]
    shared = [text for text, times in Counter(each["warning"] for each in main).items() if text and times > MOST_ALIKE]
    for row in main:
        row["warning"] = None if row["warning"] in shared else row["warning"]
    return {
        "id": answer.question,
        "title": TITLES[answer.question][0],
        "asks": TITLES[answer.question][1],
        "verdict": answer.verdict,
        "warnings": [*answer.warnings, *shared],
        "metrics": [row for row in main if not row["missing"]],
        "missing": [row for row in main if row["missing"]],
        "charts": [{"title": each.title, "svg": Markup(each.svg), "caption": each.caption} for each in answer.charts],
        "tables": [{"table": each, "folded": len(each.rows) > LONG_TABLE} for each in answer.tables],
        "sheets": [sheet_figures(each) for each in answer.sheets],
        "files": sorted(answer.files),
    }


def metric_row(metric: Json) -> dict[str, Any]:
    """A figure as the table shows it: its value and interval, and what real images and a useless set give."""
    floor, ceiling = metric.get("floor"), metric.get("ceiling")
    bar = Markup("")
    if metric["value"] is not None:
        bar = interval_bar(
            metric["value"],
            metric["ci_low"],
            metric["ci_high"],
            (floor["low"], floor["high"]) if floor else None,
            ceiling=ceiling,
            useless=metric.get("useless"),
            unit=metric.get("unit", ""),
        )
    percent = metric.get("unit") == "share"
    real = f"{number(floor['low'], percent)} to {number(floor['high'], percent)}" if floor else number(ceiling, percent)
    interval = (
        f"{number(metric['ci_low'], percent)} to {number(metric['ci_high'], percent)}"
        if metric["ci_low"] is not None
        else "no interval"
    )
    return {
        "name": metric["name"],
        "title": metric.get("title") or metric["name"].replace("_", " ").capitalize(),
        "meaning": metric.get("meaning", ""),
        "better": metric.get("better", ""),
        "reason": metric.get("reason"),
        "warning": metric.get("warning"),
        "missing": metric["value"] is None,
        "value": number(metric["value"], percent),
        "interval": interval,
        "real": real,
        "useless": number(metric.get("useless"), percent),
        "bar": bar,
        "n": f"{metric['n_real']:,} / {metric['n_synthetic']:,}",
    }


def number(value: float | None, percent: bool = False) -> str:
    """A figure as a reader wants it: three digits, shares in percent, – where there is none."""
    if value is None:
        return "–"
    if percent:
        return f"{100 * value:.{1 if 0 < abs(value) < 0.1 else 0}f}\u00a0%"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def sheet_figures(sheet: "Sheet") -> dict[str, Any]:
    """A sheet of pictures, `per_line` of which belong together."""
    figures = [figure(row, words) if row else Figure("", words) for row, words in sheet.images]
    groups = [figures[i : i + sheet.per_line] for i in range(0, len(figures), sheet.per_line)]
    return {"title": sheet.title, "note": sheet.note, "groups": groups, "per_line": sheet.per_line}


def settings(chapter: Chapter) -> str:
    """What a stage was called with; of a path its last part: a report says nothing of the machine's folders."""

    def words(value: object) -> str:
        return Path(value).name if isinstance(value, str) and value.startswith(("/", "~", ".")) else str(value)

    given = chapter.manifest["config"].items()
    return ", ".join(f"{key}={words(value)}" for key, value in given if value not in (None, "", []))


def sheet(folder: Path) -> list[Figure]:
    """The first images of the set, in the order of their index: nobody chose them."""
    return [figure(row, row.text) for row in read_rows(folder)[:SHEET_IMAGES]]


def figure(image: Path | Row, caption: str, size: int = THUMBNAIL) -> Figure:
    """A thumbnail of an image file, or of a row's image; an unreadable one says so."""
    path = image.path if isinstance(image, Row) else image
    try:
        return Figure(data_address(image.read() if isinstance(image, Row) else read_grey(image), size), caption)
    except UnreadableImageError as error:
        return Figure("", str(error).replace(str(path), path.name))


def data_address(image: Grey, size: int) -> str:
    """An image inside a page, its long side at most `size` pixels."""
    height, width = image.shape
    scale = min(1.0, size / max(height, width))
    small = image if scale == 1 else resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return "data:image/png;base64," + base64.b64encode(encode_png(small, compress_level=9)).decode()


def cleaning(chapter: Chapter, before_too: bool) -> dict[str, Any]:
    """What a cleaning did: counts, and of a few images the mask and what is there now, on wish also what was."""
    before_folder = (chapter.folder / chapter.manifest["inputs"]["images"]["path"]).resolve()
    shown = []
    for proof in removed_text(chapter):
        places = [chapter.folder / proof["mask"], chapter.folder / proof["file"]]
        if before_too and (before_folder / proof["file"]).is_file():  # a plain folder's images had other names
            places.insert(0, before_folder / proof["file"])
        shown.append([figure(place, proof["file_name"], 192) for place in places])
    return {
        "folder": chapter.folder.name,
        "kind": chapter.manifest["kind"],
        "counts": chapter.manifest["counts"],
        "shown": shown,
    }


def training(chapter: Chapter) -> dict[str, Any]:
    """A run: its loss curve and its last sample sheet."""
    log = read_jsonl(chapter.folder / "log.jsonl")
    sheets = sorted((chapter.folder / "samples").glob("*.png"))
    return {
        "folder": chapter.folder.name,
        "manifest": chapter.manifest,
        "curve": curve([row["step"] for row in log], [row["loss"] for row in log], "step", "Training loss")
        if len(log) > 1
        else "",
        "log": log[-1] if log else None,
        "sheet": figure(sheets[-1], "samples at fixed seeds", 520) if sheets else None,
    }


def reading(folder: Path) -> dict[str, Any]:
    """A reader study: its plan, and its figures where answers are in."""
    from synthcxr.config import StudyAnalyzeConfig
    from synthcxr.study.analyze import COLUMNS, analyze

    manifest = read_manifest(folder, "study")
    analysis = analyze(StudyAnalyzeConfig(study=folder)) if manifest["counts"].get("answers") else None
    return {
        "folder": folder.name,
        "counts": manifest["counts"],
        "notes": manifest.get("notes", []),
        "columns": COLUMNS,
        "rows": analysis.rows() if analysis else [],
        "remarks": analysis.notes if analysis else (),
    }
