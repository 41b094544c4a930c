"""What an operation will make, judged before it runs: much can come out of little."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from string import Formatter
from typing import Any

from localprobe.template_engine.budget import BYTES_PER_STEP, NUMBER_BITS, Budget, Exceeded

_Filter = Callable[..., Any]

_CHARACTER = 64  # bytes of a text of one character, with its place in a list

_METHODS = """capitalize casefold center count endswith find format format_map index isalnum isalpha isascii isdecimal
isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition
removeprefix removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase
title upper zfill"""
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(_METHODS.split()),
    list: frozenset(("copy", "count", "index")),
    tuple: frozenset(("count", "index")),
    dict: frozenset(("copy", "get", "items", "keys", "values")),
    float: frozenset(("is_integer",)),
}
"""Methods that templates may call. The others change values, or their cost is not known beforehand."""


def operation(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Refuse `left operator right` if its value would be too large."""
    if isinstance(left, int) and isinstance(right, int):
        if operator == "**" and left.bit_length() * abs(right) > 2 * NUMBER_BITS:
            raise Exceeded("its numbers grow without bound")
    elif operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(many, str | list | tuple):
                budget.expect(_content(budget, many) * times)
    elif operator == "%" and isinstance(left, str):
        percent(budget, left, right)


def _content(budget: Budget, value: Any) -> int:
    """Bytes of a text or list without those of an empty one."""
    return budget.weight(value) - sys.getsizeof(type(value)())


def percent(budget: Budget, text: str, values: Any) -> None:
    """Refuse `text % values` if it would be too long: fields can be wide, and one value can stand in many."""
    fields = text.count("%")
    if fields and "*" in text:
        raise Exceeded("it takes the width of a field from a value")
    budget.expect(_widths(text) + fields * budget.weight(values) if fields else 0)


def braces(budget: Budget, text: str, values: Iterable[Any]) -> None:
    """Refuse `text.format(*values)` if it would be too long."""
    weight = sum(budget.weight(value) for value in values)
    size = 0
    for _literal, field, form, _conversion in Formatter().parse(text):
        if form and "{" in form:
            raise Exceeded("it takes the width of a field from a value")
        size += _widths(form or "") + (weight if field is not None else 0)
    budget.expect(size)


def _widths(text: str) -> int:
    return sum(int(digits) if len(digits) < 10 else sys.maxsize for digits in re.findall("[0-9]+", text))


