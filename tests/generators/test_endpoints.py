"""Endpoints, through the real client, against a little server on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from localprobe.generators.endpoint_errors import EndpointError
from localprobe.generators.endpoints import WAITS, Endpoint, Key
from localprobe.generators.generator import Completion, TextRequest, spoken
from tests.generators.openai_server import Reply, Server, serving, story

ASK = TextRequest("Be kind.", "A man sits in the rain.", seed=7, temperature=0.5, tokens=60)
BUSY = Reply(status=429, error={"message": "slow down", "code": "rate_limit_exceeded"})


class Told:
    """What an endpoint told its user, and how long it waited."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.waits: list[float] = []

    def endpoint(self, server: Server | str, key: Key | None = None, timeout: float = 20.0) -> Endpoint:
        url = server if isinstance(server, str) else server.url
        return Endpoint(
            "here", "tiny", url, key=key, timeout=timeout, notify=self.lines.append, sleep=self.waits.append
        )


@pytest.fixture
def told() -> Told:
    return Told()


def in_turn(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """A server that gives these replies one after another, and the last one for ever."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def test_what_is_asked_and_what_comes_back(told: Told) -> None:
    with serving(story) as server:
        endpoint = told.endpoint(server, Key("MY_KEY", "sk-secret"))
        endpoint.ready()
        [answer] = endpoint.answer([ASK])
    [asked] = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert asked["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "A man sits in the rain."},
    ]
    assert (asked["model"], asked["seed"], asked["temperature"], asked["max_tokens"]) == ("tiny", 7, 0.5, 60)
    assert server.keys == ["Bearer sk-secret"]
    text = "Under 'Be kind.' I look at 'A man sits in the rain.' and I do what seems right by it, number 7."
    assert answer == Completion(text, "stop", "tiny-v1", 7)
    assert endpoint.provenance() == {"endpoint": server.url}


def test_no_key_of_the_environment_goes_to_an_endpoint_that_was_not_given_it(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    with serving(story) as server:
        told.endpoint(server).answer([ASK])
    assert server.keys == ["Bearer none"]


def test_thoughts_are_left_out(told: Told) -> None:
    with serving(lambda request: Reply("<think>\nHe is sad.\n</think>\n\nI stay. ")) as server:
        assert told.endpoint(server).answer([ASK])[0].text == "I stay."
    assert spoken("<think>never done thinking") == ""
    assert spoken("I <think> so.") == "I <think> so."
    assert spoken("He is sad.\n</think>\n\nI stay.") == "I stay."  # the template opened the thought
    assert spoken("He is sad.", "<|Assistant|><think>\n") == ""
    assert spoken("He is sad.</think>I stay.", "<|Assistant|><think>\n") == "I stay."


def test_half_a_character_of_a_server_that_cuts_bytes_is_replaced(told: Told) -> None:
    with serving(lambda request: Reply("I stay \ud83d")) as server:
        assert told.endpoint(server).answer([ASK])[0].text == "I stay ?"


def test_a_refusal_field_and_a_hosted_filter_are_refusals(told: Told) -> None:
    filtered = Reply(status=400, error={"message": "blocked", "code": "content_filter"})
    with serving(in_turn(Reply(None, refusal="No."), filtered, Reply(None))) as server:
        answers = told.endpoint(server).answer([ASK, ASK, ASK])
    assert [(answer.text, answer.finish) for answer in answers] == [
        ("No.", "refusal"),
        ("", "content_filter"),
        ("", "stop"),
    ]


def test_a_busy_server_is_asked_again_and_the_user_told(told: Told) -> None:
    polite = Reply(status=429, error={"message": "slow down"}, headers={"retry-after": "7"})
    down = Reply(status=503, error={"message": "loading model"})
    with serving(in_turn(BUSY, polite, down, Reply("I stay with him."))) as server:
        assert told.endpoint(server).answer([ASK])[0].text == "I stay with him."
    assert told.waits == [1.0, 7.0, 4.0]
    assert told.lines == [
        "here: 429: slow down; asking again in 1 s",
        "here: 429: slow down; asking again in 7 s",
        "here: 503: loading model; asking again in 4 s",
    ]


def test_it_gives_up_when_waiting_does_not_help(told: Told) -> None:
    with serving(lambda request: BUSY) as server, pytest.raises(EndpointError, match="run the same command later"):
        told.endpoint(server).answer([ASK])
    assert told.waits == list(WAITS)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=429, error={"message": "no credit", "code": "insufficient_quota"}),
        Reply(status=429, error={"message": "come back tomorrow"}, headers={"retry-after": "86400"}),
    ],
)
def test_it_gives_up_at_once_when_waiting_cannot_help(told: Told, reply: Reply) -> None:
    with serving(lambda request: reply) as server, pytest.raises(EndpointError, match="429"):
        told.endpoint(server).answer([ASK])
    assert told.waits == []


def test_an_option_that_a_server_does_not_know_is_left_out_and_said(told: Told) -> None:
    def picky(request: dict[str, Any]) -> Reply:
        if "max_tokens" in request:
            return Reply(status=400, error={"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"})
        if "seed" in request:
            return Reply(status=422, error={"message": "seed: Extra inputs are not permitted"})
        return Reply("I stay with him.")

    with serving(picky) as server:
        endpoint = told.endpoint(server)
        endpoint.answer([ASK, ASK])
    assert [sorted({"max_tokens", "max_completion_tokens", "seed"} & asked.keys()) for asked in server.asked] == [
        ["max_tokens", "seed"],
        ["max_completion_tokens", "seed"],
        ["max_completion_tokens"],
        ["max_completion_tokens"],
    ]
    assert endpoint.provenance()["not_sent"] == ["max_tokens", "seed"]
    assert "does not take 'seed'" in told.lines[1]


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (
            Reply(status=401, error={"message": "bad key sk-secret"}),
            r"refuses the key in MY_KEY \(401: bad key \*\*\*\)",
        ),
        (Reply(status=403, error={"message": "not yours"}), r"refuses the key in MY_KEY \(403: not yours\)"),
        (Reply(status=404, error={"message": "not found"}), r"no model 'tiny' \(404: not found\): it has tiny, small"),
        (Reply(status=404, error="model 'tiny' not found"), r"no model 'tiny' \(404: model 'tiny' not found\)"),
        (Reply(status=400, error={"message": "temperature must be at most 1"}), "400: temperature must be at most 1"),
        (
            Reply(raw=b"<html>hello</html>", headers={"content-type": "text/html"}),
            "not as an OpenAI-compatible endpoint",
        ),
        (Reply(raw=b"<html>no</html>", status=418, headers={"content-type": "text/html"}), "418: an HTML page"),
        (Reply(raw=b'{"choices": []}'), "not as an OpenAI-compatible endpoint"),
        (Reply(raw=b'{"choices": [{"mess'), "cannot be read"),
    ],
)
def test_each_error_is_one_clear_line(told: Told, reply: Reply, complaint: str) -> None:
    with serving(lambda request: reply) as server, pytest.raises(EndpointError, match=complaint) as caught:
        told.endpoint(server, Key("MY_KEY", "sk-secret")).answer([ASK])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"here: {server.url}") or "has no model" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_a_key_is_asked_for_where_none_was_given(told: Told) -> None:
    unauthorized = Reply(status=401, error={"message": "no key"})
    with serving(lambda request: unauthorized) as server, pytest.raises(EndpointError, match="`keys`"):
        told.endpoint(server).answer([ASK])


def test_nobody_listens(told: Told) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match=rf"cannot connect to {url} \(.*refused\): start the server"):
        told.endpoint(url).ready()
    assert told.waits == []


def test_a_server_that_takes_too_long(told: Told) -> None:
    with (
        serving(lambda request: Reply("late", delay=1.0)) as server,
        pytest.raises(EndpointError, match=r"no answer from .* within 0.2 s: raise `timeout`"),
    ):
        told.endpoint(server, timeout=0.2).answer([ASK])


def test_a_key_does_not_show_itself() -> None:
    assert "sk-secret" not in repr(Key("MY_KEY", "sk-secret"))
