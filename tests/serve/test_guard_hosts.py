"""Which Host headers are answered: DNS rebinding sends a foreign one."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from localprobe.serve.guard.hosts import Hosts
from tests.serve.tiny import tiny

LOCAL = "127.0.0.1"


def status(host: str, bound: str = LOCAL, *allowed: str) -> int:
    return TestClient(Hosts(tiny(), bound, allowed)).get("/echo", headers={"Host": host}).status_code


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8765", "127.0.0.1:1", "127.0.0.1", "127.1.2.3", "[::1]:8765"])
def test_loopback_is_answered_at_any_port(host: str) -> None:
    assert status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:80@localhost",
        "user@localhost",
        "localhost:8765:1",
        "localhost:port",
        "192.168.1.5",
        "[::2]",
        "0.0.0.0:8765",
        "",
        " ",
        "l\u00f6calhost",
    ],
)
def test_others_are_refused(host: str) -> None:
    sent = {"Host": host.encode("latin-1")}
    answer = TestClient(Hosts(tiny(), LOCAL)).get("/echo", headers=sent)  # type: ignore[arg-type]
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"
    assert "--allow-host" in answer.json()["error"]["message"]


def test_the_address_that_it_listens_on_is_answered() -> None:
    assert status("192.168.1.5:8765", "192.168.1.5") == 200
    assert status("192.168.1.6:8765", "192.168.1.5") == 403
    assert status("[fd00::1]:8765", "fd00::1") == 200
    assert status("box.lan", "box.lan") == 200


@pytest.mark.parametrize("bound", ["0.0.0.0", "::"])
def test_a_server_on_all_addresses_answers_to_addresses_but_not_to_names(bound: str) -> None:
    assert status("192.168.1.5:8765", bound) == 200
    assert status("[fd00::1]", bound) == 200
    assert status("evil.example", bound) == 403


def test_allowed_names_are_answered() -> None:
    assert status("Box.lan:8765", LOCAL, "box.lan") == 200
    assert status("box.lan:8765", LOCAL, "box.lan:8765") == 200
    assert status("box.lan:1", LOCAL, "box.lan:8765") == 403


@pytest.mark.parametrize("allowed", ["[fd00::5]:8765", "[fd00::5]", "fd00::5"])
def test_an_ipv6_address_may_be_allowed(allowed: str) -> None:
    assert status("[fd00::5]:8765", LOCAL, allowed) == 200
    assert status("[fd00::6]:8765", LOCAL, allowed) == 403
