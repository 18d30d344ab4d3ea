"""The pages as HTML: what lies in the workspace, forms over it, jobs. Words are in `texts`."""

import json
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr import __version__
from synthcxr.app import texts
from synthcxr.app.forms import FORMS, inputs
from synthcxr.app.jobs import Job, Jobs
from synthcxr.app.showing import PICTURES
from synthcxr.app.worker import MACHINE
from synthcxr.app.workspace import Item, Shelf, Workspace
from synthcxr.errors import UsageError
from synthcxr.generation.provenance import DISCLAIMER
from synthcxr.imagefolder import read_rows
from synthcxr.report.charts import curve
from synthcxr.store import Json, read_json, read_jsonl

if TYPE_CHECKING:
    from jinja2 import Environment

PICTURES_A_PAGE = 48
CARD_PICTURES = 8
SHELVES_OF: dict[str, tuple[Shelf, ...]] = {
    "data": ("datasets", "uploads"),
    "train": ("runs",),
    "generate": ("sets",),
    "edit": ("sets",),
    "clean": ("cleaned",),
    "evaluate": ("reports",),
    "study": ("studies",),
}
VERBS = {
    "data": "prepare",
    "train": "train",
    "generate": "generate",
    "edit": "edit",
    "clean": "clean",
    "evaluate": "evaluate",
    "study": "study new",
}
SYNTHETIC_KINDS = ("set",)


def job_state(job: Job, workspace: Workspace) -> Json:
    """A job as the pages' script reads it."""
    now = time.time()
    left = job.seconds_left(now)
    out = job.out
    folder = out if out and out.is_relative_to(workspace.root) else None
    return {
        "id": job.id,
        "verb": job.verb,
        "state": job.state,
        "message": job.message,
        "doing": job.doing,
        "done": job.done,
        "total": job.total,
        "seconds": round((job.ended or now) - (job.started or now), 1),
        "seconds_left": None if left is None else round(left),
        "command": job.command,
        "out": folder.relative_to(workspace.root).as_posix() if folder else None,
        "curve": training_curve(folder) if folder and job.verb == "train" and job.state == "running" else "",
        "pictures": newest_pictures(folder, workspace) if folder else [],
        "created": job.created,
        "cancelling": job.cancel,
        "synthetic": job.verb in ("generate", "edit", "train"),
    }


def training_curve(run: Path) -> str:
    """The loss of a run so far, as SVG; nothing before the second note of it."""
    log = read_jsonl(run / "log.jsonl") if (run / "log.jsonl").is_file() else []
    if len(log) < 2:
        return ""
    return str(curve([row["step"] for row in log], [row["loss"] for row in log], "step", "Loss so far"))


def newest_pictures(folder: Path, workspace: Workspace) -> list[str]:
    """Pictures that a job has made so far, for its card: a run's newest sheet, else the first images."""
    sheets = sorted((folder / "samples").glob("*.png"))
    found = sheets[-1:] or sorted(folder.glob("[a-z]*/[0-9]*.png"))[:CARD_PICTURES]
    return [path.relative_to(workspace.root).as_posix() for path in found]


class Pages:
    """Draws pages from the workspace and the table of jobs."""

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        """Of one workspace."""
        self._workspace, self._jobs = workspace, jobs

    @cached_property
    def _environment(self) -> "Environment":
        from jinja2 import Environment, PackageLoader, StrictUndefined

        loader = PackageLoader("synthcxr.app", "templates")
        made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        made.globals |= {"t": texts, "version": __version__, "disclaimer": DISCLAIMER}
        return made

    def _draw(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(values)

    def home(self) -> str:
        """What is here, what this machine can do, how to begin."""
        file = self._workspace.root / ".app" / MACHINE
        machine = read_json(file) if file.is_file() else {}
        items = self._workspace.items()[:12]
        return self._draw("home.html.jinja", page="home", items=items, machine=machine, jobs=self._recent())

    def page(self, page: str, given: Mapping[str, str]) -> str:
        """A page of the road. Raises UsageError for one that there is not."""
        if page == "jobs":
            return self._draw("jobs.html.jinja", page=page, jobs=self._recent(100))
        if page not in SHELVES_OF:
            raise UsageError("There is no such page.")
        verb = VERBS[page]
        form = FORMS[verb]
        return self._draw(
            f"{page}.html.jinja",
            page=page,
            verb=verb,
            inputs=inputs(verb, self._workspace),
            name=self._workspace.free_name(form.shelf, form.stem),
            items=self._workspace.items(*SHELVES_OF[page]),
            jobs=[state for state in self._recent(40) if state["verb"] == verb][:8],
            given=dict(given),
        )

    def item(self, shelf: Shelf, name: str, page: int) -> str:
        """A folder: what it says of itself, its pictures, its report."""
        folder = self._workspace.item(shelf, name)
        item = next(one for one in self._workspace.items(shelf) if one.name == name)
        pictures = self._pictures(item)
        pages = max(1, -(-len(pictures) // PICTURES_A_PAGE))
        page = min(max(1, page), pages)
        return self._draw(
            "item.html.jinja",
            page="",
            item=item,
            pictures=pictures[(page - 1) * PICTURES_A_PAGE : page * PICTURES_A_PAGE],
            number=page,
            pages=pages,
            synthetic=item.kind in SYNTHETIC_KINDS,
            has_page=(folder / "index.html").is_file() or (folder / "report.html").is_file(),
            report="index.html" if (folder / "index.html").is_file() else "report.html",
        )

    def compare(self, names: list[str]) -> str:
        """Reports side by side: their figures with intervals, and what they were judged by."""
        items = [item for item in self._workspace.items("reports") if item.name in names and item.finished]
        reports = [(item, {m["name"]: m for m in item.manifest.get("metrics", [])}) for item in items]
        figures = list(dict.fromkeys(name for _, metrics in reports for name in metrics))
        sides = {json.dumps(item.manifest.get("sides", {}).get("real"), sort_keys=True) for item in items}
        return self._draw(
            "compare.html.jinja", page="evaluate", reports=reports, figures=figures, alike=len(sides) <= 1
        )

    def trouble(self, message: str) -> str:
        """A page that says what is wrong."""
        return self._draw("trouble.html.jinja", page="", message=message)

    def login(self, message: str) -> str:
        """The page that asks for the password."""
        return self._draw("login.html.jinja", page="", message=message)

    def _recent(self, limit: int = 8) -> list[Json]:
        return [job_state(job, self._workspace) for job in self._jobs.all(limit)]

    def _pictures(self, item: Item) -> list[Json]:
        """The images of a folder, each with its path and its words."""
        if item.kind in ("dataset", "set", "clean") and item.finished:
            rows = read_rows(item.path, "all")
            return [
                {"path": row.path.relative_to(item.path).as_posix(), "text": str(row.fields.get("text", ""))}
                for row in rows
                if row.path.is_file()
            ]
        suffixes = (*PICTURES, ".dcm")
        files = sorted(path for path in item.path.rglob("*") if path.suffix.lower() in suffixes)
        shown = (path.relative_to(item.path) for path in files)
        return [{"path": path.as_posix(), "text": path.name} for path in shown if not _hidden(path.parts)]


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts)
