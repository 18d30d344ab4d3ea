"""``synthcxr app``: pages, the jobs behind them, and the files they show, over HTTP."""

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from synthcxr.app.forms import read_form
from synthcxr.app.guard import Guard, Password, is_loopback
from synthcxr.app.jobs import Jobs
from synthcxr.app.pages import Pages, job_state
from synthcxr.app.showing import PAGE_POLICY, archive, picture, provenance, report_page
from synthcxr.app.supervisor import Supervisor
from synthcxr.app.uploads import accept, place_upload
from synthcxr.app.worker import PREVIEWS
from synthcxr.app.workspace import Shelf, Workspace
from synthcxr.config import AppConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.progress import say
from synthcxr.study.serving.server import listen, run

if TYPE_CHECKING:
    from fastapi import FastAPI

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
UPLOADS = "/uploads/"
CACHED = {"cache-control": "private, max-age=3600"}
GIGABYTE = 2**30


class Wanted(BaseModel):
    """A job as a page asks for it."""

    model_config = ConfigDict(extra="forbid")

    verb: Annotated[str, Field(max_length=32)]
    name: Annotated[str, Field(max_length=64)]
    values: dict[str, Any]


def serve(config: AppConfig) -> Path:
    """Serve the app until it is stopped; return the workspace.

    Raises UsageError where the workspace or the address cannot be had, or an address that others reach has no password.
    """
    workspace = Workspace(config.workspace, config.quota_gb)
    password = read_password(config)
    with listen(config.host, config.port) as listener:
        port = listener.getsockname()[1]
        jobs = Jobs(workspace.root / ".app" / "jobs.sqlite3")
        guard = partial(
            Guard,
            hosts=names_of(config, port),
            password=password,
            largest_upload=int(config.upload_gb * GIGABYTE),
            upload_paths=(UPLOADS,),
            open_paths=("/static/",),
        )
        app = make_app(workspace, jobs, guard)
        supervisor = Supervisor(workspace.root, jobs)
        say(f"The app is at http://{'127.0.0.1' if is_loopback(config.host) else socket.gethostname()}:{port}/")
        say(f"Its workspace is {workspace.root}. Ctrl-C stops it; jobs go on when it is started again.")
        try:
            run(app, listener)
        except KeyboardInterrupt:
            pass
        finally:
            supervisor.close()
    return config.workspace


def read_password(config: AppConfig) -> Password | None:
    """The password, hashed; None on a loopback address without one."""
    words = os.environ.get("SYNTHCXR_PASSWORD", "")
    if config.password_file:
        try:
            words = config.password_file.read_text(encoding="utf-8").split("\n", 1)[0].strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"--password-file {config.password_file} cannot be read: {error}") from error
    if words:
        return Password.of(words)
    if not is_loopback(config.host):
        raise UsageError(
            f"On {config.host} others could reach the app: give a password by --password-file or SYNTHCXR_PASSWORD."
        )
    return None


def names_of(config: AppConfig, port: int) -> frozenset[str]:
    """What the header Host may be."""
    names = {"127.0.0.1", "localhost", "[::1]"} if is_loopback(config.host) else {config.host, socket.gethostname()}
    own = {f"{name.lower()}:{port}" for name in names}
    return frozenset(own | {site.lower() for site in config.site})


def make_app(workspace: Workspace, jobs: Jobs, guard: Callable[["FastAPI"], Guard]) -> Any:
    """The web application of a workspace, behind its guard."""
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(workspace, jobs)
    static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    @app.exception_handler(SynthCXRError)
    def refused(request: Request, error: SynthCXRError) -> Response:
        if "text/html" in request.headers.get("accept", "") and request.method == "GET":
            return HTMLResponse(pages.trouble(str(error)), 404)
        return JSONResponse({"error": str(error)}, 422 if isinstance(error, UsageError) else 507)

    @app.exception_handler(RequestValidationError)
    def wrong(request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": "The app did not understand this request."}, 422)

    @app.exception_handler(404)
    def nothing(request: Request, error: Exception) -> Response:
        return HTMLResponse(pages.trouble("There is no such page."), 404)

    # --- pages ---

    @app.get("/")
    def home() -> Response:
        return HTMLResponse(pages.home())

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

    # --- jobs ---

    @app.post("/jobs")
    def add(wanted: Wanted) -> Response:
        workspace.check_room()
        job = jobs.add(wanted.verb, read_form(wanted.verb, wanted.name, wanted.values, workspace))
        return JSONResponse({"id": job.id})

    @app.get("/jobs/all.json")
    def all_jobs() -> Response:
        return JSONResponse([job_state(job, workspace) for job in jobs.all()])

    @app.get("/jobs/{job}.json")
    def one_job(job: str, after: int = 0) -> Response:
        lines = [{"number": number, "text": text} for number, _, text in jobs.lines(job, after)]
        return JSONResponse(job_state(jobs.get(job), workspace) | {"lines": lines})

    @app.get("/jobs/{job}.png")
    def forming(job: str) -> Response:
        preview = workspace.root / ".app" / PREVIEWS / f"{jobs.get(job).id}.png"
        if not preview.is_file():
            return Response(status_code=404)
        return Response(preview.read_bytes(), 200, {"cache-control": "no-store"}, "image/png")

    @app.post("/jobs/{job}/{act}")
    def change(job: str, act: str) -> Response:
        acts = {"cancel": jobs.cancel, "retry": jobs.retry, "forget": jobs.forget}
        if act not in acts:
            raise UsageError("There is no such action.")
        acts[act](job)
        return JSONResponse({})

    # --- files ---

    @app.post(UPLOADS + "{batch}/{name}")
    async def upload(batch: str, name: str, request: Request) -> Response:
        workspace.check_room(int(request.headers.get("content-length", 0)))
        part = place_upload(workspace, batch, name)
        try:
            with part.open("wb") as stream:
                async for chunk in request.stream():
                    stream.write(chunk)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return JSONResponse({"name": accept(part).name})

    @app.get("/picture/{shelf}/{name}/{path:path}")
    def show_picture(shelf: Shelf, name: str, path: str, side: int = 0) -> Response:
        return Response(picture(workspace, shelf, name, path, side), 200, CACHED, "image/png")

    @app.get("/provenance/{shelf}/{name}/{path:path}")
    def show_provenance(shelf: Shelf, name: str, path: str) -> Response:
        return JSONResponse(provenance(workspace, shelf, name, path))

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
        workspace.remove(shelf, name)
        jobs.beat("removed")  # workers let go of models that they hold
        return JSONResponse({})

    made = guard(app)
    made.login_page = pages.login
    return made
