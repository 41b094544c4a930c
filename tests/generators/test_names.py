"""Generators as users write them."""

from __future__ import annotations

import pytest

from localprobe.errors import UsageError
from localprobe.generators.endpoints import Endpoint
from localprobe.generators.generator import LocalModel
from localprobe.generators.names import generators


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    ollama, hosted, own, local = generators(
        ["ollama:qwen2.5:7b", "openai:gpt-x", "org/m@latest@http://10.0.0.1:8000/v1/", "local:phi-3-mini@fake"]
    )
    assert isinstance(ollama, Endpoint) and isinstance(hosted, Endpoint) and isinstance(own, Endpoint)
    assert (ollama.model, ollama.url) == ("qwen2.5:7b", "http://127.0.0.1:11434/v1")
    assert (hosted.model, hosted.url) == ("gpt-x", "https://api.openai.com/v1")
    assert (own.model, own.url) == ("org/m@latest", "http://10.0.0.1:8000/v1")
    assert isinstance(local, LocalModel) and local.name == "local:phi-3-mini@fake"
    assert generators(["local:./a@b.gguf"])[0].name == "local:./a@b.gguf"


@pytest.mark.parametrize(
    ("names", "keys", "complaint"),
    [
        (["gpt-x"], [], "generator 'gpt-x': write ollama:MODEL"),
        (["ollama:"], [], "generator 'ollama:': write"),
        (["m@http://"], [], "generator 'm@http://': write"),
        (["m@http://h:99999/v1"], [], "is no URL"),
        (["m@http:///v1"], [], "is no URL"),
        (["m@http://me:secret@h/v1"], [], "holds a password or a query: put the key into an environment variable"),
        (["ollama:a", "ollama:a"], [], "given twice"),
        (["openai:gpt-x"], [], "OPENAI_API_KEY is not set: put the API key of api.openai.com"),
        (["m@http://h/v1"], ["MY_KEY"], "MY_KEY is not set"),
        (["m@http://h/v1", "m@http://i/v1"], ["MY_KEY"], "there are several hosts"),
        (["m@http://h/v1"], ["i=MY_KEY"], "no generator is at i; there is h"),
    ],
)
def test_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, names: list[str], keys: list[str], complaint: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match=complaint) as caught:
        generators(names, keys)
    assert "secret" not in str(caught.value)


def test_each_host_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "a-1\n")
    monkeypatch.setenv("B_KEY", "b-2")
    a, b, c = generators(["m@http://a:1/v1", "m@http://b:2/v1", "ollama:m"], ["a:1=A_KEY", "b:2=B_KEY"])
    keys = [each._key and each._key.value for each in (a, b, c) if isinstance(each, Endpoint)]
    assert keys == ["a-1", "b-2", None]
