"""Names and texts that hold escape sequences and markup: the app shows them, and the terminal obeys none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot

import localprobe_tui
from localprobe.chats.store import Chats
from localprobe.chats.turns import Chat, Reading, SteeredPart, Turn
from localprobe.store.runs import Runs
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Vector
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.chat_list import ChatList
from localprobe_tui.widgets.dialogs import Choose
from tests.tui.conftest import Play
from tests.tui.waiting import dismiss, screen, wait_until

HOSTILE = "[/x][red]\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
SHOWN = "[/x][red]␛]0;owned␇␛[2J\ufffd31m␍\ufffd"
APP = Path(str(localprobe_tui.__file__)).parent


def safe(app: App[None]) -> str:
    """What is on the screen, of which no character is one that a terminal obeys."""
    shown = screen(app)
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    assert all(len(line) <= app.size.width for line in shown.splitlines())
    return shown


def hostile_chat() -> Chat:
    chat = Chat(model=HOSTILE, system=HOSTILE)
    asked = chat.add(Turn("user", HOSTILE))
    pieces = [HOSTILE[:12], HOSTILE[12:], " the end"]
    answer = Turn("assistant", HOSTILE, asked.id, pieces=pieces, scores=[2.0, -2.0, 0.0], reason="end")
    answer.parts, answer.reading = [SteeredPart(0)], Reading(HOSTILE, 2, 0.0, 1.0)
    answer.details = {"degenerate": [HOSTILE]}
    chat.add(answer)
    return chat


@pytest.mark.slow
def test_a_chat_of_hostile_texts_is_shown_and_found(play: Play, own_data: Path) -> None:
    chat = hostile_chat()
    Chats(own_data / "chats.sqlite").write(chat, *chat.turns.values())

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatList) and SHOWN in screen(app))
        safe(app)
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and "the end" in screen(app))
        shown = safe(app)
        assert shown.count(SHOWN) >= 3  # the system prompt, the question and the answer
        app.notify(HOSTILE)
        await wait_until(pilot, lambda: screen(app).count("owned") > shown.count("owned"))
        safe(app)

    play(scene)


@pytest.mark.slow
def test_a_vector_of_a_hostile_name_is_a_knob_and_can_be_chosen(play: Play, own_data: Path, kindness: Vector) -> None:
    vector_files.save(replace(kindness, concept=HOSTILE), own_data / "vectors" / "kindness.safetensors")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "[/x][red]␛" in screen(app))
        safe(app)
        app.screen.action_add_vector()  # type: ignore[attr-defined]
        await wait_until(pilot, lambda: isinstance(app.screen, Choose) and SHOWN in screen(app))
        safe(app)

    play(scene)


@pytest.mark.slow
def test_runs_of_hostile_names_are_listed_and_a_damaged_one_is_told(play: Play) -> None:
    runs = Runs()
    runs.add(HOSTILE, HOSTILE, {})
    runs.add("fit", "whole", {}, id="torn")
    with runs.file.writing() as database:
        database.execute("UPDATE runs SET result = '{' WHERE id = 'torn'")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("f3")
        await wait_until(pilot, lambda: "run 'torn' in" in screen(app) and "[/x][red]␛]0;owned" in screen(app))
        safe(app)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "A run of kind [/x][red]␛]0;owned" in screen(app))
        safe(app)
        await pilot.press("delete")
        await pilot.pause(0.2)
        safe(app)

    play(scene, load=None)


@pytest.mark.slow
def test_what_is_typed_or_pasted_is_shown_and_not_obeyed(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.screen.query_one("PromptBox").text = f"{HOSTILE} pasted"  # type: ignore[attr-defined]
        await wait_until(pilot, lambda: "pasted" in screen(app))
        assert "␛]0;owned" in safe(app)

    play(scene, load=None)


@pytest.mark.slow
def test_an_error_about_a_hostile_name_is_shown_as_it_is(play: Play) -> None:
    from localprobe.engines.spec import ModelSpec

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec(f"no-such-model{HOSTILE}"))
        await wait_until(pilot, lambda: "no-such-model[/x][red]" in screen(app))
        safe(app)
        await dismiss(pilot)

    play(scene, load=None)


OURS = {"Static", "Label", "DataTable", "OptionList"}


def _faults(tree: ast.AST) -> Iterator[str]:
    """Where a string could be read as markup, or get to the screen past `localprobe_tui.widgets.plain`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "textual.widgets":
            yield from (f"textual's {alias.name}" for alias in node.names if alias.name in OURS)
        if isinstance(node, ast.Attribute) and node.attr in ("print", "log") and ast.unparse(node.value) == "self.app":
            yield ast.unparse(node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            titled = node.targets[0].attr in ("border_title", "border_subtitle")
            made = isinstance(node.value, ast.JoinedStr | ast.Name | ast.Attribute | ast.BinOp)
            if titled and made and ast.unparse(node.value) not in TITLES:
                yield f"a border's title of {ast.unparse(node.value)}"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            first = node.args[0] if node.args else None
            if name == "Select" and not (isinstance(first, ast.Call) and ast.unparse(first.func) == "choices"):
                yield f"a Select of {ast.unparse(first) if first else ''}"
            if name == "Content.from_markup" and isinstance(first, ast.Name) and first.id not in FIXED:
                yield f"markup of {first.id}"
            if name == "Content.from_markup" and isinstance(first, ast.JoinedStr):
                inside = {ast.unparse(part.value) for part in first.values if isinstance(part, ast.FormattedValue)}
                yield from (f"markup around {each}" for each in inside - FIXED)


TITLES = {"title", "f'enter opens · [@click=screen.delete]ctrl+d deletes[/] · {closes()}'"}
"""Titles whose parts are all our own."""
FIXED = {
    "_ADD",
    "_HINT",
    "strength",
    "switch",
    "knob.place",
    "knob.does",
    "talk.applies",
    "read.layer",
    "name",
    "suffix",
    "knob.unit",
    "number",
    "fired[alarm.text] or ''",
    "colour",
    "expect",
}
"""What is put into markup and never holds a text of somebody else's: numbers, and words of this app."""


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: str(path.relative_to(APP)))
def test_no_text_gets_to_the_screen_past_the_plain_widgets(path: Path) -> None:
    if path.name != "plain.py":
        assert not list(_faults(ast.parse(path.read_text()))), path
