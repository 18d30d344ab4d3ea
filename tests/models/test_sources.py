"""Fetching models: a hub on loopback that speaks the real hub's API to the unmodified huggingface_hub."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models import sources
from synthcxr.models.registry import BUNDLED, REGISTRY, load, resolve
from synthcxr.store import sha256_file

LARGE = ".safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"


@dataclass
class Hub:
    """Repositories by name, each at one commit; what goes wrong; and every request that came in."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and X-Error-Code by repository."""
    cuts: dict[str, int] = field(default_factory=dict)
    """After how many bytes the connection is cut, once, by file."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def storage_url(self) -> str:
        """Another host, as large files have one."""
        return self.url.replace("127.0.0.1", "localhost")

    def commit(self, repository: str) -> str:
        files = self.repositories[repository]
        return hashlib.sha1(b"".join(k.encode() + v for k, v in sorted(files.items()))).hexdigest()

    def serve_folder(self, repository: str, folder: Path) -> dict[str, bytes]:
        self.repositories[repository] = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        return self.repositories[repository]

    def asked(self, method: str, what: str) -> list[str | None]:
        """The Range headers of the requests for something."""
        return [byte_range for m, path, byte_range in self.requests if m == method and what in path]


class Handler(BaseHTTPRequestHandler):
    """The part of the hub's API that a download speaks: revision, tree, resolve with a redirect, and the blobs."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests quiet."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)/?", path):
            repository, what, revision = match.groups()
            if self.known(repository, revision):
                self.send_json(self.describe(repository) if what == "revision" else self.tree(repository))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repository, revision, name = match.groups()
            if self.known(repository, revision):
                self.resolve(repository, name)
        elif match := re.fullmatch(r"/blobs/([^/]+/[^/]+)/(.+)", path):
            repository, name = match.groups()
            self.send_bytes(self.hub.repositories[repository][name], {"ETag": '"of-the-blob"'}, name)
        else:
            self.send(404, b"", {})

    def known(self, repository: str, revision: str) -> bool:
        status, code = self.hub.refusals.get(repository, (0, ""))
        if not status and repository not in self.hub.repositories:
            status, code = 404, "RepoNotFound"
        elif not status and revision not in ("main", self.hub.commit(repository)):
            status, code = 404, "RevisionNotFound"
        if status:
            self.send(status, b"{}", {"X-Error-Code": code} if code else {})
        return not status

    def describe(self, repository: str) -> Any:
        siblings = [{"rfilename": name} for name in self.hub.repositories[repository]]
        return {"id": repository, "sha": self.hub.commit(repository), "siblings": siblings}

    def tree(self, repository: str) -> Any:
        listed = []
        for name, data in self.hub.repositories[repository].items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
            if name.endswith(LARGE):
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            listed.append(entry)
        return listed

    def resolve(self, repository: str, name: str) -> None:
        data = self.hub.repositories[repository].get(name)
        headers = {"X-Repo-Commit": self.hub.commit(repository)}
        if data is None:
            self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        elif name.endswith(LARGE):
            headers |= {"X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
            self.send(302, b"", {**headers, "Location": f"{self.hub.storage_url}/blobs/{repository}/{name}"})
        else:
            self.send_bytes(data, {**headers, "ETag": f'"{git_id(data)}"'}, name)

    def send_json(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send_bytes(self, data: bytes, headers: dict[str, str], name: str) -> None:
        status, whole = 200, len(data)
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            first = int(match[1])
            status, data = 206, data[first:]
            headers = {**headers, "Content-Range": f"bytes {first}-{whole - 1}/{whole}"}
        stop = self.hub.cuts.pop(name, None) if self.command == "GET" else None
        self.send(status, data, {**headers, "Accept-Ranges": "bytes"}, stop)

    def send(self, status: int, data: bytes, headers: dict[str, str], stop: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:stop])
        if stop is not None:
            self.close_connection = True


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()


@dataclass
class Machine:
    """A user's machine: its pins and its hub's cache, and fetching on it in a process of its own."""

    home: Path
    hub: Hub

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
        own = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(self.home / "hub"), "XDG_CONFIG_HOME": str(self.home)}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {**kept, **own, **quiet, **more}

    def fetch(self, *requests: str, form: str = "DIFFUSERS", **more: str) -> list[str]:
        """For each request (sources joined by commas) the folder, or the error's text; one process for all."""
        code = (
            "import json, sys\n"
            "from huggingface_hub import constants\n"
            "from huggingface_hub.utils import _http\n"
            "constants.DOWNLOAD_CHUNK_SIZE = 50_000\n"  # what a cut leaves on the disk is whole chunks, else of 10 MB
            "_http.time.sleep = lambda seconds: None\n"  # a wait between tries, not what is asked
            "from synthcxr.models import sources\n"
            "def one(request):\n"
            "    try:\n"
            f"        return str(sources.fetch('some-model', request.split(','), sources.{form}))\n"
            "    except sources.SynthCXRError as error:\n"
            "        return f'{type(error).__name__}: {error}'\n"
            "print(json.dumps([one(request) for request in sys.argv[1:]]))\n"
            "assert 'torch' not in sys.modules\n"
        )
        command = [sys.executable, "-c", code, *requests]
        done = subprocess.run(
            command, check=False, env=self.environment(**more), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        answers: list[str] = json.loads(done.stdout)
        return answers

    @property
    def pins(self) -> Any:
        return json.loads((self.home / "synthcxr" / "pins.json").read_text())

    def forget_cache(self) -> None:
        shutil.rmtree(self.home / "hub")


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "home", hub)


