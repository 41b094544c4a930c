"""Text from tokens as they come."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localprobe.generation.detokenizer import Detokenizer, StopStrings


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=40))
def test_pieces_of_any_text_join_to_the_text(text: str) -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.push(byte) for byte in text.encode()]
    assert "".join(pieces) + detokenizer.flush() == text


def test_a_character_is_shown_only_when_it_is_whole() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.push(byte) for byte in "aé🎈".encode()] == ["a", "", "é", "", "", "", "🎈"]


def test_broken_bytes_at_the_end_are_shown_by_flush() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert detokenizer.push(0xF0) == ""
    assert detokenizer.flush() == "\ufffd"


def test_broken_bytes_do_not_hold_the_text_back_for_ever() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert "".join(detokenizer.push(0x80) for _ in range(12)) != ""


def test_a_stop_string_may_fall_across_tokens() -> None:
    stops = StopStrings(["\nUser:"])
    shown = [stops.push(piece) for piece in ["Yes.", "\nUs", "er: no"]]
    assert shown == [("Yes.", False), ("", False), ("", True)]


def test_what_might_have_been_a_stop_string_is_shown_after_all() -> None:
    stops = StopStrings(["\nUser:"])
    assert stops.push("a\nUs") == ("a", False)
    assert stops.push("ual") == ("\nUsual", False)


def test_text_held_back_at_the_end_is_not_lost() -> None:
    stops = StopStrings(["###"])
    assert stops.push("title #") == ("title ", False)
    assert stops.flush() == "#"


def test_the_first_of_several_stop_strings_counts() -> None:
    assert StopStrings(["two", "one"]).push("zero one two") == ("zero ", True)


@given(st.lists(st.text(alphabet="ab", max_size=3), max_size=12), st.text(alphabet="ab", min_size=1, max_size=3))
def test_stopping_piece_by_piece_equals_stopping_in_the_whole(pieces: list[str], stop: str) -> None:
    stops, shown = StopStrings([stop]), ""
    for piece in pieces:
        text, met = stops.push(piece)
        shown += text
        if met:
            break
    else:
        shown += stops.flush()
    assert shown == "".join(pieces).split(stop)[0]


@pytest.mark.parametrize("stops", [(), ("",)])
def test_without_stop_strings_nothing_is_held(stops: tuple[str, ...]) -> None:
    assert StopStrings(stops).push("###") == ("###", False)
