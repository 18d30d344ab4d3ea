"""The door: whom it lets in, and what every answer carries."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from synthcxr.app.guard import (
    LARGEST_BODY,
    MOST_TRIES,
    SESSION_HOURS,
    TRIES_SECONDS,
    Guard,
    Password,
    Sessions,
    Tries,
    is_loopback,
)
from synthcxr.errors import UsageError

RIGHT = "correct horse battery"


async def echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def client(**options: Any) -> TestClient:
    routes = [Route(path, echo, methods=["GET", "POST"]) for path in ("/", "/upload", "/r/x")]
    guard = Guard(
        Starlette(routes=routes),
        frozenset({"127.0.0.1:7860"}),
        upload_paths=("/upload",),
        open_paths=("/r/",),
        largest_upload=3 * LARGEST_BODY,
        **options,
    )
    return TestClient(guard, "http://127.0.0.1:7860", follow_redirects=False)


def test_a_name_that_leads_here_by_somebody_elses_dns_is_refused() -> None:
    assert client().get("/").status_code == 200
    assert client().get("/", headers={"host": "evil.example:7860"}).status_code == 421


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_what_changes_something_comes_from_the_apps_own_pages(headers: dict[str, str], status: int) -> None:
    assert client().post("/", headers=headers).status_code == status


def test_bodies_are_bounded_whatever_their_header_says() -> None:
    def chunks(size: int) -> Iterator[bytes]:
        for _ in range(0, size, 100_000):
            yield b"0" * 100_000

    assert client().post("/", content=b"0" * LARGEST_BODY).text == str(LARGEST_BODY)
    assert client().post("/", content=b"0" * (LARGEST_BODY + 1)).status_code == 413
    assert client().post("/", content=chunks(2 * LARGEST_BODY)).status_code == 413
    assert client().post("/upload", content=chunks(2 * LARGEST_BODY)).status_code == 200
    assert client().post("/upload", content=chunks(4 * LARGEST_BODY)).status_code == 413
    assert client().post("/", content=b"", headers={"content-length": "-1"}).status_code == 413


def test_every_answer_forbids_what_lies_elsewhere() -> None:
    for answer in (client().get("/"), client().get("/nothing"), client().get("/", headers={"host": "x"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http:" not in policy and "https:" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_without_the_password_nobody_comes_in() -> None:
    visitor = client(password=Password.of(RIGHT))
    assert visitor.get("/").status_code == 401
    assert visitor.get("/", headers={"accept": "text/html"}).headers["location"] == "/login"
    assert visitor.get("/r/x").status_code == 200, "a reader has a secret link of their own"
    assert visitor.get("/login").status_code == 200
    assert visitor.post("/login", data={"password": "wrong"}).status_code == 401
    assert visitor.get("/", headers={"cookie": "synthcxr=guessed"}).status_code == 401
    entered = visitor.post("/login", data={"password": RIGHT})
    assert entered.status_code == 303
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert visitor.get("/").status_code == 200


def test_guessing_is_slow() -> None:
    now = 0.0
    visitor = client(password=Password.of(RIGHT), tries=Tries(lambda: now))
    for _ in range(MOST_TRIES):
        assert visitor.post("/login", data={"password": "wrong"}).status_code == 401
    assert visitor.post("/login", data={"password": RIGHT}).status_code == 429
    now = TRIES_SECONDS + 1
    assert visitor.post("/login", data={"password": RIGHT}).status_code == 303


def test_a_session_ends() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    one, two = sessions.begin(), sessions.begin()
    sessions.end(one)
    assert sessions.knows(two) and not sessions.knows(one) and not sessions.knows("")
    now = SESSION_HOURS * 3600 + 1
    assert not sessions.knows(two)


def test_a_password_is_kept_as_a_salted_hash() -> None:
    one, two = Password.of(RIGHT), Password.of(RIGHT)
    assert one.digest != two.digest and one.fits(RIGHT) and not one.fits(RIGHT + " ")
    with pytest.raises(UsageError, match="12 characters"):
        Password.of("short")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.8.8.8", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("lab.example", False), ("localhost.evil.example", False)],
)  # fmt: skip
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
