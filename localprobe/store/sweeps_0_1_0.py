"""The results of sweeps as localprobe 0.1.0 kept them, turned into those of today: pure functions on JSON values.

The two differ in two places. 0.1.0 kept a series without curves while its baseline was missing, with null for what it
could not compare; and a sweep that was killed before its first result had none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sweep(about: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a run of kind `sweep`; `about` is what its run keeps beside it."""
    return steering(result) if result else _nothing_yet(about)


def steering(result: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep's result that is not empty: as a sweep keeps it, or a run of kind `reproduce` as `steering`."""
    models = [
        {**model, "series": [series for series in model["series"] if series["curves"]]} for model in result["models"]
    ]
    return {**result, "models": models}


def _nothing_yet(about: Mapping[str, Any]) -> dict[str, Any]:
    """Of an experiment without any answers; the cells that a store has beside it are counted when it is shown."""
    experiment = about["experiment"]
    expected = sum(facts["expected"] for facts in about["models"]) + sum(about["waiting"].values())
    names = ("name", "concept", "positions", "samples", "tokens", "seed", "arms")
    return {
        "format": 1,
        **{name: experiment[name] for name in names},
        "unit": experiment["strengths"]["unit"],
        "sampling": experiment["sampler"],
        "cells": {"expected": expected, "done": 0, "measured": 0, "judged": 0},
        "models": [],
    }
