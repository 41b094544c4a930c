"""Nothing that a model, a file or a name holds reaches the terminal as a command, and none of it is markup."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import localprobe
from localprobe.cli.show import Console, styled
from localprobe.fake import FakeEngine
from localprobe.generation.detokenizer import Detokenizer
from localprobe.store.runs import Runs
from localprobe.vectors import files as vector_files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.cli.conftest import Ran, Run
from tests.cli.test_sweep import own_data

__all__ = ["own_data"]

HOSTILE = "[/x][red]\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e:smile:"
SHOWN = "[/x][red]␛]0;owned␇␛[2J\ufffd31m␍\ufffd:smile:"
CLI = Path(localprobe.__file__).parent / "cli"


def safe(ran: Ran, *, status: int = 0) -> Ran:
    """What a command printed, none of which a terminal obeys."""
    assert ran.status == status, ran.err
    commands = {c for c in ran.out + ran.err if not c.isprintable()} - {"\n", "\t"}
    assert not commands, commands
    return ran


@pytest.fixture
def hostile_vector() -> Vector:
    engine = FakeEngine()
    v = np.eye(engine.info.width, dtype=np.float32)[0]
    origin = Origin.of(engine.info, method=HOSTILE, pooling="mean")
    return Vector(HOSTILE, origin, {2: Direction(v, measures={"auroc": 0.9})}, 2)


def test_runs_of_any_name_are_listed_shown_and_deleted(run: Run) -> None:
    kept = Runs().add(HOSTILE, HOSTILE, {"text": HOSTILE}, about={"command": HOSTILE})
    assert "[/x][red]␛]0;owned" in safe(run("runs")).out
    assert json.loads(safe(run("runs", "--json")).out)[0]["name"] == HOSTILE
    assert SHOWN in safe(run("runs", "show", kept.id)).out
    assert json.loads(safe(run("runs", "show", kept.id, "--json")).out)["result"] == {"text": HOSTILE}
    assert SHOWN in safe(run("report", kept.id), status=2).err
    assert SHOWN in safe(run("runs", "delete", kept.id)).out


def test_vectors_of_any_name_are_listed_and_shown(run: Run, hostile_vector: Vector, tmp_path: Path) -> None:
    Library().keep(hostile_vector)
    path = tmp_path / "v.safetensors"
    vector_files.save(hostile_vector, path)
    assert "[/x][red]␛]0;owned" in safe(run("vector", "list")).out
    assert SHOWN in safe(run("vector", "show", path)).out
    assert SHOWN in safe(run("vector", "cosines", path, path)).out
    assert SHOWN in safe(run("export", path, "-o", tmp_path / "v.npz", "--alpha", "1")).out
    assert json.loads(safe(run("vector", "show", path, "--json")).out)["concept"] == HOSTILE


def test_an_answer_that_holds_commands_is_shown_and_none_is_run(
    run: Run, hostile_vector: Vector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.safetensors"
    vector_files.save(hostile_vector, path)
    monkeypatch.setattr(Detokenizer, "push", lambda self, token: HOSTILE)
    steered = ("steer", path, "hello", "--dose", "0.1", "--model", "fake", "--engine", "fake", "--tokens", "3")
    ran = safe(run(*steered))
    assert SHOWN in ran.out
    assert SHOWN in ran.err  # the knob is named by its concept
    assert HOSTILE in json.loads(safe(run(*steered, "--json")).out)["text"]


def test_a_file_that_is_named_and_filled_by_anybody_is_told_of_in_one_line(run: Run, tmp_path: Path) -> None:
    pairs = tmp_path / "a\x1b[31m\nb.jsonl"
    pairs.write_text('{"positive": "\x1b"}\n')
    ran = safe(run("data", "check", pairs), status=2)
    assert "a␛[31m␊b.jsonl" in ran.err
    assert len(ran.err.splitlines()) == 1
    ran = safe(run("runs", "show", HOSTILE), status=2)
    assert len(ran.err.splitlines()) == 1
    assert "\x1b" not in safe(run("runs", "--arm=\x1b]0;x\x07"), status=2).err


def test_the_console_takes_no_style_from_text(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=200)
    console.print(HOSTILE, highlight=False)
    console.print(styled((HOSTILE, "bold"), HOSTILE), highlight=False)
    assert capsys.readouterr().out.splitlines() == [SHOWN, SHOWN + SHOWN]


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_prints_past_the_one_door(path: Path) -> None:
    """`say`, `say_json` and `write_data` of cli/output.py, and the Console of cli/show.py, are the only ways out."""
    own = {"output.py": {"click.echo", "click.secho", "sys.stdout"}, "show.py": {"rich.console"}}.get(path.name, set())
    found = {name for node in ast.walk(ast.parse(path.read_text())) for name in _ways_out(node)} - own
    if path.name in ("__init__.py", "chat.py"):  # they ask whether it is a terminal
        found -= {"sys.stdout", "sys.stderr"}
    assert not found, f"{path}: print through localprobe.cli.output instead of {found}"


def _ways_out(node: ast.AST) -> set[str]:
    """Names in a piece of code that write to a stream, or parse markup."""
    if isinstance(node, ast.ImportFrom):
        full = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    elif isinstance(node, ast.Attribute):
        full = {ast.unparse(node), f".{node.attr}"}
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        full = {f"{node.func.id}()"}
    else:
        return set()
    ways = {
        "click.echo", "click.secho", "click.style", "click.prompt", "click.confirm", "click.echo_via_pager", "print()",
        "sys.stdout", "sys.stderr", "rich.print", "rich.console", "rich.markup", ".from_markup", ".from_ansi",
    }  # fmt: skip
    return full & ways
