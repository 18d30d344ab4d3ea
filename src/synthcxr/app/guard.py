"""The door to the app: who may come in, from where, with how much.

On a loopback address everybody on the machine may; on any other a password is needed. Either way a request must name
the app's own host (against DNS rebinding), one that changes something must come from the app's own pages (against
forgery), and no page may load anything from elsewhere.
"""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from synthcxr.errors import UsageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "synthcxr"
SESSION_HOURS = 12
SHORTEST_PASSWORD = 12
MOST_TRIES, TRIES_SECONDS = 5, 60.0
"""Wrong passwords of one address within this time, after which it waits."""
MOST_TRIES_OF_ALL = 60
"""The same of all addresses together."""
LARGEST_BODY = 1_000_000
"""Bytes of any request that is no upload."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LOGIN = "/login"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
"""On every answer. `frame-src 'self'` is for reports, which the app shows in a frame without scripts."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is open to this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


# --- passwords --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Password:
    """A password as it is kept: salt and scrypt's hash."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> "Password":
        """Hash a password. Raises UsageError for a short one."""
        if len(password) < SHORTEST_PASSWORD:
            raise UsageError(f"The password needs at least {SHORTEST_PASSWORD} characters.")
        salt = secrets.token_bytes(16)
        return cls(salt, _scrypt(password, salt))

    def fits(self, password: str) -> bool:
        """Whether this is the one; takes the same time whether it is or not."""
        return hmac.compare_digest(_scrypt(password, self.salt), self.digest)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=2**14, r=8, p=1, maxmem=64 * 2**20)


@dataclass
class Tries:
    """Counts wrong passwords, of each address and of all together."""

    clock: Callable[[], float] = time.monotonic
    _wrong: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def must_wait(self, address: str) -> bool:
        """Whether this address has to wait before it may try again."""
        return self._count(address) >= MOST_TRIES or self._count("") >= MOST_TRIES_OF_ALL

    def note(self, address: str) -> None:
        """Note a wrong one."""
        for key in (address, ""):
            self._wrong[key].append(self.clock())

    def _count(self, key: str) -> int:
        times = self._wrong[key]
        while times and times[0] < self.clock() - TRIES_SECONDS:
            times.popleft()
        if not times and key:
            del self._wrong[key]
        return len(times)


class Sessions:
    """Who has logged in: random names, known to this process alone, so that a restart ends them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody has yet."""
        self._clock, self._ends = clock, dict[str, float]()

    def begin(self) -> str:
        """A new session's secret."""
        now = self._clock()
        self._ends = {name: end for name, end in self._ends.items() if end > now}
        secret = secrets.token_urlsafe(32)
        self._ends[_hash(secret)] = now + SESSION_HOURS * 3600
        return secret

    def knows(self, secret: str) -> bool:
        """Whether this is the secret of a session that is not over."""
        return self._ends.get(_hash(secret), 0.0) > self._clock()

    def end(self, secret: str) -> None:
        """Log out."""
        self._ends.pop(_hash(secret), None)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


# --- the middleware ---------------------------------------------------------------------------------------


@dataclass
class Guard:
    """Looks at every request before the app does.

    `hosts` are what the header Host may be, port included, or None for any (behind a proxy, with a password).
    `upload_paths` begin the paths that may carry up to `largest_upload` bytes. `open_paths` need no password.
    """

    app: "ASGIApp"
    hosts: frozenset[str] | None
    password: Password | None = None
    largest_upload: int = 2**30
    upload_paths: tuple[str, ...] = ()
    open_paths: tuple[str, ...] = ()
    login_page: Callable[[str], str] = lambda message: message
    tries: Tries = field(default_factory=Tries)
    sessions: Sessions = field(default_factory=Sessions)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it in a sentence."""
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here talks by web socket
            await send({"type": "websocket.close", "code": 1008})
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection.headers.get("host", ""), connection.headers.get("origin"), scope)
        if refusal:
            await _with_headers(PlainTextResponse(*refusal))(scope, receive, send)
            return
        if not await self._let_in(scope, receive, send):
            return
        await self._pass_on(scope, receive, send)

    def _refusal(self, host: str, origin: str | None, scope: "Scope") -> tuple[str, int] | None:
        if self.hosts is not None and host.lower() not in self.hosts:
            return "This address is not the app's.", 421
        changes = scope["method"] not in SAFE_METHODS
        site = dict(scope["headers"]).get(b"sec-fetch-site", b"same-origin")
        if changes and (site not in (b"same-origin", b"none") or (origin and urlsplit(origin).netloc != host)):
            return "This request comes from another site.", 403
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._limit(scope["path"]):
            return "This is too large.", 413
        return None

    def _limit(self, path: str) -> int:
        return self.largest_upload if path.startswith(self.upload_paths or ("\0",)) else LARGEST_BODY

    async def _let_in(self, scope: "Scope", receive: "Receive", send: "Send") -> bool:
        """Whether the request may pass; if not, it has been answered."""
        from starlette.requests import Request
        from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse

        path = scope["path"]
        if self.password is None or (self.open_paths and path.startswith(self.open_paths)):
            return True
        request = Request(scope, receive)
        if path == LOGIN:
            response: Response = (
                await self._log_in(request) if request.method == "POST" else HTMLResponse(self.login_page(""))
            )
        elif self.sessions.knows(_cookie(request)):
            return True
        elif request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            response = RedirectResponse(LOGIN, 303)
        else:
            response = PlainTextResponse("Log in first.", 401)
        await _with_headers(response)(scope, receive, send)
        return False

    async def _log_in(self, request: "Request") -> "Response":
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import HTMLResponse, RedirectResponse

        assert self.password is not None
        address = request.client.host if request.client else ""
        if self.tries.must_wait(address):
            return HTMLResponse(self.login_page("Too many wrong passwords. Wait a minute, then try again."), 429)
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not await run_in_threadpool(self.password.fits, form.get("password", [""])[0]):
            self.tries.note(address)
            return HTMLResponse(self.login_page("That is not the password."), 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            self.sessions.begin(),
            max_age=SESSION_HOURS * 3600,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def _pass_on(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Count the body's bytes, whatever its header said, and put the headers on the answer."""
        from starlette.exceptions import HTTPException

        left = self._limit(scope["path"])

        async def counted() -> "Message":
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, "This is too large.")  # the app answers with it
            return message

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in own]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self.app(scope, counted, guarded)


def _with_headers(response: "Response") -> "Response":
    response.headers.update(HEADERS)
    return response


def _cookie(request: "Request") -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
