"""Parsing the names of generators.

ollama:qwen2.5:7b                        a named server, at its default address
openai:gpt-4.1                           a hosted server, its key in its usual environment variable
my-model@https://host.example/v1         any OpenAI-compatible base URL
local:phi-3-mini   local:phi-3-mini@mlx  a model on one of our engines
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from localprobe.errors import UsageError
from localprobe.generators.endpoints import Endpoint, Key
from localprobe.generators.generator import Generator, Loading, LocalModel, silently
from localprobe.terminal_text import tell


@dataclass(frozen=True, slots=True)
class Server:
    """A server with a name."""

    url: str
    start: str = "check the network"
    """What to do if no server listens."""
    key: str | None = None
    """The environment variable of its key."""


SERVERS = {
    "ollama": Server("http://127.0.0.1:11434/v1", "start it with `ollama serve`, and fetch the model by `ollama pull`"),
    "lmstudio": Server(
        "http://127.0.0.1:1234/v1", "start its server with `lms server start`, and load the model there"
    ),
    "llama-server": Server("http://127.0.0.1:8080/v1", "start it with `llama-server -m FILE.gguf`"),
    "openai": Server("https://api.openai.com/v1", key="OPENAI_API_KEY"),
    "anthropic": Server("https://api.anthropic.com/v1", key="ANTHROPIC_API_KEY"),
    "openrouter": Server("https://openrouter.ai/api/v1", key="OPENROUTER_API_KEY"),
}

_AT_URL = re.compile(r"(?P<model>.+?)@(?P<url>https?://.+)")


def generators(
    names: Sequence[str],
    keys: Sequence[str] = (),
    *,
    timeout: float = 300.0,
    notify: Callable[[str], None] = tell,
    loading: Loading = silently,
) -> list[Generator]:
    """The generators of these names. `keys` say where API keys are: `VARIABLE`, or `HOST=VARIABLE` for one host.

    Raises UsageError for a name that cannot be read, given twice, or whose key is not set.
    """
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"generator {twice} is given twice")
    matches = [_LOCAL.fullmatch(name) for name in names]
    servers = {name: _server(name) for name, local in zip(names, matches, strict=True) if local is None}
    variables = _variables(keys, {_host(server.url) for _, server in servers.values()})
    parsed: list[Generator] = []
    for name, local in zip(names, matches, strict=True):
        if local:
            parsed.append(_local(local["model"], loading))
            continue
        model, server = servers[name]
        variable = variables.get(_host(server.url), server.key)
        key = _key(variable, server.url) if variable else None
        parsed.append(Endpoint(name, model, server.url, key=key, start=server.start, timeout=timeout, notify=notify))
    return parsed


_LOCAL = re.compile(r"local:(?P<model>.+)")


def _local(written: str, loading: Loading) -> LocalModel:
    from localprobe import discovery

    model, _, engine = written.rpartition("@")
    if model and engine in discovery.names(hidden=True):
        return LocalModel(model, engine, loading=loading)
    return LocalModel(written, loading=loading)


def _server(name: str) -> tuple[str, Server]:
    """Model and server of a generator that is not local."""
    if match := _AT_URL.fullmatch(name):
        url = match["url"].rstrip("/")
        _check_url(name, url)
        return match["model"], Server(url, "start the server, or mend the URL")
    server, _, model = name.partition(":")
    if server in SERVERS and model:
        return model, SERVERS[server]
    raise UsageError(
        f"generator {name!r}: write {', '.join(f'{server}:MODEL' for server in SERVERS)}, MODEL@URL "
        "(such as my-model@http://127.0.0.1:8000/v1) or local:MODEL"
    )


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(f"generator {name!r}: {url} is no URL; write it as http://HOST:PORT/v1")
    if "@" in parts.netloc or parts.query:  # they would be written into every line
        raise UsageError(
            f"the URL of a generator at {parts.hostname} holds a password or a query: "
            "put the key into an environment variable and name that by `keys`"
        )


def _variables(keys: Sequence[str], hosts: set[str]) -> Mapping[str, str]:
    """Host -> environment variable of its key."""
    variables: dict[str, str] = {}
    for key in keys:
        host, _, variable = key.rpartition("=")
        if not host and len(hosts) > 1:
            raise UsageError(
                f"`keys` {key}: there are several hosts ({', '.join(sorted(hosts))}), "
                f"and each should see only its own key: write HOST={key}"
            )
        if host and host not in hosts:
            raise UsageError(f"`keys` {key}: no generator is at {host}; there is {', '.join(sorted(hosts)) or 'none'}")
        variables.update(dict.fromkeys([host] if host else hosts, variable))
    return variables


def _key(variable: str, url: str) -> Key:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(f"{variable} is not set: put the API key of {_host(url)} into that environment variable")
    if not value.isascii():
        raise UsageError(f"{variable} holds characters that no API key has: set it again")
    return Key(variable, value)


def _host(url: str) -> str:
    return urlsplit(url).netloc
