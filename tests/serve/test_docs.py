"""docs/serve.md: its snippets run, and its tables have all routes, options and metrics."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import click
import pytest

from localprobe.cli.options import any_models_options
from localprobe.cli.serve import serve
from localprobe.serve.app import ENDPOINTS
from localprobe.serve.endpoint import Endpoint
from localprobe.serve.settings import Settings
from tests.serve.server import Server, planted, serving

PAGE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8765"


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every curl command, as the shell splits it."""
    lines = "".join(blocks("sh")).replace("\\\n", "")
    found = re.split(r"^(?=curl )", lines, flags=re.MULTILINE)
    return [shlex.split(command) for command in found if command]


@pytest.fixture(scope="module")
def documented(own_folders: Path) -> Iterator[Server]:
    planted("empathy")
    with serving(Settings(allow_upload=True)) as running:
        yield running


def test_the_python_snippets_run_one_after_another(
    documented: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCALPROBE_API_KEY", raising=False)
    names: dict[str, Any] = {}
    for number, block in enumerate(snippets := blocks("python")):
        exec(compile(block.replace(ADDRESS, documented.url), f"snippet {number}", "exec"), names)
    assert len(snippets) == 3
    said = capsys.readouterr().out
    assert "\n0.2 empathy\n" in said
    assert set(names["scores"]) == set(range(len(names["tokens"])))
    assert names["answer"].scores is not None
    names["model"].close()


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[-1][:40])
def test_a_curl_command_is_answered(documented: Server, command: list[str]) -> None:
    given = {flag: value for flag, value in pairwise(command) if flag in ("-X", "-d", "-H")}
    (url,) = [word for word in command if word.startswith(ADDRESS)]
    body = given.get("-d")
    method = given.get("-X") or ("POST" if body else "GET")
    if body:
        assert given["-H"] == "Content-Type: application/json"
    answer = documented.http.request(method, url.removeprefix(ADDRESS), json=json.loads(body) if body else None)
    assert answer.status_code == 200, answer.text


def named(kind: Any) -> str:
    """A type as the table names it."""
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return f"list of {named(get_args(kind)[0])}" if get_origin(kind) is list else f"`{kind.__name__}`"


def row(endpoint: Endpoint) -> str:
    """An endpoint as a row of the table."""
    body = [named(endpoint.body)] if endpoint.body else [f"`{kind}`" for kind in endpoint.takes]
    answer = [named(endpoint.answer)] if endpoint.answer else []
    answer += [f"`{kind}`" for kind in endpoint.gives]
    marks = [mark for mark, holds in (("open", endpoint.open), ("admin", endpoint.admin)) if holds]
    summary = endpoint.summary + (f" (*{', '.join(marks)}*)" if marks else "")
    path = endpoint.path.replace(":path", "")
    return f"| {endpoint.method} | `{path}` | {', '.join(body)} | {', '.join(answer)} | {summary} |"


def test_the_table_has_all_routes() -> None:
    table = PAGE.partition("## All routes")[2]
    found = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert found == [row(endpoint) for endpoint in ENDPOINTS]


def test_every_option_of_the_server_is_explained() -> None:
    @click.command()
    @any_models_options
    def bare(**given: Any) -> None: ...

    of_models = {parameter.name for parameter in bare.params}
    own = [parameter for parameter in serve.params if parameter.name not in of_models]
    assert own
    missing = [option.opts[0] for option in own if f"`{option.opts[0]}" not in PAGE]
    assert not missing


def test_every_metric_is_named(documented: Server) -> None:
    told = documented.http.get("/metrics").text
    metrics = set(re.findall(r"^# TYPE (localprobe_\w+) (?:counter|gauge|histogram)$", told, re.MULTILINE))
    metrics = {name for name in metrics if not name.endswith("_created")}
    assert metrics == set(re.findall(r"`(localprobe_[a-z_]+)`", PAGE))
