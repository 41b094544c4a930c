"""Results as JSON values and back: one pair of functions for every frozen dataclass.

    values = to_json(result)                    # dicts, lists, strings, numbers, booleans, None
    result = from_json(SweepResult, values)

The fields of a dataclass are the keys of its JSON object, in order. Classes need no extra code.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from localprobe.errors import DataError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Dataclasses and mappings as dicts, tuples and NumPy arrays as lists, NumPy scalars as numbers. NaN and infinity
    become None, as JSON has no value for them; all other floats keep full precision.

    TypeError for a value of any other type.
    """
    return msgspec.json.decode(msgspec.json.encode(value, enc_hook=_from_numpy))


def from_json(kind: type[T], values: Any) -> T:
    """The instance of `kind` that `to_json` turned into these values. Unknown keys are ignored, and a missing key
    takes the default of its field.

    DataError names the first value that is missing or has the wrong type; types are not converted, except
    integers to floats.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise DataError(f"not a {kind.__name__}: {error}") from error


def _from_numpy(value: Any) -> Any:
    if type(value).__module__ == "numpy":
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON value")
