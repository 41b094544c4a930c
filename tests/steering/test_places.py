"""Layers and positions of a term, and positions that stand alone in an option."""

from __future__ import annotations

import pytest
from hypothesis import given

from localprobe.errors import UsageError
from localprobe.steering.places import ALL, OWN, Layers, PositionKind, Positions
from tests.steering.expressions import places


@pytest.mark.parametrize(
    ("layers", "text"),
    [(OWN, ""), (ALL, "all"), (Layers((4,)), "4"), (Layers((4, 5, 6)), "4-6"), (Layers((6, 5, 4)), "6,5,4")],
)
def test_the_text_of_layers(layers: Layers, text: str) -> None:
    assert str(layers) == text
    assert bool(layers) == bool(text)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ((1, 1), "'1,1' name a layer twice"),
        ((-1,), "layer is -1"),
        ((1000,), "layer is 1000"),
        ((True,), "layer is True"),
    ],
)
def test_layers_that_cannot_be(indices: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Layers(indices)


def test_layers_are_all_or_named() -> None:
    with pytest.raises(UsageError, match="not both"):
        Layers((1,), every=True)


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("all", Positions()),
        ("response", Positions("response")),
        ("response outside thinking", Positions("response", outside_thinking=True)),
        ("first 5", Positions("first", stop=5)),
        ("last 4", Positions("last", first=-4)),
        ("positions 2:10", Positions("positions", 2, 10)),
        ("positions -5:", Positions("positions", -5)),
        ("positions :-1", Positions("positions", None, -1)),
        ("positions :", Positions("positions")),
        ('on "my friend"', Positions("on", text="my friend")),
        ('on "a \\"b\\" \\\\ c" outside thinking', Positions("on", text='a "b" \\ c', outside_thinking=True)),
    ],
)
def test_positions_are_written_as_they_are_read(text: str, positions: Positions) -> None:
    assert Positions.parse(text) == positions
    assert str(positions) == text


def test_positions_outside_thinking_alone_are_all_others() -> None:
    assert Positions.parse("outside  thinking") == Positions(outside_thinking=True)
    assert str(Positions(outside_thinking=True)) == "all outside thinking"


def test_first_last_and_slices_are_slices_of_the_prompts_positions() -> None:
    prompt = range(12)
    for text, expected in (("first 5", prompt[:5]), ("last 4", prompt[-4:]), ("positions 2:-1", prompt[2:-1])):
        positions = Positions.parse(text)
        assert prompt[positions.first : positions.stop] == expected


@given(places())
def test_the_text_of_positions_is_read_back(positions: Positions) -> None:
    assert Positions.parse(str(positions)) == positions


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", '"": no positions: choose one of all, prompt, response, first, last, positions, on'),
        ("firs 5", "\"firs 5\": column 1: 'firs' names no positions; did you mean 'first'?"),
        ("answer", "column 1: 'answer' names no positions: choose all, prompt"),
        ("first", "column 6: expected a whole number after 'first' (of positions), not the end"),
        ("first 0", "column 1: the number of first positions is 0: give a whole number from 1"),
        ("first 5 last 2", "column 9: 'last' after positions: give them once"),
        ("response outside", "column 17: expected 'thinking' after 'outside', not the end"),
        ("all @3", "column 5: '@' names no positions"),
        ("positions 5", "column 12: expected ':' between the first position and the stop, as in 2:10"),
        ("positions 5:2", "column 1: positions 5:2 is no position: the stop is not above the first"),
        ("positions -2:-2", "positions -2:-2 is no position"),
        ("positions 3:0", "positions 3:0 is no position"),
        ("positions 1:9999999999", "column 13: '9999999999' is larger than 999,999,999"),
        ("on friend", "column 4: expected a text of the prompt after 'on' in double quotes, not 'friend'"),
        ('on ""', "column 4: '\"\"' is empty"),
    ],
)
def test_positions_that_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Positions.parse(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("answer",), "choose one of all"),
        (("all", 3), "one too many"),
        (("first", 1, 2), "one too many"),
        (("first",), "the number of first positions is None"),
        (("last", 4), "the number of last positions is -4"),
        (("positions", -2, 0), "is no position"),
        (("on",), "'on', and only it, has a text"),
        (("all", None, None, "x"), "'on', and only it, has a text"),
        (("on", None, None, " "), "the text ' ' is empty"),
    ],
)
def test_positions_of_python_that_cannot_be(values: tuple[PositionKind], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Positions(*values)
