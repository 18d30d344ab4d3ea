"""``synthcxr app``: pages, the jobs behind them, and the files they show, over HTTP."""

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synthcxr.app.guard import Guard, Password, is_loopback
from synthcxr.app.jobs import Jobs
from synthcxr.app.pages import Pages
from synthcxr.app.routes import UPLOADS, add_files, add_jobs, add_pages
from synthcxr.app.studies import READING, add_studies
from synthcxr.app.supervisor import Supervisor
from synthcxr.app.workspace import Workspace
from synthcxr.config import AppConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.progress import say
from synthcxr.study.serving.server import listen, run

if TYPE_CHECKING:
    from fastapi import FastAPI

GIGABYTE = 2**30


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
            open_paths=("/static/", READING),
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


def make_app(workspace: Workspace, jobs: Jobs, guard: Callable[["FastAPI"], Guard]) -> Guard:
    """The web application of a workspace, behind its guard."""
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(workspace, jobs)

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

    add_jobs(app, workspace, jobs)
    add_files(app, workspace, jobs)
    add_studies(app, workspace)
    add_pages(app, pages)
    guarded = guard(app)
    guarded.login_page = pages.login
    return guarded
