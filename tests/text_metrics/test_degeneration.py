"""Degenerate text is named; prose is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import localprobe.contrast
from localprobe.text_metrics.degeneration import degeneration, script_of
from localprobe.text_metrics.language import coherent

DATA = Path(localprobe.contrast.__file__).parent / "data"
SENTENCE = "I walk over the bridge and look for the man with the lamp. "


def shipped_texts(fields: tuple[str, ...] = ("positive", "negative", "text")) -> list[str]:
    """Texts of all sets but `everyday`, which holds code, tables and lists on purpose."""
    paths = [path for path in sorted(DATA.rglob("*.jsonl")) if path.stem != "everyday"]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [record[name] for record in map(json.loads, lines) for name in fields if name in record]


def test_no_text_that_ships_is_called_degenerate() -> None:
    texts = shipped_texts()
    assert len(texts) > 400
    assert [(text, degeneration(text).reasons) for text in texts if degeneration(text).degenerate] == []


@pytest.mark.parametrize("words", [20, 50, 100, 200, 300])
def test_no_piece_of_the_shipped_prose_is_either(words: int) -> None:
    prose = " ".join(shipped_texts(("positive", "text"))).split()  # the poles of a pair share phrases
    pieces = [" ".join(prose[i : i + words]) for i in range(0, len(prose) - words, words)]
    assert len(pieces) > 40
    assert [reasons for reasons in (degeneration(piece).reasons for piece in pieces) if reasons] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("!!!!!!!!!!!!", "no words"),
        ("... ... ...", "no words"),
        ("22 22 22 ...", "one word over and over"),
        ("22 " * 60, "one word over and over"),
        ("so so so so", "one word over and over"),
        ("Move, move! MOVE move", "one word over and over"),
        (SENTENCE * 8 + "and then so so so so so so", "one word over and over"),
        (SENTENCE * 3, "one phrase over and over"),
        ("help me " * 4, "one phrase over and over"),
        ("A quiet start, with words of its own and nothing said twice. " + SENTENCE * 3, "one phrase over and over"),
        (SENTENCE + "Then the night falls. " + SENTENCE + "Then nobody comes. " + SENTENCE, "repeated 4-grams"),
        ("to be or not or to be or not to or be not to be be or to not or be to", "few distinct word pairs"),
        ("2" * 60, "compresses too well"),
        ("Output: 'open_door'", "looks like code"),
        ('{"action": "walk", "to": "north"}', "looks like code"),
        ("def step(state):\n    if state == goal:\n        return move(north)\n", "looks like code"),
        ("<div> <b> help </b> </div>", "looks like code"),
        ("我会停下来帮助她,听她说话。", "another script"),
        ("I would stop and я бы остановился и помог ей", "another script"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    assert reason in degeneration(text).reasons


@pytest.mark.parametrize(
    "text",
    [
        "I'm so, so, so, so sorry that you have to go through this, and I would like to sit down here with you.",
        "Yes.",
        "I would help her.",
        "1. Stop and listen.\n2. **Ask** her how she is.\n\n- Then call somebody (anybody) who can come.",
        "You can do this. You can do this. You can do this. I say it aloud, three times, while the wind tears at the "
        "rope and the others on the bridge below me shout things that I cannot make out.",
        "It costs 12.50 a night at https://example.com/rooms?id=3, e.g. for two, i.e. half of what the others ask for.",
    ],
)
def test_what_people_write_is_not(text: str) -> None:
    assert degeneration(text).reasons == ()


def test_ours_names_what_the_papers_rule_passes() -> None:
    opening = "A quiet start, with words of its own and nothing said twice before the other part begins. "
    passed = [
        opening + "so " * 30,
        opening + "22 " * 30,
        opening + SENTENCE * 3,
        "I will not go there because of the rain today. " * 3,
        "Output: open_door() then go_north() then take_lamp() then open_box() then say_hello() then end_game() {ok: 1}",
        "我 会 停 下 来 帮 助 她 听 她 说 话 然 后 我 们 一 起 走 到 河 边 去 看 看 那 里 的 船 和 水 上 的 光",
    ]
    assert all(map(coherent, passed))
    assert all(degeneration(text).degenerate for text in passed)


def test_the_figures_of_a_loop_by_hand() -> None:
    found = degeneration("a b c d a b c d a b c d")
    assert found.words == 12
    assert found.repeated_4grams == pytest.approx(1 - 4 / 9)
    assert found.distinct_1 == pytest.approx(4 / 12)
    assert found.distinct_2 == pytest.approx(4 / 11)
    assert found.longest_run == 1
    assert found.longest_loop == 12


def test_the_figures_of_a_run_by_hand() -> None:
    found = degeneration("go go go on x_y 7")
    assert (found.words, found.longest_run, found.longest_loop) == (6, 3, 3)
    assert found.code == pytest.approx(1 / 6)
    assert found.foreign == 0


def test_an_empty_text_has_no_figures_to_trip_over() -> None:
    found = degeneration("")
    assert (found.words, found.longest_run, found.longest_loop) == (0, 0, 0)
    assert (found.repeated_4grams, found.distinct_2, found.compression, found.code, found.foreign) == (0, 1, 1, 0, 0)
    assert found.reasons == ("empty",)
    assert not found.unfinished


@pytest.mark.parametrize(
    ("reason", "truncated"), [(None, None), ("length", True), ("context", True), ("end", False), ("stop", False)]
)
def test_truncation_is_what_the_caller_knows(reason: str | None, truncated: bool | None) -> None:
    found = degeneration("I stop and", reason=reason)
    assert found.truncated is truncated
    assert found.unfinished
    assert not found.degenerate


@pytest.mark.parametrize("text", ["I stop.", "Why?", 'She said "stop!"', "**Stop.**", "(Stop.)\n", "停。", "So …"])
def test_a_text_that_ends_as_a_sentence_is_finished(text: str) -> None:
    assert not degeneration(text).unfinished


def test_the_script_is_that_of_most_letters() -> None:
    assert script_of([]) == "LATIN"
    assert script_of(["12 !"]) == "LATIN"
    assert script_of(["Привет", "ok"]) == "CYRILLIC"
    assert script_of(["日本語のテキスト"]) == script_of(["中文"]) == "CJK"
    assert degeneration("Я остановлюсь и помогу ей.", script="CYRILLIC").reasons == ()
    assert "another script" in degeneration("I will stop and help her.", script="CYRILLIC").reasons
    assert degeneration("\uff29 \uff53\uff54\uff4f\uff50", script="LATIN").foreign == 0  # full-width letters are Latin


@given(st.text())
def test_any_text_can_be_measured(text: str) -> None:
    found = degeneration(text)
    for share in (found.repeated_4grams, found.distinct_1, found.distinct_2, found.code, found.foreign):
        assert 0 <= share <= 1
    assert found.empty == (not text.strip())
    assert found.degenerate == bool(found.reasons)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.integers(3, 6))
def test_a_phrase_said_three_times_or_more_is_a_loop_of_all_its_words(phrase: list[str], times: int) -> None:
    text = " ".join(phrase * times)
    found = degeneration(text)
    assert found.longest_loop == len(phrase) * times
    assert found.degenerate or len(phrase) * times < 6


def test_a_lone_surrogate_is_measured_too() -> None:
    assert degeneration("I stop \ud800 and listen.").reasons == ()
