"""Reading a TOML file strictly into declared types: every mistake gives one line with file, table and key.

    class Sampling(Table):
        temperature: Annotated[float, Meta(ge=0)] = 0.7

    read_toml(path, Sampling)     # mine.toml: temperature: -1 is not a number of 0 or more

Messages describe a value by its type, or by the `description` of its `Meta`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from localprobe.errors import DataError
from localprobe.store.text_files import read_text
from localprobe.suggest import close_match, shown


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """Base class of the tables of a file. Undeclared keys are errors, since they may be misspelt."""


T = TypeVar("T", bound=Table)

_DEEP = "lists and tables lie too deep inside each other: flatten them"
_DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}""")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_KEY = re.compile(r"Object (missing required|contains unknown) field `(.+)`")


def read_toml(path: Path, kind: type[T]) -> T:
    """The file as a table of that kind. DataError, in one line, if it cannot be read or is invalid.

    A number that is infinite, NaN or an integer of over 64 bits is invalid everywhere.
    """
    text = read_text(path)
    if _DEEP_KEY.search(text):  # tomllib's memory grows with the square of their number
        raise DataError(f"{path}: {_DEEP}")
    try:
        values = tomllib.loads(text)
        _check_numbers(_fits, values, str(path))
        table = msgspec.convert(values, kind)
        _check_numbers(isfinite, values, str(path))
    except RecursionError as error:
        raise DataError(f"{path}: {_DEEP}") from error
    except msgspec.ValidationError as error:
        raise DataError(f"{path}{_explained(str(error), values, inspect.type_info(kind))}") from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}") from error
    except ValueError as error:  # Python's own limit on digits
        raise DataError(f"{path}: a number has thousands of digits: write a smaller one") from error
    return table


def _check_numbers(usable: Callable[[int | float], bool], value: Any, place: str, key: str = "") -> None:
    """DataError for a number inside the value of `key` that is not usable."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(usable, inner, f"{place}, [{key}]" if key else place, shown(name)[1:-1])
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            table = isinstance(inner, dict)
            _check_numbers(usable, inner, f"{place}, {key} {number}" if table else place, "" if table else key)
    elif isinstance(value, int | float) and not usable(value):
        raise DataError(f"{place}: {key}: {shown(value)} is no number that can be used")


def _fits(value: int | float) -> bool:
    return isinstance(value, float) or -(1 << 63) <= value < 1 << 63


def _explained(error: str, value: Any, kind: inspect.Type) -> str:
    """Place, key, value and what to write, from msgspec's message, `Expected ... - at `$.models[0].name``."""
    message, _, where = error.partition(" - at `$")
    place, key, expected = "", "", ""
    for name, number in _STEP.findall(where):
        if name:
            place += f", [{key}]" if key else ""
            key, value, kind = name, value[name], _fields(kind)[name]
        else:
            value, kind = value[int(number)], _item(kind)
            if isinstance(value, dict):
                place, key = f"{place}, {key} {int(number) + 1}", ""
        expected = _described(kind)
    inside = f"{place}, [{key}]" if isinstance(value, dict) and key else place
    if match := _KEY.fullmatch(message):
        return f"{inside}: {f'{match[2]} is missing' if 'missing' in match[1] else _unknown(match[2], kind)}"
    if not message.startswith(("Expected", "Invalid")):  # raised by a check of the table itself
        return f"{inside}: {message}"
    return f"{place}: {key}: {shown(value)} is not {expected}"


def _unknown(key: str, kind: inspect.Type) -> str:
    keys = _fields(kind)
    near = close_match(key, keys, cutoff=0.75)
    return f"unknown key {shown(key)}: {f'did you mean {near!r}? It' if near else 'it'} may be one of {', '.join(keys)}"


def _described(kind: inspect.Type) -> str:
    """Description of the values of a type."""
    plain, description = _plain(kind)
    if description:
        return description
    match plain:
        case inspect.LiteralType(values=values):
            return f"one of {', '.join(map(str, values))}"
        case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
            words, spec = ("a whole number", "") if isinstance(plain, inspect.IntType) else ("a number", "g")
            words += "" if least is None else f" of {least:{spec}} or more"
            return words + ("" if most is None else f", at most {most:{spec}}")
        case inspect.VarTupleType(item_type=item):
            tables = isinstance(item, inspect.StructType)
            return "a list of tables, each under its name in [[ ]]" if tables else "a list with something in it"
        case inspect.BoolType():
            return "true or false"
    return "a text" if isinstance(plain, inspect.StrType) else "a table"


def _fields(kind: inspect.Type) -> dict[str, inspect.Type]:
    return {field.encode_name: field.type for field in _plain(kind)[0].fields}


def _item(kind: inspect.Type) -> inspect.Type:
    """The type of a list's items, also if the list is one of several allowed types."""
    plain = _plain(kind)[0]
    options = [_plain(option)[0] for option in getattr(plain, "types", (plain,))]
    return next(option.item_type for option in options if isinstance(option, inspect.VarTupleType))


def _plain(kind: inspect.Type) -> tuple[Any, str]:
    """The type without None if it is optional, and its description."""
    if isinstance(kind, inspect.Metadata):
        return _plain(kind.type)[0], str((kind.extra_json_schema or {}).get("description", ""))
    if isinstance(kind, inspect.UnionType):
        options = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
        return _plain(options[0]) if len(options) == 1 else (kind, "")
    return kind, ""
