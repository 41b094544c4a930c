"""Converting results of sweeps stored by localprobe 0.1.0: pure functions on JSON values.

There are two differences. 0.1.0 stored a series without curves, with nulls, while its baseline was missing; and a
sweep that was killed before its first result had no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sweep(about: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a run of kind `sweep`, whose other stored part is `about`."""
    return steering(result) if result else _nothing_yet(about)


def steering(result: Mapping[str, Any]) -> dict[str, Any]:
    """The non-empty result of a sweep, or the part `steering` of a run of kind `reproduce`."""
    models = [
        {**model, "series": [series for series in model["series"] if series["curves"]]} for model in result["models"]
    ]
    return {**result, "models": models}


def _nothing_yet(about: Mapping[str, Any]) -> dict[str, Any]:
    """The result of an experiment without answers; its stored cells are counted when it is shown."""
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
