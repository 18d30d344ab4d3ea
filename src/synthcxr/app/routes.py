"""What the app answers: pages, jobs, files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from synthcxr.app.forms import read_form
from synthcxr.app.jobs import Jobs
from synthcxr.app.pages import Pages, job_state
from synthcxr.app.showing import PAGE_POLICY, archive, picture, proof, provenance, report_page
from synthcxr.app.uploads import accept, place_upload
from synthcxr.app.worker import PREVIEWS
from synthcxr.app.workspace import Shelf, Workspace
from synthcxr.errors import UsageError
from synthcxr.prompts import Subject, write_prompt

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
UPLOADS = "/uploads/"
CACHED = {"cache-control": "private, max-age=3600"}
FRESH = {"cache-control": "no-store"}


class Wanted(BaseModel):
    """A job as a page asks for it."""

    model_config = ConfigDict(extra="forbid")

    verb: Annotated[str, Field(max_length=32)]
    name: Annotated[str, Field(max_length=64)]
    values: dict[str, Any]


def add_pages(app: "FastAPI", pages: Pages) -> None:
    """The pages, and the files that they are made with."""
    from fastapi import Query, Request, Response
    from fastapi.responses import HTMLResponse, JSONResponse

    static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    @app.get("/")
    def home() -> Response:
        return HTMLResponse(pages.home())

    @app.get("/prompt")
    def prompt(
        view: str = "", age: int | None = None, sex: str = "", finding: Annotated[list[str] | None, Query()] = None
    ) -> Response:
        subject = Subject(age=age, sex=sex or None, view=view or None, findings=tuple(finding or ()))
        return JSONResponse({"prompt": write_prompt(subject)})

    @app.get("/compare")
    def compare(report: Annotated[list[str] | None, Query()] = None) -> Response:
        return HTMLResponse(pages.compare(report or []))

    @app.get("/{page}")
    def page(page: str, request: Request) -> Response:
        return HTMLResponse(pages.page(page, dict(request.query_params)))

    @app.get("/static/{name}")
    def file(name: str) -> Response:
        if name not in static:
            return Response(status_code=404)
        return Response(static[name], 200, {"cache-control": "no-cache"}, TYPES[Path(name).suffix])

    @app.get("/item/{shelf}/{name}")
    def item(shelf: Shelf, name: str, page: int = 1) -> Response:
        return HTMLResponse(pages.item(shelf, name, page))


def add_jobs(app: "FastAPI", workspace: Workspace, jobs: Jobs) -> None:
    """Jobs: begun, followed, stopped, tried again."""
    from fastapi import Response
    from fastapi.responses import JSONResponse

    acts = {"cancel": jobs.cancel, "retry": jobs.retry, "forget": jobs.forget}

    @app.post("/jobs")
    def add(wanted: Wanted) -> Response:
        workspace.check_room()
        job = jobs.add(wanted.verb, read_form(wanted.verb, wanted.name, wanted.values, workspace))
        return JSONResponse({"id": job.id})

    @app.get("/jobs/{job}.json")
    def one_job(job: str, after: int = 0) -> Response:
        lines = [{"number": number, "text": text} for number, _, text in jobs.lines(job, after)]
        return JSONResponse(job_state(jobs.get(job), workspace) | {"lines": lines}, headers=FRESH)

    @app.get("/jobs/{job}.png")
    def forming(job: str) -> Response:
        preview = workspace.root / ".app" / PREVIEWS / f"{jobs.get(job).id}.png"
        if not preview.is_file():
            return Response(status_code=204)
        return Response(preview.read_bytes(), 200, FRESH, "image/png")

    @app.post("/jobs/{job}/{act}")
    def change(job: str, act: str) -> Response:
        if act not in acts:
            raise UsageError("There is no such action.")
        acts[act](job)
        return JSONResponse({})


def add_files(app: "FastAPI", workspace: Workspace, jobs: Jobs) -> None:
    """Files: sent, shown, fetched, deleted."""
    from fastapi import Request, Response
    from fastapi.responses import JSONResponse, StreamingResponse

    @app.post(UPLOADS + "{batch}/{name}")
    async def upload(batch: str, name: str, request: Request) -> Response:
        workspace.check_room(int(request.headers.get("content-length", 0)))
        part = place_upload(workspace, batch, name)
        try:
            with part.open("wb") as stream:
                async for chunk in request.stream():
                    stream.write(chunk)
            return JSONResponse({"name": accept(part).name})
        finally:
            part.unlink(missing_ok=True)

    @app.get("/picture/{shelf}/{name}/{path:path}")
    def show_picture(shelf: Shelf, name: str, path: str, side: int = 0) -> Response:
        return Response(picture(workspace, shelf, name, path, side), 200, CACHED, "image/png")

    @app.get("/provenance/{shelf}/{name}/{path:path}")
    def show_provenance(shelf: Shelf, name: str, path: str) -> Response:
        return JSONResponse(provenance(workspace, shelf, name, path))

    @app.get("/proof/{name}/{path:path}")
    def show_proof(name: str, path: str) -> Response:
        return JSONResponse(proof(workspace, name, path))

    @app.get("/report/{shelf}/{name}/{path:path}")
    def show_report(shelf: Shelf, name: str, path: str) -> Response:
        content, kind = report_page(workspace, shelf, name, path)
        return Response(content, 200, {"content-security-policy": PAGE_POLICY}, kind)

    @app.get("/download/{shelf}/{name}.zip")
    def download(shelf: Shelf, name: str) -> Response:
        folder = workspace.item(shelf, name)
        headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
        return StreamingResponse(archive(folder), 200, headers, "application/zip")

    @app.post("/remove/{shelf}/{name}")
    def remove(shelf: Shelf, name: str) -> Response:
        folder = workspace.item(shelf, name)
        if any(job.out == folder and not job.over for job in jobs.all()):
            raise UsageError(f"A job is writing {name}. Stop it first.")
        workspace.remove(shelf, name)
        jobs.beat("removed")  # workers let go of models that they hold
        return JSONResponse({})
