"""`localprobe chat --plain`, and what `localprobe` alone does where there is no terminal."""

from __future__ import annotations

import io
import math
import os
import re
import signal
from pathlib import Path

import pytest

from localprobe.chats.store import Chats
from localprobe.chats.turns import Turn
from localprobe.cli import plain_chat
from tests.cli.conftest import Ran, Run


@pytest.fixture
def chat(run: Run, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def chatted(lines: str, *args: object) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return run("chat", "fake", "--engine", "fake", "--plain", "--tokens", "12", *args)

    return chatted


def test_every_line_is_answered_on_standard_output_and_told_of_on_standard_error(chat) -> None:  # type: ignore[no-untyped-def]
    ran = chat("Hello\n\nAnd then?\n")
    assert ran.status == 0, ran.err
    assert len(ran.out.splitlines()) == 2
    assert len(re.findall(r"^\[\d+ tokens, [\d.]+ tok/s, (length|end)\]$", ran.err, re.M)) == 2


def test_the_same_seed_says_the_same_and_another_dose_says_something_else(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    plain = chat("Hello\n", "--vector", vector_file)
    again = chat("Hello\n", "--vector", vector_file)
    steered = chat("Hello\n", "--vector", vector_file, "--dose", "0.8")
    assert plain.out == again.out != steered.out
    assert "kindness at layer 2: dose +0.800 (alpha +" in steered.err
    assert re.search(r"\[probe [+-]\d+\.\d\d at layer 2, \d+ tokens", steered.err)


def test_a_dose_is_turned_between_messages_and_the_answer_given_again(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    ran = chat("Hello\n/dose 0.8\n/regenerate\n/alpha -3\n/continue\n", "--vector", vector_file)
    first, second, _ = ran.out.splitlines()
    assert first != second
    assert "dose +0.800" in ran.err
    assert "(alpha -3.00)" in ran.err


def test_a_regenerated_answer_at_another_dose_is_what_that_dose_says_from_the_start(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    """Greedy, so that the numbers drawn do not matter."""
    turned = chat("Hello\n/dose 0.8\n/regenerate\n", "--vector", vector_file, "--temperature", "0")
    from_the_start = chat("Hello\n", "--vector", vector_file, "--dose", "0.8", "--temperature", "0")
    assert turned.out.splitlines()[1:] == from_the_start.out.splitlines()


def test_quit_leaves_the_rest_unread(chat) -> None:  # type: ignore[no-untyped-def]
    assert len(chat("Hello\n/quit\nMore\n").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/dose", "'' is not a strength: write /dose 0.2"),
        ("/dose lots", "'lots' is not a strength"),
        ("/alpha nan", "strength nan is not a finite number"),
        ("/colour", "there is no command /colour; /help lists them"),
        ("/regenerate", "there is no message to answer yet"),
        ("/continue", "there is no answer to continue"),
        ("x" * 600, "shorten it"),
    ],
)
def test_an_error_is_a_line_and_the_chat_goes_on(chat, vector_file: Path, line: str, told: str) -> None:  # type: ignore[no-untyped-def]
    ran = chat(f"{line}\n/quit\n", "--vector", vector_file)
    assert ran.status == 0
    assert told in ran.err
    assert ran.out == ""


def test_without_a_model_the_one_that_the_vector_was_fitted_on_is_loaded(
    run: Run, vector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    ran = run("chat", "--plain", "--tokens", "4", "--vector", vector_file)
    assert ran.status == 0, ran.err
    assert Chats().find()[0].model == "fake"


def test_on_a_terminal_the_app_opens_with_the_vectors_own_model(
    run: Run, vector_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("localprobe.cli.tui.run_app", lambda spec, **how: opened.extend([spec.name, spec.engine]))
    monkeypatch.setattr("localprobe.cli.chat.sys", _Terminal())
    assert run("chat", "--vector", vector_file).status == 0
    assert opened == ["fake", "fake"]


class _Terminal:
    """`sys` of a process whose streams are all terminals."""

    class _Stream:
        def isatty(self) -> bool:
            return True

    stdin = stdout = stderr = _Stream()


def test_a_strength_without_a_direction_is_refused(chat) -> None:  # type: ignore[no-untyped-def]
    ran = chat("Hello\n", "--dose", "0.2")
    assert ran.status == 2
    assert "a strength needs a direction: give a --vector" in ran.err
    assert "start with --vector FILE" in chat("/dose 0.2\n").err


def test_help_says_what_can_be_typed(chat) -> None:  # type: ignore[no-untyped-def]
    assert "/regenerate   answer the last message again" in chat("/help\n").err


def test_without_a_terminal_localprobe_alone_shows_its_help(run: Run) -> None:
    ran = run()
    assert ran.status == 0
    assert "Usage: localprobe" in ran.out
    assert "tui" in ran.out


def test_the_chat_is_kept_where_the_app_finds_it(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    ran = chat("Plain words\n/dose 0.3\n/regenerate\n/continue\n", "--vector", vector_file, "--system", "Be brief.")
    assert ran.status == 0, ran.err
    chats = Chats()
    kept = chats.read(chats.find("plain words")[0].id)
    question, answer = kept.path()
    plain: Turn = kept.siblings(answer)[0]
    assert (kept.system, kept.model, question.content) == ("Be brief.", "fake", "Plain words")
    assert plain.parts[0].knobs == ()
    assert answer.parts[0].knobs[0].dose == pytest.approx(0.3)
    assert plain.pieces
    assert "".join(answer.pieces) == answer.content
    assert len(answer.scores) == len(answer.pieces)
    assert not any(map(math.isnan, answer.scores))


def test_without_a_place_for_chats_it_goes_on(chat, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "file"))
    ran = chat("Hello\n")
    assert "This chat will not be saved." in ran.err
    assert ran.out.strip()


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_in_an_answer_is_noted_and_in_the_prompt_it_is_python_s_again() -> None:
    with plain_chat._interrupted() as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_that_the_shell_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with plain_chat._interrupted() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        assert not interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_waits_until_the_answer_is_saved(number: signal.Signals) -> None:
    done: list[str] = []
    before = signal.signal(number, lambda *_: done.append("ended"))
    try:
        with plain_chat._interrupted() as interrupted:
            os.kill(os.getpid(), number)
            assert interrupted()
            done.append("saved")
        assert done == ["saved", "ended"]
    finally:
        signal.signal(number, before)


def test_expressions_steer_and_conditions_are_watched(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    name = f'"{vector_file}"'
    steered = chat("Hello\n", "--steer", f"0.3 {name} when {name} > -1e9", "--watch", f"{name} > -1e9")
    assert "kindness at layer 2: dose +0.300" in steered.err
    assert "[from token 1: when " in steered.err
    assert "fires (" in steered.err
    typed = chat(f"/steer 0.3 {name} when {name} > -1e9\n/watch {name} > -1e9\nHello\n")
    assert typed.out == steered.out
    assert "fires (" in typed.err
    undone = chat(f"/steer 0.3 {name}\n/steer\nHello\n")
    assert undone.out == chat("Hello\n").out


def test_a_fault_in_a_typed_expression_leaves_the_steering_as_it_was(chat, vector_file: Path) -> None:  # type: ignore[no-untyped-def]
    told = chat(f'/steer 0.3 "{vector_file}"\n/steer 0.3 gone\n/watch calm >\nHello\n')
    assert "column 5: no vector 'gone'" in told.err
    assert "column 7" in told.err
    assert told.out == chat(f'/steer 0.3 "{vector_file}"\nHello\n').out