def test_a_folder_of_transformers_is_fetched_and_pinned_too(hub: Hub, machine: Machine) -> None:
    """As Segment Anything's are: all in one folder; pickled weights alone are refused."""
    files = {"config.json": b"{}", "model.safetensors": b"weights", "preprocessor_config.json": b"{}"}
    hub.repositories["meta/sam"] = files | {"pytorch_model.bin": b"pickled", "README.md": b"about"}
    hub.repositories["meta/old"] = {"config.json": b"{}", "pytorch_model.bin": b"pickled"}
    folder, refused = machine.fetch("meta/sam", "meta/old", form="TRANSFORMERS")
    assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == files
    assert sorted(machine.pins["meta/sam@main"]["files"]) == sorted(files)
    assert "has pickled weights (pytorch_model.bin)" in refused and "A local transformers folder" in refused
    requests = len(hub.requests)
    assert machine.fetch("meta/sam", form="TRANSFORMERS") == [folder]
    assert len(hub.requests) == requests, "what is pinned and here is not asked for"


@pytest.fixture
def whole_model(tmp_path: Path) -> Path:
    """A diffusers folder with all its files and made-up weights: enough for all but loading."""
    folder = tmp_path / "whole"
    for part in ("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        for path in (BUNDLED / part).iterdir() if (BUNDLED / part).is_dir() else [BUNDLED / part]:
            copy = folder / path.relative_to(BUNDLED)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(random.Random(path.name).randbytes(300_000) if path.suffix == LARGE else path.read_bytes())
    return folder


def test_a_model_of_a_hub_draws_the_same_as_its_folder(
    hub: Hub, machine: Machine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np
    from huggingface_hub import constants

    from synthcxr.devices import pick
    from synthcxr.generation.sampler import Request, draw

    served = hub.serve_folder("someone/tiny", tiny_model)
    served |= {"unet/old.bin": b"pickled", "unet/x.fp16.safetensors": b"half", "big.safetensors": b"single file"}
    hub.cuts[UNET] = 100_000
    (folder,) = map(Path, machine.fetch("someone/tiny"))

    assert hub.asked("GET", f"/blobs/someone/tiny/{UNET}") == [None, "bytes=100000-"]
    here = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert here == {name: served[name] for name in sources.fetched_files(tiny_model)}
    pin = machine.pins["someone/tiny@main"]
    assert pin["commit"] == hub.commit("someone/tiny")
    assert pin["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in here.items()}

    monkeypatch.setenv("XDG_CONFIG_HOME", str(machine.home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(machine.home / "hub" / "hub"))
    monkeypatch.setattr("synthcxr.models.sources.sha256_file", counted := Counted(sha256_file))
    fetched = load("someone/tiny", pick("cpu"))
    assert sorted(counted.paths) == sorted(set(counted.paths)), "a file was hashed twice"
    assert fetched.sha256 == load(str(tiny_model), pick("cpu")).sha256
    requests = [Request("chest x-ray", "", 7)]
    pictures = [draw(m, requests, steps=2, guidance=2.0) for m in (fetched, load(str(tiny_model), pick("cpu")))]
    assert np.array_equal(pictures[0], pictures[1])


class Counted:
    """A function of a path that remembers what it was called with."""

    def __init__(self, function: Any) -> None:
        self.function, self.paths = function, list[str]()

    def __call__(self, path: Path) -> Any:
        self.paths.append(str(path))
        return self.function(path)


def test_each_source_that_fails_is_named_with_its_reason(hub: Hub, machine: Machine, whole_model: Path) -> None:
    hub.serve_folder("mirror/tiny", whole_model)
    hub.refusals |= {
        "hidden/tiny": (401, "RepoNotFound"),
        "gated/tiny": (403, "GatedRepo"),
        "busy/tiny": (429, ""),
        "broken/tiny": (500, ""),
    }
    mirrored, gone, hidden, gated, busy, broken, revision, folder = machine.fetch(
        "gone/tiny,mirror/tiny",
        "gone/tiny",
        "hidden/tiny",
        "gated/tiny",
        "busy/tiny",
        "broken/tiny",
        "mirror/tiny@v9",
        "/nowhere/tiny,gone/tiny",
    )
    assert (Path(mirrored) / UNET).is_file(), mirrored
    assert list(machine.pins) == ["mirror/tiny@main"]
    assert "gone/tiny: is not there (404)" in gone and "another source" in gone and "local diffusers folder" in gone
    assert "(401)" in hidden and "hf auth login" in hidden
    assert "(403)" in gated and "hf auth login" in gated and "accept the licence of gated/tiny" in gated
    assert "(429)" in busy and "Wait some minutes" in busy
    assert "the hub failed (500)" in broken
    assert "no such revision" in revision
    assert "/nowhere/tiny: is no diffusers folder" in folder and "gone/tiny: is not there" in folder


def test_only_whole_folders_of_safetensors_are_fetched(hub: Hub, machine: Machine, whole_model: Path) -> None:
    pickled = hub.serve_folder("a/pickled", whole_model)
    pickled["unet/diffusion_pytorch_model.bin"] = pickled.pop(UNET)
    del hub.serve_folder("a/partless", whole_model)[UNET]
    hub.repositories["a/single"] = {"model.ckpt": b"pickled", "README.md": b"#"}
    hub.repositories["a/text"] = {"README.md": b"#"}
    of_pickles, of_a_part, of_one_file, of_text = machine.fetch("a/pickled", "a/partless", "a/single", "a/text")
    assert "its part unet has pickled weights only" in of_pickles and "synthcxr convert" in of_pickles
    assert "the part unet lacks its weights" in of_a_part
    assert "pickled weights (model.ckpt)" in of_one_file
    assert "no model_index.json" in of_text
    assert not hub.asked("GET", "/blobs/") and not hub.asked("GET", ".bin"), "weights were fetched before the refusal"
    assert not (machine.home / "synthcxr" / "pins.json").exists()


def test_a_file_that_changes_at_the_hub_is_refused(hub: Hub, machine: Machine, whole_model: Path) -> None:
    files, name = hub.serve_folder("someone/tiny", whole_model), "scheduler/scheduler_config.json"
    machine.fetch("someone/tiny")
    first, before = hub.commit("someone/tiny"), hashlib.sha256(files[name]).hexdigest()
    files[name] = files[name].replace(b"v_prediction", b"epsilon")
    hub.requests.clear()
    (kept,) = machine.fetch("someone/tiny")
    assert Path(kept).name == first and not hub.requests, "what is here and as it was needs no hub"

    machine.forget_cache()
    hub.serve_folder("other/tiny", whole_model)
    (changed,) = machine.fetch("someone/tiny,other/tiny")
    after = hashlib.sha256(files[name]).hexdigest()
    assert changed.startswith("ChangedError") and f"{name}: was {before}, is {after}" in changed
    assert f"someone/tiny@{first}" in changed and "pins.json" in changed
    assert list(machine.pins) == ["someone/tiny@main"]


def test_a_copy_that_was_altered_on_the_disk_is_refused(hub: Hub, machine: Machine, whole_model: Path) -> None:
    hub.serve_folder("someone/tiny", whole_model)
    (folder,) = machine.fetch("someone/tiny")
    weights = (Path(folder) / UNET).resolve()
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (altered,) = machine.fetch("someone/tiny")
    assert altered.startswith("ChangedError") and UNET in altered and "altered on this machine" in altered
    weights.unlink()  # as it is after the folder was removed: fetched anew
    (anew,) = machine.fetch("someone/tiny")
    assert (Path(anew) / UNET).read_bytes() == data


def test_settings_alone_are_fetched_and_pinned_apart(hub: Hub, machine: Machine, whole_model: Path) -> None:
    """Configs and tokenizer, as a prompt's length or a single file needs them; the whole model may come later."""
    files = hub.serve_folder("someone/tiny", whole_model)
    (folder,) = machine.fetch("someone/tiny", form="SETTINGS")
    here = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    assert here == {name for name in files if not name.endswith(LARGE)} and not hub.asked("GET", "/blobs/")
    assert machine.fetch("someone/tiny") == [folder] and (Path(folder) / UNET).is_file()
    assert {key: len(pin["files"]) for key, pin in machine.pins.items()} == {
        "someone/tiny@main settings": len(here),
        "someone/tiny@main": len(files),
    }
    requests = len(hub.requests)
    assert machine.fetch("someone/tiny", form="SETTINGS") == [folder] and len(hub.requests) == requests

    machine.forget_cache()
    files["tokenizer/vocab.json"] += b" "
    (changed,) = machine.fetch("someone/tiny", form="SETTINGS")
    assert changed.startswith("ChangedError") and "tokenizer/vocab.json" in changed
    del files["tokenizer/tokenizer.json"], files["tokenizer/vocab.json"]
    hub.repositories["other/tiny"] = files
    (partless,) = machine.fetch("other/tiny", form="SETTINGS")
    assert "the part tokenizer lacks its files" in partless


def test_a_folder_copied_without_its_weights_has_settings(whole_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole_model, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    index = {"weight_map": {"a": "first.safetensors"}}
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))
    sources.check_folder(folder, sources.SETTINGS)
    with pytest.raises(SynthCXRError, match="lacks its weights"):
        sources.check_folder(folder)


def test_without_the_network(hub: Hub, machine: Machine, whole_model: Path) -> None:
    hub.serve_folder("someone/tiny", whole_model)
    (folder,) = machine.fetch("someone/tiny")
    (machine.home / "synthcxr" / "pins.json").unlink()  # fetched by another tool
    away = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert machine.fetch("someone/tiny", HF_HUB_OFFLINE="1") == [folder]
    assert machine.fetch("someone/tiny", "other/tiny", **away)[0] == folder
    (off,) = machine.fetch("other/tiny", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in off and "other/tiny" in off
    (cut,) = machine.fetch("other/tiny", **away)
    assert "the network failed" in cut and "Look at the connection" in cut


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        (UNET, "the part unet lacks its weights"),
        ("vae/config.json", "the part vae lacks its files"),
        ("scheduler/scheduler_config.json", "the part scheduler lacks"),
    ],
)
def test_a_folder_that_lacks_a_part_is_refused_before_loading(
    whole_model: Path, tmp_path: Path, removed: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import DiffusionPipeline

    from synthcxr.devices import pick

    folder = Path(shutil.copytree(whole_model, tmp_path / "model"))
    (folder / removed).unlink()
    monkeypatch.setattr(DiffusionPipeline, "from_pretrained", lambda *_, **__: pytest.fail("something was loaded"))
    with pytest.raises(SynthCXRError, match=said):
        load(str(folder), pick("cpu"))


def test_a_shard_that_an_index_names_must_be_there(whole_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole_model, tmp_path / "model"))
    index = {"weight_map": {"a": Path(UNET).name, "b": "second.safetensors"}}
    (folder / f"{UNET}.index.json").write_text(json.dumps(index))
    with pytest.raises(SynthCXRError, match=r"unet/second\.safetensors is missing"):
        sources.check_folder(folder)


def test_what_is_no_diffusers_folder_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no model"):
        resolve(str(tmp_path))
    (tmp_path / "sd.ckpt").write_bytes(b"pickled")
    for path in (tmp_path, tmp_path / "sd.ckpt"):
        with pytest.raises(UsageError, match=r"pickled weights \(sd\.ckpt\)"):
            resolve(str(path))


def test_pins_that_cannot_be_kept_say_what_to_do(
    whole_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="XDG_CONFIG_HOME"):
        sources.check_pins("someone/tiny", whole_model)


def test_the_named_models_begin_with_their_publisher() -> None:
    assert REGISTRY["sd21-base"].sources[0] == "stabilityai/stable-diffusion-2-1-base"
    assert len(REGISTRY["sd21-base"].sources) == 3
    assert REGISTRY["sd15"].sources == ("stable-diffusion-v1-5/stable-diffusion-v1-5",)
