"""What is looked for in a baked model, and with which engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.baking import check as checking
from localprobe.baking.check import check
from localprobe.baking.subspace import basis
from localprobe.errors import EngineNotInstalled, ModelError, OutOfMemory
from localprobe.vectors.vector import Vector

Made = Callable[..., Vector]


def test_the_part_of_random_directions_is_1_in_a_model_that_was_not_baked(
    vector: Made, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "TOLERANCE", {"float32": 10.0, "bfloat16": 10.0})
    directions = basis([vector(seed) for seed in range(8)], [2] * 8)
    found = check(llama, directions, "float32")
    assert found.layers == 4
    assert 0.7 < found.left < 1.5


def test_more_than_rounding_explains_is_an_error_with_its_layer(vector: Made, llama: Path) -> None:
    with pytest.raises(ModelError, match=r"the removal does not hold: at layer \d the residuals .* nothing was kept"):
        check(llama, basis([vector()], [2]), "float32")


def test_a_part_that_is_no_number_is_no_pass(vector: Made, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(residuals: Any, directions: Any) -> Any:
        return np.full(residuals.shape[:2], np.nan)

    monkeypatch.setattr(checking, "_parts", nothing)
    with pytest.raises(ModelError, match="nan of what a random direction has"):
        check(llama, basis([vector()], [2]), "float32")


def test_it_computes_in_the_models_own_type_where_float32_does_not_fit(
    vector: Made, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, asked = checking.Model.load, []

    def tight(name: str, engine: str, options: Any, **named: Any) -> Any:
        asked.append(options.dtype)
        if options.dtype == "float32":
            raise OutOfMemory("it takes 280 GB")
        return load(name, engine, options, **named)

    monkeypatch.setattr(checking.Model, "load", tight)
    monkeypatch.setattr(checking, "TOLERANCE", {"float32": 10.0, "bfloat16": 10.0})
    check(llama, basis([vector()], [2]), "float32")
    assert asked == ["float32", None]


def test_without_an_engine_there_is_no_check(vector: Made, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "engines", list)
    with pytest.raises(EngineNotInstalled, match="no engine that loads folders is installed"):
        check(llama, basis([vector()], [2]), "float32")


def test_engines_that_load_only_gguf_are_not_asked() -> None:
    found = checking.engines()
    assert "llama" not in found
    assert "fake" not in found
    assert found[0] == "torch"