def method(budget: Budget, text: str, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a method of a text whose value would be too long. Returns the arguments to call it with."""
    if name in ("center", "ljust", "rjust", "zfill") and arguments and isinstance(arguments[0], int):
        budget.expect(4 * arguments[0])
    elif name == "replace" and len(arguments) > 1:
        replacement(budget, text, arguments[0], arguments[1])
    elif name in ("rfind", "rindex", "rpartition", "rsplit", "strip", "lstrip", "rstrip"):
        budget.search(text, *arguments, backwards=True)
    elif name in ("count", "find", "index", "partition", "split"):
        budget.search(text, *arguments)
    elif name == "join" and arguments:
        items = list(arguments[0])  # an iterator can be read only once
        budget.expect(budget.weight(items) + _content(budget, text) * len(items))
        return (items, *arguments[1:])
    return arguments


def replacement(budget: Budget, text: Any, old: Any, new: Any) -> None:
    """Refuse `text` with `new` for `old` if it would be too long."""
    text, old, new = str(text), str(old), str(new)
    budget.search(text, old)
    budget.expect(len(text) + text.count(old) * len(new))


# Filters: Jinja's own function comes first, its arguments follow.


def _center(budget: Budget, function: _Filter, value: Any, width: int = 80) -> Any:
    budget.expect(4 * width)
    return function(value, width)


def _indent(budget: Budget, function: _Filter, s: str, width: int | str = 4, *rest: Any, **named: Any) -> Any:
    budget.expect((s.count("\n") + 2) * (4 * width if isinstance(width, int) else sys.getsizeof(width)))
    return function(s, width, *rest, **named)


def _replace(budget: Budget, function: _Filter, s: str, old: str, new: str, count: Any = None) -> Any:
    replacement(budget, s, old, new)
    return function(s, old, new, count)


def _join(budget: Budget, function: _Filter, value: Any, d: str = "", attribute: Any = None) -> Any:
    items = _read_items(budget, value)
    budget.expect(budget.weight(items) + _content(budget, str(d)) * len(items))
    return function(items, d, attribute)


def _format(budget: Budget, function: _Filter, value: Any, *values: Any, **named: Any) -> Any:
    percent(budget, str(value), named or values)
    return function(value, *values, **named)


def _batch(budget: Budget, function: _Filter, value: Any, linecount: int, fill_with: Any = None) -> Any:
    if fill_with is not None:
        budget.expect(linecount * (8 + budget.weight(fill_with)))
    return function(_items(budget, value), linecount, fill_with)


def _round(budget: Budget, function: _Filter, value: Any, precision: int = 0, *rest: Any, **named: Any) -> Any:
    if abs(precision) > 100:
        raise Exceeded("its numbers grow without bound")
    return function(value, precision, *rest, **named)


def _sum(budget: Budget, function: _Filter, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
    if not isinstance(start, int | float):
        raise TypeError("sum adds numbers")  # lists would be copied once per item
    return function(_read_items(budget, iterable), attribute, start)


def _listed(budget: Budget, function: _Filter, value: Any, *rest: Any) -> Any:
    return function(_items(budget, value), *rest)


def _chosen(budget: Budget, function: _Filter, value: Any, *rest: Any, **named: Any) -> Any:
    return function(_read_items(budget, value), *rest, **named)


def _sorted(budget: Budget, function: _Filter, value: Any, *rest: Any, **named: Any) -> Any:
    items = _read_items(budget, value)
    budget.spend(20 * (len(items) + budget.weight(items) // BYTES_PER_STEP))  # n log n comparisons
    return function(items, *rest, **named)


def _dictsort(budget: Budget, function: _Filter, value: Any, *rest: Any, **named: Any) -> Any:
    budget.spend(30 * len(value) + 20 * (budget.weight(value) // BYTES_PER_STEP))
    return function(value, *rest, **named)


def _each(budget: Budget, function: _Filter, value: Any = (), *rest: Any, **named: Any) -> Any:
    # What a filter passes over never comes out of it, so that it is counted where it goes in.
    return function(_counted(budget, value) if value else value, *rest, **named)


def _slowly(budget: Budget, function: _Filter, s: Any, *rest: Any, **named: Any) -> Any:
    budget.spend(budget.weight(s))  # Python code that looks at each character
    return function(s, *rest, **named)


def _plain(budget: Budget, function: _Filter, value: Any, *rest: Any, **named: Any) -> Any:
    budget.read(value)
    return function(value, *rest, **named)


def _trim(budget: Budget, function: _Filter, value: Any, chars: str | None = None) -> Any:
    budget.search(value, chars, backwards=True)
    return function(value, chars)


def _glance(_budget: Budget, function: _Filter, *values: Any, **named: Any) -> Any:
    return function(*values, **named)


def _items(budget: Budget, value: Any) -> list[Any]:
    """The items of anything that can be iterated. A text comes apart into many."""
    if isinstance(value, str):
        budget.expect(_CHARACTER * len(value))
    items = list(value)
    budget.spend(len(items))
    return items


def _read_items(budget: Budget, value: Any) -> list[Any]:
    items = _items(budget, value)
    budget.spend(10 * len(items))
    return budget.read(items)


def _counted(budget: Budget, iterable: Iterable[Any]) -> Iterator[Any]:
    for item in iterable:
        budget.spend(20)
        yield item


_GLANCES = "attr count d default first items last length reverse safe"
_PLAIN = "abs capitalize e escape float forceescape int lower string truncate upper"

FILTERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_GLANCES.split(), _glance),
    **dict.fromkeys(_PLAIN.split(), _plain),
    **dict.fromkeys(("title", "urlencode", "wordcount", "tojson"), _slowly),
    **dict.fromkeys(("map", "reject", "rejectattr", "select", "selectattr"), _each),
    **dict.fromkeys(("list", "slice"), _listed),
    **dict.fromkeys(("max", "min"), _chosen),
    **dict.fromkeys(("groupby", "sort", "unique"), _sorted),
    "batch": _batch,
    "center": _center,
    "dictsort": _dictsort,
    "format": _format,
    "indent": _indent,
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
    "trim": _trim,
}
"""Jinja's filters that templates may use, each with what runs in its place. Left out: `random`, whose text nobody could
reproduce, and those for web pages (`urlize`, `striptags`, `xmlattr`, `wordwrap`, `filesizeformat`, `pprint`)."""
