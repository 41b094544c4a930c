"""Frozen dataclasses as JSON values and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.errors import DataError
from localprobe.store.json_values import from_json, to_json


@dataclass(frozen=True, slots=True)
class Part:
    layer: int
    auroc: float | None


@dataclass(frozen=True, slots=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    ends: tuple[float, float] | None = None
    by_layer: Mapping[int, Part] | None = None

    @property
    def best(self) -> int:
        return max(self.parts, key=lambda part: part.auroc or 0).layer


WHOLE = Whole("probe", (Part(0, 0.1 + 0.2), Part(1, None)), (-0.3, 1.0), {1: Part(1, 0.5)})
VALUES = {
    "name": "probe",
    "parts": [{"layer": 0, "auroc": 0.30000000000000004}, {"layer": 1, "auroc": None}],
    "ends": [-0.3, 1.0],
    "by_layer": {"1": {"layer": 1, "auroc": 0.5}},
}


def test_fields_become_keys_and_come_back() -> None:
    assert to_json(WHOLE) == VALUES
    assert list(to_json(WHOLE)) == list(VALUES)
    assert from_json(Whole, VALUES) == WHOLE


def test_values_survive_a_file() -> None:
    assert from_json(Whole, json.loads(json.dumps(to_json(WHOLE), allow_nan=False))) == WHOLE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_say_is_none(value: float) -> None:
    assert to_json(Part(0, value)) == {"layer": 0, "auroc": None}


def test_numpy_scalars_and_arrays_are_plain_numbers() -> None:
    values = to_json({"area": np.float64(0.75), "layer": np.int64(3), "scores": np.array([[0.5, np.nan]])})
    assert values == {"area": 0.75, "layer": 3, "scores": [[0.5, None]]}
    assert [type(values[name]) for name in ("area", "layer")] == [float, int]


def test_a_type_without_a_json_value_is_refused() -> None:
    with pytest.raises(TypeError, match="has no JSON value"):
        to_json({"file": Path("probe.safetensors")})


def test_keys_of_a_newer_version_are_ignored_and_defaults_fill_in() -> None:
    assert from_json(Whole, {"name": "probe", "parts": [], "colour": "red"}) == Whole("probe", ())


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"name": "probe"}, "not a Whole: Object missing required field `parts`"),
        ({"name": 3, "parts": []}, r"not a Whole: Expected `str`, got `int` - at `\$.name`"),
        (
            {"name": "probe", "parts": [{"layer": 1.5, "auroc": None}]},
            r"Expected `int`, got `float` - at `\$.parts\[0\]",
        ),
        ([], "not a Whole: Expected `object`, got `array`"),
    ],
)
def test_wrong_values_are_named(values: Any, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        from_json(Whole, values)


def test_an_integer_is_read_where_a_float_is_expected() -> None:
    (part,) = from_json(Whole, {"name": "probe", "parts": [{"layer": 0, "auroc": 1}]}).parts
    assert (part.auroc, type(part.auroc)) == (1.0, float)
