"""Results as JSON values and back: one pair of functions for every frozen dataclass.

    values = to_json(result)                    # dicts, lists, strings, numbers, booleans, None
    result = from_json(SweepResult, values)

The fields of a dataclass are the keys of its JSON object, in order. A class needs no code of its own for this.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from localprobe.errors import DataError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses and mappings as dicts, tuples and NumPy arrays as lists, NumPy scalars as numbers. NaN and infinities
    become None, which JSON has no other value for; every other float keeps all of its digits.

    TypeError for a value of any other type.
    """
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_from_numpy))


def from_json(kind: type[T], values: Any) -> T:
    """The `kind` that `to_json` made these values of. Keys that `kind` does not have are ignored, and a missing key
    takes the default of its field.

    DataError names the first value that is missing or has the wrong type; nothing is converted between types, except
    an integer where a float is expected.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise DataError(f"not a {kind.__name__}: {error}") from error


def _from_numpy(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON value")
