"""The command line as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localprobe import cli
from localprobe.cli import in_flags
from tests.cli.conftest import Run

COMMANDS = tuple(cli._COMMANDS)
HEAVY = ("torch", "transformers", "mlx", "mlx_lm", "llama_cpp", "textual", "numpy", "scipy", "sklearn", "rich")


def test_help_lists_every_command(run: Run) -> None:
    ran = run("--help")
    assert ran.status == 0
    for command in ("reproduce", "fit", "validate", "steer", "sweep", "audit", "report", "chat"):
        assert command in COMMANDS
    for command in COMMANDS:
        assert f"  {command} " in ran.out


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["nonsense"]])
def test_nothing_heavy_is_imported_to_say_what_there_is(args: list[str]) -> None:
    code = (
        "import json, sys\n"
        f"sys.argv = ['localprobe', *{args!r}]\n"
        "from localprobe import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout.splitlines()[-1]) == []


def test_every_command_has_help_of_its_own(run: Run) -> None:
    for command in COMMANDS:
        ran = run(command, "--help")
        assert ran.status == 0
        assert "Usage: localprobe " + command in ran.out


def test_an_unknown_command_suggests_a_known_one(run: Run) -> None:
    ran = run("steeer")
    assert ran.status == 2
    assert "did you mean 'steer'?" in ran.err


def test_a_wrong_option_is_status_2(run: Run) -> None:
    ran = run("capture", "--nope")
    assert ran.status == 2
    assert "--nope" in ran.err


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "fake", "--engine", "vllm"], "'vllm'"),
        (["--model", "/no/such/file.gguf"], "/no/such/file.gguf"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(run: Run, tmp_path, args: list[str], complaint: str) -> None:  # type: ignore[no-untyped-def]
    texts = tmp_path / "texts.txt"
    texts.write_text("One text.\n")
    ran = run("capture", texts, "-o", tmp_path / "out", *args)
    assert ran.status == 2
    assert ran.out == ""
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("localprobe: ")
    assert complaint in lines[0]
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("localprobe.discovery.names", interrupted)
    ran = run("doctor")
    assert (ran.status, ran.err.strip()) == (130, "localprobe: stopped")


def test_an_error_names_the_flag_where_the_core_names_the_argument(run: Run, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("word " * 5000)
    ran = run("capture", tmp_path / "texts.txt", "-o", tmp_path / "out", "--model", "fake", "--engine", "fake")
    assert ran.status == 2
    assert ran.err.strip().endswith("cut texts to a length with --limit")
    assert in_flags("give `dose`; see `localprobe runs`", {"dose": "--dose"}) == "give --dose; see `localprobe runs`"
