"""``study serve``: the reading over HTTP. Responses of one kind have the same headers and, padded, the same length."""

import json
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from synthcxr.config import StudyServeConfig
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.progress import say
from synthcxr.store import Json
from synthcxr.study.folder import TRUTH, load
from synthcxr.study.serving.database import SERVED, Database, Given
from synthcxr.study.serving.links import Links, Tokens, make_links, read_links
from synthcxr.study.serving.pictures import load_pictures
from synthcxr.study.serving.reading import Reading, RefusedError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
CONTENT = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
PADDED = 4096
"""JSON is filled with spaces to a multiple of this many bytes."""
LARGEST_BODY = 200_000
STATUS = {"no-image": 404, "invalid": 422}
"""HTTP status of a refusal; every other is 409, a conflict with what is stored."""

HEADERS = {
    "cache-control": "no-store, no-transform",  # a proxy that compressed would let lengths tell
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",  # the address is the secret
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


class Submitted(BaseModel):
    """An answer as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    session: Annotated[str, Field(max_length=64)]
    nonce: Annotated[str, Field(min_length=8, max_length=64)]
    position: Annotated[int, Field(ge=1)]
    answer: Annotated[str, Field(max_length=16)]
    confidence: Annotated[int | None, Field(ge=1, le=5)] = None
    ratings: dict[str, int] = {}
    comment: Annotated[str, Field(max_length=10_000)] = ""
    seconds: Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]

    def given(self) -> Given:
        """The part that is stored."""
        return Given(
            nonce=self.nonce,
            answer=self.answer,
            confidence=self.confidence,
            seconds=self.seconds,
            ratings=self.ratings,
            comment=self.comment.strip(),
        )


class Reason(BaseModel):
    """Why the owner opens the results before the end."""

    why: Annotated[str, Field(max_length=2_000)]


def serve(config: StudyServeConfig) -> Path:
    """Serve a study until it is stopped; return its folder.

    The secret links are printed the first time, or with `new_links`. Raises UsageError where the folder holds no
    planned study or the address cannot be had, SynthCXRError where anything in the folder was changed.
    """
    reading = open_reading(config.study)
    with listen(config.host, config.port) as listener:
        port = listener.getsockname()[1]
        links = None if config.new_links else read_links(config.study)
        if links is None:
            _print_links(
                make_links(config.study, reading.readers), config.url or f"http://{_shown(config.host)}:{port}"
            )
            links = read_links(config.study)
            assert links is not None
        else:
            say("The links are those that were printed before; --new-links makes others.")
        say(f"Serving {config.study} on {config.host}, port {port}. Ctrl-C stops it; the answers are on the disk.")
        try:
            run(make_app(reading, links), listener)
        except KeyboardInterrupt:
            pass
        finally:
            reading.database.close()
    return config.study


def open_reading(folder: Path, readers: Sequence[str] = (), simulated: Json | None = None) -> Reading:
    """Prove a study unchanged and open its answers; `readers` stand for the protocol's in a simulation alone."""
    study = load(folder)
    if study.protocol is None:
        raise UsageError(f"{folder} has no protocol to read by. Make the study with `synthcxr study new`.")
    if not (readers or study.protocol.readers):
        raise UsageError(f"{folder} names no readers. Make it with `synthcxr study new --reader NAME`, once a reader.")
    fingerprint = study.manifest["files"][TRUTH]["sha256"]
    pictures = load_pictures(folder, study.rows)
    database = Database(folder / SERVED, fingerprint, simulated)
    return Reading(study, study.protocol, pictures, database, tuple(readers) or study.protocol.readers)


def run(app: "ASGIApp", listener: socket.socket) -> None:
    """Serve an app on an open socket until the process is told to stop. Nothing is logged: addresses are secrets."""
    import uvicorn

    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        http="h11",
        ws="none",
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(settings).run(sockets=[listener])


def make_app(reading: Reading, links: Links) -> "FastAPI":
    """The web application of a reading."""
    from fastapi import Depends, FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    files = {path.name: path.read_bytes() for path in STATIC.iterdir()}

    def page(name: str, status: int = 200) -> Response:
        return Response(files[name], status, HEADERS, CONTENT[Path(name).suffix])

    def reply(value: Any, status: int = 200) -> Response:
        data = json.dumps(value, ensure_ascii=False).encode()
        return Response(data.ljust(-(-len(data) // PADDED) * PADDED), status, HEADERS, "application/json")

    def known_reader(token: str) -> str:
        reader = links.reader(token)
        if reader is None or reader not in reading.readers:
            raise RefusedError("no-link", "This link opens nothing (any more). Ask whoever runs the study for yours.")
        return reader

    def owner(token: str) -> None:
        if not links.is_owner(token):
            raise RefusedError("no-link", "This link opens nothing (any more).")

    @app.exception_handler(RefusedError)
    def refused(_: Request, error: RefusedError) -> Response:
        if error.word == "no-link":
            return page("no-link.html", 404)
        return reply({"error": error.word, "sentence": error.sentence}, STATUS.get(error.word, 409))

    @app.exception_handler(SynthCXRError)
    def failed(_: Request, error: SynthCXRError) -> Response:
        return reply({"error": "failed", "sentence": str(error)}, 409)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> Response:
        where = ", ".join(str(part) for item in error.errors() for part in item["loc"][1:2])
        return reply({"error": "invalid", "sentence": f"This is no answer: {where or 'its form'} is wrong."}, 422)

    Reader = Annotated[str, Depends(known_reader)]

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return page(name) if name in files and not name.endswith(".html") else page("no-link.html", 404)

    @app.get("/r/{token}")
    def reader_page(reader: Reader) -> Response:
        return page("reader.html")

    @app.post("/r/{token}/open")
    def open_session(reader: Reader) -> Response:
        return reply(reading.open(reader, secrets.token_urlsafe(16)))

    @app.get("/r/{token}/pen/{session}")
    def pen(reader: Reader, session: str) -> Response:
        return reply({"pen": reading.holds_pen(reader, session)})

    @app.get("/r/{token}/image/{position}/{place}")
    def image(reader: Reader, position: int, place: int) -> Response:
        return Response(reading.image(reader, position, place), 200, HEADERS, "application/octet-stream")

    @app.post("/r/{token}/answer")
    def answer(reader: Reader, submitted: Submitted) -> Response:
        return reply(reading.answer(reader, submitted.session, submitted.position, submitted.given()))

    @app.get("/o/{token}", dependencies=[Depends(owner)])
    def owner_page() -> Response:
        return page("owner.html")

    @app.get("/o/{token}/progress", dependencies=[Depends(owner)])
    def progress() -> Response:
        return reply(reading.progress())

    @app.post("/o/{token}/unblind", dependencies=[Depends(owner)])
    def unblind(reason: Reason) -> Response:
        reading.unblind(reason.why)
        return reply(reading.progress())

    @app.get("/{rest:path}")
    def nothing(rest: str) -> Response:
        return page("no-link.html", 404)

    app.add_middleware(SmallBodies)
    return app


class SmallBodies:
    """Refuses a body that says no length, or too great a one, before it is read."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or answer 413."""
        from starlette.responses import Response

        if scope["type"] == "http" and scope["method"] == "POST":
            length = dict(scope["headers"]).get(b"content-length", b"")
            if not length.isdigit() or int(length) > LARGEST_BODY:
                await Response(status_code=413, headers=HEADERS)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def listen(host: str, port: int) -> socket.socket:
    """An open socket; port 0 takes a free one. Raises UsageError where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=256)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else head and body of a reply lie 40 ms apart
        return listener
    except OSError as error:
        raise UsageError(
            f"{host}, port {port}, cannot be listened on: {error.strerror}. Choose another --port or --host."
        ) from None


def _shown(host: str) -> str:
    """A host as an address has it; where all of the machine's are listened on, the machine's name."""
    if host in ("", "0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _print_links(tokens: Tokens, base: str) -> None:
    base = base.rstrip("/")
    say("These links are secrets, and are shown this once. Give each reader theirs alone; the owner's is yours.")
    for reader, token in tokens.readers.items():
        print(f"{reader}\t{base}/r/{token}", flush=True)
    print(f"(owner)\t{base}/o/{tokens.owner}", flush=True)
