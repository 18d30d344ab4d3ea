"""Studies in the app: links for readers, how far they are, and the reading itself, on the app's own port.

A reader's page is the one of ``study serve``. It needs no password of the app: its secret link is the key, and it leads
nowhere else.
"""

from functools import cache
from typing import TYPE_CHECKING

from synthcxr.app.workspace import Workspace
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import Json
from synthcxr.study.serving.links import make_links, read_links
from synthcxr.study.serving.server import make_app, open_reading

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

    from synthcxr.study.serving.reading import Reading

READING = "/reading/"


class Readings:
    """The studies of a workspace that are being read, each opened when it is first asked for."""

    def __init__(self, workspace: Workspace) -> None:
        """None is open yet."""
        self._workspace = workspace
        self._open = cache(lambda name: open_reading(workspace.item("studies", name)))
        self._apps = dict[str, "ASGIApp"]()

    def reading(self, name: str) -> "Reading":
        """An open study. Raises UsageError or SynthCXRError where there is none, or it was changed."""
        return self._open(name)

    def new_links(self, name: str) -> Json:
        """New secret paths, the readers' and the owner's; those that were given out before open nothing any more."""
        tokens = make_links(self._workspace.item("studies", name), self.reading(name).readers)
        self._apps.pop(name, None)
        base = f"{READING}{name}"
        return {
            "readers": {reader: f"{base}/r/{token}" for reader, token in tokens.readers.items()},
            "owner": f"{base}/o/{tokens.owner}",
        }

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on to the study that its path names."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse

        name = scope["path"].removeprefix(READING).partition("/")[0]
        try:
            app = self._apps[name] if name in self._apps else await run_in_threadpool(self._start, name)
        except SynthCXRError:
            await PlainTextResponse("This link opens nothing (any more).", 404)(scope, receive, send)
            return
        await app({**scope, "root_path": f"{READING}{name}"}, receive, send)

    def _start(self, name: str) -> "ASGIApp":
        links = read_links(self._workspace.item("studies", name))
        if links is None:
            raise UsageError("No links have been made for this study yet.")
        self._apps[name] = make_app(self.reading(name), links)
        return self._apps[name]


def add_studies(app: "FastAPI", workspace: Workspace) -> None:
    """Links, progress and the readings."""
    from fastapi import Response
    from fastapi.responses import JSONResponse
    from starlette.routing import Mount

    readings = Readings(workspace)

    @app.post("/study/{name}/links")
    def links(name: str) -> Response:
        return JSONResponse(readings.new_links(name))

    @app.get("/study/{name}/progress.json")
    def progress(name: str) -> Response:
        return JSONResponse(readings.reading(name).progress(), headers={"cache-control": "no-store"})

    app.router.routes.append(Mount("/reading", readings))
