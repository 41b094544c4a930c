"""Where keys come from, and which requests they let in."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from localprobe.errors import DataError, LocalprobeWarning
from localprobe.serve.guard.keys import Keys, read_keys
from tests.serve.tiny import tiny

KEYS = ("first-key", "second-key")


@pytest.fixture
def locked() -> TestClient:
    return TestClient(Keys(tiny(), KEYS))


@pytest.mark.parametrize("sent", ["Bearer first-key", "Bearer second-key", "bearer first-key", "Bearer  first-key "])
def test_each_key_lets_in(locked: TestClient, sent: str) -> None:
    assert locked.get("/echo", headers={"Authorization": sent}).status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({}, "no_api_key"),
        ({"Authorization": "first-key"}, "no_api_key"),
        ({"Authorization": "Bearer "}, "no_api_key"),
        ({"Authorization": "Basic Zmlyc3Qta2V5"}, "no_api_key"),
        ({"X-Api-Key": "first-key"}, "no_api_key"),
        ({"Authorization": "Bearer first-keyx"}, "invalid_api_key"),
        ({"Authorization": "Bearer first-ke"}, "invalid_api_key"),
        ({"Authorization": b"Bearer \xff\xfe"}, "invalid_api_key"),
    ],
)
def test_others_get_401_that_tells_no_key(locked: TestClient, sent: dict[str, str], code: str) -> None:
    answer = locked.get("/echo?api_key=first-key", headers=sent)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == code
    assert "first-ke" not in answer.text


def test_two_headers_are_none(locked: TestClient) -> None:
    twice = [("Authorization", "Bearer first-key"), ("Authorization", "Bearer second-key")]
    assert locked.get("/echo", headers=twice).status_code == 401


@pytest.mark.parametrize("path", ["/", "/health"])
def test_the_page_and_the_state_are_open(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_without_keys_all_may_come() -> None:
    assert TestClient(Keys(tiny(), ())).get("/echo").status_code == 200


def test_keys_come_from_a_file_and_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst-key\n\n  second-key  # of Ann\nfirst-key\n")
    file.chmod(0o600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_keys(file, {"LOCALPROBE_API_KEY": "third-key"}) == ("first-key", "second-key", "third-key")
        assert read_keys(None, {"LOCALPROBE_API_KEY": " "}) == ()


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first-key\n")
    file.chmod(0o644)
    with pytest.warns(LocalprobeWarning, match="can be read by other users: chmod 600"):
        assert read_keys(file, {}) == ("first-key",)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (b"\xef\xbb\xbffirst-key\r\n\r\nsecond-key\r\n", ("first-key", "second-key")),  # as Windows' editor saves it
        (b"begins#goes-on\n#begins\n", ("begins#goes-on",)),
    ],
)
def test_a_key_is_all_that_the_line_says(tmp_path: Path, content: bytes, keys: tuple[str, ...]) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    file.chmod(0o600)
    assert read_keys(file, {}) == keys


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# none\n", "holds no key"),
        (b"good-key\nsecret one\n", "line 2: a key holds only printable ASCII without spaces"),
        ("schl\u00fcssel\n".encode(), "line 1: a key holds only printable ASCII"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_file_of_no_use_is_an_error_that_tells_no_key(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(DataError, match=message) as caught:
        read_keys(file, {})
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere cannot be read \(No such file"):
        read_keys(tmp_path / "nowhere", {})
