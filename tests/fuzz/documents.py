"""Mutations of JSON and TOML that keep their form: a value becomes odd, a key goes, comes twice or is renamed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.fuzz.mutations import Input

Place: TypeAlias = tuple[str | int, ...]

ODD = (
    *("1e999", "-1e999", "NaN", "Infinity", "1e-400", "-0.0", "1.5", "-1", "0", "1", "2", "1e15", "1e308"),
    *("18446744073709551616", "1" + "0" * 30, "9" * 400, "9" * 5000, "-9223372036854775809", "true", "false", "null"),
    *(
        '""',
        '" "',
        '"x"',
        '"1"',
        '"\\ud800"',
        '"\\u0000"',
        '"a\\nb"',
        '"\\u001b]0;x\\u0007"',
        '"../../x"',
        '"~nobody/x"',
    ),
    *("[]", "{}", "[null]", "[[]]", '{"": null}', '[1, "a", null]', '["\\udfff"]', "[NaN]", "[-1]", "[1e999]"),
    *("[" * 3000 + "]" * 3000, "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, '"' + "x" * 100_000 + '"'),
)
"""Values as JSON text."""
_MARK = "@odd@"
_STEPS = st.tuples(
    st.sampled_from(["value", "value", "value", "delete", "twice", "rename", "copy"]), st.integers(0, 4000)
)
_KEYS = ("", "x", "\\ud800", "\\u0000", "a\\nb", "__class__", "format", "k" * 5000)


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The place of every value inside a value, itself included."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*place, key))


def at(value: Any, place: Place) -> Any:
    """The value at a place."""
    for key in place:
        value = value[key]
    return value


def odd_texts(documents: Sequence[Any], odd: Sequence[str] = ODD) -> st.SearchStrategy[str]:
    """One of the documents as JSON text, with one or two values or keys changed."""
    steps = st.lists(st.tuples(_STEPS, st.sampled_from(odd), st.sampled_from(_KEYS)), min_size=1, max_size=2)
    return st.builds(_changed, st.sampled_from(documents), steps)


def odd_json(documents: Sequence[Any], odd: Sequence[str] = ODD) -> st.SearchStrategy[Input]:
    """The same as bytes."""
    return odd_texts(documents, odd).map(lambda text: Input(text.encode()))


def odd_lines(documents: Sequence[Any]) -> st.SearchStrategy[Input]:
    """JSONL: the documents, one of them changed."""
    sound = [json.dumps(document) for document in documents]

    def joined(line: str, number: int) -> Input:
        lines = [*sound[: number % len(sound)], line, *sound[number % len(sound) :]]
        return Input("\n".join(lines).encode())

    return st.builds(joined, odd_texts(documents), st.integers(0, 20))


def _changed(document: Any, steps: Sequence[tuple[tuple[str, int], str, str]]) -> str:
    pieces: dict[str, str] = {}
    for number, ((chosen_kind, chosen), odd, key) in enumerate(steps):
        document = json.loads(json.dumps(document))
        listed = list(places(document))
        place = listed[chosen % len(listed)]
        kind = chosen_kind if place else "value"
        mark = f"{_MARK}{number}{_MARK}"
        if not place:
            document = mark
        holder = at(document, place[:-1]) if place else None
        if kind == "copy":
            copied = at(document, listed[(chosen * 7 + number) % len(listed)])
            holder[place[-1]] = json.loads(json.dumps(copied))  # it may be what the place is in
            continue
        if kind == "delete":
            del holder[place[-1]]
            continue
        pieces[json.dumps(mark)] = odd if kind == "value" else f'"{key}"'
        if kind == "value" and place:
            holder[place[-1]] = mark
        elif kind in ("twice", "rename"):
            value = at(document, place)
            if kind == "rename" or isinstance(holder, list):
                del holder[place[-1]]
            if isinstance(holder, dict):
                if kind == "twice":
                    pieces[json.dumps(mark)] = json.dumps(place[-1])
                holder[mark] = value
            else:
                holder += [value, value]
    text = json.dumps(document)
    for mark, piece in pieces.items():
        text = text.replace(mark, piece)
    return text


TOML_VALUES = (
    *("inf", "-inf", "nan", "1e999", "-1", "0", "1", "2", "-0.0", "1.5", "1_000_000_000", "1" + "0" * 30, "9" * 5000),
    *("0x" + "f" * 5000, "1979-05-27", "07:32:00", "true", '""', '" "', '"x"', '"\\u0000"', '"\\u001b[2J"', '"a\\nb"'),
    *(
        "[]",
        "[[]]",
        "{}",
        "[nan]",
        "[0, inf]",
        "[-1]",
        '["x"]',
        "[0, 1e999]",
        "[true, false]",
        "{ a = 1 }",
        '"~nobody/x"',
    ),
    *(
        "[" * 3000 + "]" * 3000,
        "[" * 100_000,
        "{a=" * 2000 + "1" + "}" * 2000,
        '"' + "x" * 100_000 + '"',
        "'''",
        '"\\ud800"',
    ),
    *('"../x"', '"best"', "[0.5, 2.0]", '["best", -1, 10000000000]', "9223372036854775807", "-9223372036854775808"),
)


def odd_toml(documents: Sequence[str]) -> st.SearchStrategy[Input]:
    """One of the documents with the values of one to three of its lines changed."""
    changes = st.lists(st.tuples(st.integers(0, 200), st.sampled_from(TOML_VALUES)), min_size=1, max_size=3)

    def changed(document: str, changes: Sequence[tuple[int, str]]) -> Input:
        lines = document.splitlines()
        valued = [i for i, line in enumerate(lines) if "=" in line]
        for chosen, value in changes:
            i = valued[chosen % len(valued)]
            lines[i] = f"{lines[i].partition('=')[0]}= {value}"
        return Input("\n".join(lines).encode())

    return st.builds(changed, st.sampled_from(documents), changes)
