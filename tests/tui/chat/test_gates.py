"""Gates and alarms in a chat: shown at their tokens, live on the cards, kept and exported, never part of the text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from localprobe.chats.store import Chats
from localprobe.chats.turns import Turn
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.screen import ChatScreen
from tests.tui.conftest import Play
from tests.tui.knobs.test_said import add
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file", "calm_file")]

ALWAYS = "calm > -1000"  # of any token


async def answered(app: LocalprobeApp, pilot: Pilot[None], text: str = "hi") -> Turn:
    before = len(app.talk.chat.turns)
    await pilot.press(*text, "enter")
    await wait_until(pilot, lambda: len(app.talk.chat.turns) >= before + 2 and not app.talk.answering)
    return app.talk.chat.path()[-1]


async def tokens(app: LocalprobeApp, pilot: Pilot[None], more: int = 4) -> Turn:
    """Wait for some more tokens of the running answer."""
    await wait_until(pilot, lambda: app.talk.answering)
    turn = app.talk.answering[0]
    end = len(turn.pieces) + more
    await wait_until(pilot, lambda: len(turn.pieces) >= end)
    return turn


def test_a_gate_that_opens_is_marked_at_its_token_and_is_no_part_of_the_text(play: Play, own_data: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await add(app, pilot, f"0.2 kindness @3 when {ALWAYS}")
        turn = await answered(app, pilot)
        assert [(gate.token, gate.gate, gate.open) for gate in turn.gates] == [(1, f"when {ALWAYS}", True)]
        assert "".join(turn.pieces) == turn.content
        await wait_until(pilot, lambda: f"⟦{ALWAYS}: open⟧" in screen(app))
        await wait_until(pilot, lambda: "opened 1 time" in screen(app))
        await pilot.press("ctrl+y")
        assert app.clipboard == turn.content
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: len(turn.pieces) == 12 and not app.talk.answering)
        assert [(gate.token, gate.open) for gate in turn.gates] == [(1, True), (6, False), (7, True)]
        assert "⟦" not in turn.content

    play(scene)
    kept = Chats(own_data / "chats.sqlite")
    [summary] = kept.find()
    assert len(kept.read(summary.id).path()[-1].gates) == 3


@pytest.mark.usefixtures("slowly")
def test_a_card_says_live_whether_its_gate_is_open_and_another_knob_does_not_reset_it(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, f"0.1 kindness @3 when {ALWAYS}; 0.1 kindness when calm > 1000")
        await pilot.press(*"hi", "enter")
        turn = await tokens(app, pilot)
        await wait_until(pilot, lambda: f"when {ALWAYS}  ● open" in screen(app))
        await wait_until(pilot, lambda: "when calm > 1000  ○ closed" in screen(app))
        await pilot.press("right_square_bracket")
        await wait_until(pilot, lambda: len(turn.parts) == 2)
        app.talk.knobs[1].dose = 0.3  # the gated one itself, too
        app.talk.changed()
        await wait_until(pilot, lambda: len(turn.parts) == 3)
        await tokens(app, pilot)
        assert len(turn.gates) == 1  # it was not closed, or it would have opened again
        assert turn.parts[2].knobs[1].steering == f"0.3 kindness @3 when {ALWAYS}"
        assert not list(app.talk.notices.take())
        await pilot.press("ctrl+s")

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_gate_on_a_probe_that_the_answer_does_not_read_waits_for_the_next(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        turn = await tokens(app, pilot)
        await add(app, pilot, f"0.2 kindness @3 when {ALWAYS}")
        await wait_until(pilot, lambda: "The change waits for the next answer." in screen(app).replace("\n", " "))
        await pilot.press("right_square_bracket")  # which the first knob does at once
        await wait_until(pilot, lambda: len(turn.parts) == 2)
        assert [knob.steering for knob in turn.parts[1].knobs] == ["0.05 kindness @2"]
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: not app.talk.answering)
        await pilot.press("ctrl+r")
        turn = await tokens(app, pilot)
        await wait_until(pilot, lambda: turn.gates)
        assert len(turn.parts[0].knobs) == 2
        await pilot.press("ctrl+s")

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_text_that_the_prompt_lacks_is_told_and_the_answer_goes_on(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        turn = await tokens(app, pilot)
        await add(app, pilot, '0.2 kindness on "friend"')
        await wait_until(pilot, lambda: "the prompt does not contain 'friend'" in screen(app).replace("\n", " "))
        assert len(turn.parts) == 1
        await pilot.press("right_square_bracket")  # which the first knob does all the same
        await wait_until(pilot, lambda: len(turn.parts) == 2)
        assert [knob.steering for knob in turn.parts[1].knobs] == ["0.05 kindness @2"]
        await pilot.press("ctrl+s")

    play(scene)


def test_a_probe_that_fires_is_told_once_per_answer_marked_and_counted(play: Play, tmp_path: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await add(app, pilot, ALWAYS, key="ctrl+l")
        await wait_until(pilot, lambda: f"⚑ {ALWAYS}" in screen(app))
        turn = await answered(app, pilot)
        assert [alert.token for alert in turn.alerts] == list(range(6))
        told = f"{ALWAYS} fired at token 1: {turn.alerts[0].score:+.2f}"
        await wait_until(pilot, lambda: [each.message for each in app._notifications] == [told])
        await wait_until(pilot, lambda: f"{ALWAYS} fired at 6 tokens, first at 1" in screen(app))
        await wait_until(pilot, lambda: f"⚑ {ALWAYS}  fired 6" in screen(app))
        assert isinstance(app.screen, ChatScreen)
        app.screen.action_export("md")
        app.screen.action_export("jsonl")
        app.clear_notifications()
        lines = screen(app).split("\n")
        row = next(number for number, line in enumerate(lines) if f"✕ ⚑ {ALWAYS}" in line)
        await pilot.click(offset=(lines[row].index("✕"), row))
        await wait_until(pilot, lambda: not app.talk.alarms)
        assert (await answered(app, pilot, "more")).alerts == []

    play(scene)
    text = next(tmp_path.glob("hi-*.md")).read_text()
    assert f"- ⚑ {ALWAYS} fired at 6 tokens, first at 1 (" in text
    _, _, answer = map(json.loads, next(tmp_path.glob("hi-*.jsonl")).read_text().splitlines())
    assert [alert["token"] for alert in answer["alerts"]] == list(range(6))
    assert answer["gates"] == []
    assert not {"gates", "alerts"} & set(answer["how"])


def test_the_unsteered_answer_beside_is_watched_too_and_has_no_gates(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await add(app, pilot, f"0.2 kindness @3 when {ALWAYS}")
        await add(app, pilot, ALWAYS, key="ctrl+l")
        await pilot.press("ctrl+b")
        steered = await answered(app, pilot)
        plain = app.talk.chat.turns[steered.beside or ""]
        assert (len(steered.gates), len(plain.gates)) == (1, 0)
        assert (len(steered.alerts), len(plain.alerts)) == (6, 6)
        told = {f"{ALWAYS} fired at token 1", f"{ALWAYS} fired at token 1 of the unsteered answer"}
        await wait_until(pilot, lambda: told <= {note.message.partition(": ")[0] for note in app._notifications})

    play(scene)


def test_an_export_shows_where_gates_turned(play: Play, tmp_path: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await add(app, pilot, f"0.2 kindness @3 when {ALWAYS}")
        await answered(app, pilot)
        assert isinstance(app.screen, ChatScreen)
        app.screen.action_export("md")
        app.screen.action_export("jsonl")

    play(scene)
    text = next(tmp_path.glob("hi-*.md")).read_text()
    assert f"## 0.2 kindness @3 when {ALWAYS} (probe " in text
    assert f" **⟦{ALWAYS}: open⟧** " in text
    _, _, answer = map(json.loads, next(tmp_path.glob("hi-*.jsonl")).read_text().splitlines())
    assert [(gate["token"], gate["open"]) for gate in answer["gates"]] == [(1, True)]
    assert answer["parts"][0]["knobs"][0]["steering"] == f"0.2 kindness @3 when {ALWAYS}"


def test_a_condition_is_read_while_it_is_typed_and_taken_once(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+l")
        await wait_until(pilot, lambda: "Watch for" in screen(app))
        await pilot.press(*"calm >= 2")
        await wait_until(pilot, lambda: "column 7: expected a number" in screen(app))
        await pilot.press("escape")
        await add(app, pilot, "calm > 2", key="ctrl+l")
        await pilot.press("ctrl+l")
        await pilot.pause()
        await pilot.press(*"calm >2", "enter")
        await wait_until(pilot, lambda: "calm > 2 is watched for already" in screen(app))
        await pilot.press("escape")
        assert [alarm.text for alarm in app.talk.alarms] == ["calm > 2"]

    play(scene)
