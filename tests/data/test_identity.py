"""Keys, pseudonyms, and the list that leads back."""

import hashlib
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthcxr.data.identity import fingerprint, key_file, links_file, load_key, pseudonym, write_links
from synthcxr.errors import UsageError


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "patient.key"
    key = load_key(file, tmp_path / "out")
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert load_key(file, tmp_path / "out") == key
    assert load_key(tmp_path / "other.key", tmp_path / "out") != key
    assert [path.name for path in file.parent.iterdir()] == ["patient.key"]


def test_processes_that_come_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_key(tmp_path / "patient.key", tmp_path / "out"), range(32)))
    assert len(keys) == 1


def test_the_key_lies_in_the_home_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file(None) == tmp_path / ".config/synthcxr/patient.key"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert key_file(None) == tmp_path / "x/synthcxr/patient.key"


def test_a_key_inside_the_dataset_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "link").symlink_to(out)
    for place in (out / "patient.key", out / "deep" / "k", tmp_path / "link" / "k", out / ".." / "out" / "k"):
        with pytest.raises(UsageError, match="inside the dataset"):
            load_key(place, out)
    assert not out.exists()


@pytest.mark.parametrize("content", ["", "not hexadecimal", "abcd", "ab" * 31, "\xff" * 64])
def test_what_is_no_key_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "k"
    file.write_text(content, encoding="latin-1")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="key"):
        load_key(file, tmp_path / "out")


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_key_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    load_key(tmp_path / "k", tmp_path / "out")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_key(tmp_path / "k", tmp_path / "out")


def test_a_place_that_cannot_be_written_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used"):
        load_key(tmp_path / "file" / "k", tmp_path / "out")


def test_a_pseudonym_is_the_hmac_of_kind_and_id() -> None:
    key = bytes(range(32))
    expected = hmac.new(key, b"patient\0DOE", hashlib.sha256).hexdigest()[:20]
    assert pseudonym(key, "patient", "DOE") == expected == "9efce616b9c9867588f2"  # openssl dgst -mac HMAC
    assert pseudonym(key, "study", "DOE") != expected
    assert pseudonym(bytes(32), "patient", "DOE") != expected
    assert len(pseudonym(key, "file", os.fsdecode(b"\xff\xfe"))) == 20  # a name that is no UTF-8
    assert fingerprint(key) == fingerprint(key) != fingerprint(bytes(32))


@given(st.text(), st.text())
def test_different_ids_have_different_pseudonyms_that_hold_nothing_of_them(first: str, second: str) -> None:
    one, other = (pseudonym(b"k" * 32, "patient", value) for value in (first, second))
    assert (one == other) == (first == second)
    assert set(one) <= set("0123456789abcdef")


def test_links_lie_beside_the_key(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "patient.key"
    key.parent.mkdir()
    links = [("patient", "0a", "Dœ^Jane"), ("file", "0b", "=cmd|' /C calc'!A0")]
    file = write_links(key, tmp_path / "out", iter(links))
    assert file == links_file(key, tmp_path / "out")
    assert file.parent == key.parent
    assert file.stat().st_mode & 0o777 == 0o600
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["kind"], row["pseudonym"], row["original"]) for row in rows] == links
    assert links_file(key, tmp_path / "elsewhere" / "out") != file  # of the same name, in another place
