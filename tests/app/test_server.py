"""The app over HTTP: what bad input gets, and that nothing outside of the workspace can be had."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from synthcxr import GenerateConfig, PrepareConfig, generate, prepare
from synthcxr.app import uploads
from synthcxr.app.guard import Guard
from synthcxr.app.jobs import Jobs
from synthcxr.app.server import make_app, names_of, read_password
from synthcxr.app.workspace import Workspace
from synthcxr.config import AppConfig
from synthcxr.errors import UsageError
from synthcxr.images import encode_png
from tests.conftest import made_up_xray, plain_config, write_source

PROMPT = "<script>alert(1)</script> & <img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Workspace:
    """One with a dataset, a set and an upload, beside a secret."""
    outer = tmp_path_factory.mktemp("outer")
    (outer / "secret.png").write_bytes(encode_png(made_up_xray(1)))
    made = Workspace(outer / "work")
    prepare(plain_config(write_source(outer / "in", 6), made.root / "datasets" / "one"))
    generate(GenerateConfig(model=str(tiny_model), prompt=PROMPT, count=2, steps=1, out=made.root / "sets" / "one"))
    (made.root / "sets" / "one" / "train" / "out.png").symlink_to(outer / "secret.png")
    (made.root / "uploads" / "files").mkdir()
    (made.root / "uploads" / "files" / "a.png").write_bytes(encode_png(made_up_xray(2)))
    (made.root / "uploads" / "files" / "page.html").write_text("<script>alert(1)</script>")
    return made


@pytest.fixture
def jobs(workspace: Workspace) -> Jobs:
    return Jobs(workspace.root / ".app" / "jobs.sqlite3")


@pytest.fixture
def client(workspace: Workspace, jobs: Jobs) -> Iterator[TestClient]:
    guard = partial(Guard, hosts=frozenset({"testserver"}), upload_paths=("/uploads/",), largest_upload=2**21)
    with TestClient(make_app(workspace, jobs, guard)) as made:
        yield made


PAGES = ("/", "/data", "/train", "/generate", "/clean", "/evaluate", "/study", "/export", "/jobs", "/edit", "/compare",
         "/item/sets/one", "/item/datasets/one", "/item/uploads/files")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_and_names_nothing_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert "http://" not in answer.text.replace("http://www.w3.org", "") and "https://" not in answer.text
    assert " style=" not in answer.text and "<style" not in answer.text, "the policy forbids styles in the page"


def test_prompts_and_names_are_text(client: TestClient) -> None:
    page = client.get("/item/sets/one").text
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script&gt;alert" in page
    echoed = client.get("/generate", params={"prompt": PROMPT}).text
    assert "<script>alert" not in echoed and "&lt;script&gt;" in echoed
    assert "Synthetic — not for diagnosis" in page


@pytest.mark.parametrize(
    "path",
    [
        "/picture/sets/one/../../../secret.png",
        "/picture/sets/one/%2e%2e/%2e%2e/%2e%2e/secret.png",
        "/picture/sets/one/..%2f..%2f..%2fsecret.png",
        "/picture/sets/one/train/out.png",
        "/picture/sets/..%2f..%2f/secret.png",
        "/picture/sets/one//etc/passwd",
        "/picture/.app/one/x.png",
        "/picture/sets/one/.lock",
        "/report/sets/one//etc/passwd",
        "/report/uploads/files/a.png%00.html",
        "/provenance/sets/../../secret.png",
        "/proof/one/x.png",
        "/download/sets/..%2f..zip",
        "/download/sets/nothing.zip",
        "/item/sets/..",
        "/static/..%2fserver.py",
        "/static/app.py",
        "/reading/one/r/x",
        "/reading/../r/x",
    ],
)
def test_nothing_outside_can_be_read(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (404, 422), answer.text
    assert b"PNG" not in answer.content and b"root:" not in answer.content


def test_reports_run_no_scripts(client: TestClient) -> None:
    answer = client.get("/report/uploads/files/page.html")
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy and "allow-scripts" not in policy and "script-src" not in policy
    assert "default-src 'none'" in policy


def test_a_folder_is_fetched_whole(client: TestClient, workspace: Workspace) -> None:
    packed = zipfile.ZipFile(io.BytesIO(client.get("/download/datasets/one.zip").content))
    assert packed.testzip() is None
    names = {name.removeprefix("one/") for name in packed.namelist()}
    folder = workspace.root / "datasets" / "one"
    assert names == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {".lock"}


def bomb() -> bytes:
    """A small PNG that says it has 100,000 × 100,000 pixels."""
    head = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    part = (13).to_bytes(4, "big") + head + zlib.crc32(head).to_bytes(4, "big")
    data = zlib.compress(b"\0" * 1000)
    body = len(data).to_bytes(4, "big") + b"IDAT" + data + zlib.crc32(b"IDAT" + data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + part + body


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"just text", "is no PNG"),
        ("a.zip", b"PK\x03\x04" + bytes(100), "Unpack archives first"),
        ("a.png", b"PK\x03\x04" + bytes(100), "Unpack archives first"),
        ("a.pt", b"\x80\x04\x95", "is no PNG"),
        ("a.csv", b"a,b\0c", "is no PNG"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "damaged"),
        ("a.png", bomb(), "million pixels|damaged"),
        ("a.svg", b"<svg onload=alert(1)>", "is no PNG"),
    ],
)
def test_uploads_that_are_not_what_they_say(
    client: TestClient, workspace: Workspace, name: str, content: bytes, words: str
) -> None:
    answer = client.post(f"/uploads/bad/{name}", content=content)
    assert answer.status_code == 422
    import re

    assert re.search(words, answer.json()["error"])
    assert list((workspace.root / "uploads" / "bad").iterdir()) == [], "something was left behind"


def test_uploads_keep_their_bytes_and_get_safe_names(client: TestClient, workspace: Workspace) -> None:
    image = encode_png(made_up_xray(3))
    names = [client.post("/uploads/good/" + name, content=image).json()["name"] for name in
             ("chest.png", "chest.png", "..%5c..%5cevil.jpg", "ümläut ray.dcm", ".hidden.png")]  # fmt: skip
    assert names == ["chest.png", "chest-2.png", "evil.png", "_ml_ut_ray.png", "hidden.png"]
    folder = workspace.root / "uploads" / "good"
    assert all((folder / name).read_bytes() == image for name in names)
    assert {path.name for path in folder.iterdir()} == set(names)


def test_too_much_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.post("/uploads/large/a.png", content=b"0" * (2**21 + 1)).status_code == 413
    monkeypatch.setattr(uploads, "MOST_FILES", 1)
    image = encode_png(made_up_xray(3))
    assert client.post("/uploads/many/a.png", content=image).status_code == 200
    assert "takes 1 files" in client.post("/uploads/many/b.png", content=image).json()["error"]


def test_a_full_workspace_is_a_sentence(workspace: Workspace, jobs: Jobs) -> None:
    full = Workspace(workspace.root, quota_gb=1e-9)
    client = TestClient(make_app(full, jobs, partial(Guard, hosts=None)))
    answer = client.post("/uploads/more/a.png", content=encode_png(made_up_xray(3)))
    assert answer.status_code == 507 and "--quota-gb" in answer.json()["error"]
    wanted = {"verb": "generate", "name": "more", "values": {"prompt": "x"}}
    assert client.post("/jobs", json=wanted).status_code == 507


def test_jobs_come_and_go(client: TestClient, jobs: Jobs) -> None:
    wanted = {"verb": "generate", "name": "asked", "values": {"prompt": "x", "count": 2}}
    job = client.post("/jobs", json=wanted).json()["id"]
    state = client.get(f"/jobs/{job}.json").json()
    assert state["state"] == "waiting" and state["out"] == "sets/asked" and "--count 2" in state["command"]
    assert "already waiting" in client.post("/jobs", json=wanted).json()["error"]
    assert client.post(f"/jobs/{job}/explode").status_code == 422
    assert client.post(f"/jobs/{job}/cancel").status_code == 200
    assert client.get(f"/jobs/{job}.json").json()["state"] == "cancelled"
    assert client.post(f"/jobs/{job}/forget").status_code == 200
    assert client.get(f"/jobs/{job}.json").status_code == 422
    for wrong in ({"prompt": ""}, {"model": "nothing"}, {"prompt": "x", "steps": -1}):
        answer = client.post("/jobs", json={"verb": "generate", "name": "wrong", "values": wrong})
        assert answer.status_code == 422 and answer.json()["error"]
    assert client.post("/jobs", json={"verb": 1}).status_code == 422


def test_what_a_job_writes_is_not_deleted(client: TestClient, workspace: Workspace, jobs: Jobs) -> None:
    folder = workspace.root / "datasets" / "busy"
    job = jobs.add("prepare", PrepareConfig(source_path=workspace.root, out=folder))
    folder.mkdir()
    assert "Stop it first" in client.post("/remove/datasets/busy").json()["error"]
    jobs.cancel(job.id)
    assert client.post("/remove/datasets/busy").status_code == 200 and not folder.exists()


def test_pictures_are_made_smaller_but_fetched_as_they_are(client: TestClient, workspace: Workspace) -> None:
    from PIL import Image

    place = next((workspace.root / "sets" / "one" / "train").glob("0*.png"))
    assert client.get(f"/picture/sets/one/train/{place.name}").content == place.read_bytes()
    small = Image.open(io.BytesIO(client.get(f"/picture/sets/one/train/{place.name}?side=16").content))
    assert max(small.size) == 16 and np.asarray(small).std() > 0
    assert client.get(f"/provenance/sets/one/train/{place.name}").json()["text"] == PROMPT


def test_an_address_for_others_needs_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTHCXR_PASSWORD", raising=False)
    assert read_password(AppConfig(host="127.0.0.1")) is None
    with pytest.raises(UsageError, match="others could reach"):
        read_password(AppConfig(host="0.0.0.0"))
    (tmp_path / "password").write_text("long enough to be one\n")
    assert read_password(AppConfig(host="0.0.0.0", password_file=tmp_path / "password"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_password(AppConfig(password_file=tmp_path / "nothing"))
    assert "cxr.example.org" in names_of(AppConfig(site=["CXR.example.org"]), 7860)
