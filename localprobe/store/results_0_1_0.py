"""Converting results stored by localprobe 0.1.0: one pure function for each kind of run.

0.1.0 stored the figures of a probe in one flat object, and only some of its options. The others are read from the
command if they differ from 0.1.0's defaults. Of sweeps it stored a series without curves, with nulls, while its
baseline was missing; one that was killed before its first result had no result.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from localprobe.store.changes import StoredRun

_VALIDATION = ("permutation", "baselines", "leave_one_out", "lexical", "neutral", "verdict")
_OPTIONS = {"test_fraction": 0.3, "seed": 0, "resamples": 2000, "permutations": 1000}
_LIKENESS = ("pearson", "spearman", "within_poles")


def fit(run: StoredRun) -> StoredRun:
    """A fit; 0.1.0 stored no figures for it."""
    about, old = run
    on = about["measured_on"]
    origin = {name: on[name] for name in ("model", "engine", "architecture", "weights", "width", "layers")}
    origin |= {"method": old["method"], "pooling": old["pooling"], "version": about["versions"]["localprobe"]}
    return run._replace(
        result={
            "concept": old["concept"],
            "config": _config(about, old["method"], old["pooling"]),
            "origin": origin,
            "train_pairs": old["train_pairs"],
            "test_pairs": old["held_out_pairs"],
            "layer": old["best"],
            "layers": [],
            "measured_on": on,
        }
    )


def validate(run: StoredRun) -> StoredRun:
    """A validation."""
    config = _config(run.about, run.result["method"], run.result["origin"]["pooling"])
    return run._replace(result={**_probe(run.result, config), "pairs": run.result["pairs"]})


def compare(run: StoredRun) -> StoredRun:
    """Several models on the same pairs."""
    old = run.result
    config = _config(run.about, old["method"], old["pooling"]) | {"seed": old["seed"]}
    models = [
        {"label": model["label"], "probe": _probe(model, config), "behaviour": model["behaviour"]}
        for model in old["models"]
    ]
    agreement = [
        {
            "models": pair["models"],
            "layers": pair["layers"],
            "scores": {name: pair[name] for name in _LIKENESS},
            "directions": pair["directions"],
        }
        for pair in old["agreement"]
    ]
    result = {"concept": old["concept"], "config": config, "models": models, "agreement": agreement}
    return run._replace(result={**result, "pairs": old["pairs"]})


def sweep(run: StoredRun) -> StoredRun:
    """The answers of an experiment."""
    return run._replace(result=_steering(run.result) if run.result else _nothing_yet(run.about))


def reproduce(run: StoredRun) -> StoredRun:
    """A comparison, and the result of the sweep if there was one."""
    result = {"ratings": run.result["ratings"], "detection": compare(run).result}
    if "steering" in run.result:
        result["steering"] = _steering(run.result["steering"])
    return run._replace(result=result)


CHANGES = {"fit": fit, "validate": validate, "compare": compare, "sweep": sweep, "reproduce": reproduce}
"""By kind of run. The result of `correlate` is the same as today's."""


def _probe(old: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "concept": old["concept"],
        "config": config,
        "origin": old["origin"],
        "train_pairs": old["train_pairs"],
        "test_pairs": old["test_pairs"],
        "layer": old["nested"]["layer"],
        "layers": old["layers"],
        "scale": old["scale"],
        "scores": old["scores"],
        "validation": {name: old[name] for name in _VALIDATION},
        "measured_on": old["measured_on"],
    }


def _config(about: Mapping[str, Any], method: str, pooling: str) -> dict[str, Any]:
    """The configuration of a probe: stored options, else those of the command, else 0.1.0's defaults."""
    words = shlex.split(about["command"].replace("=", " "))
    config: dict[str, Any] = {"method": method, "pooling": pooling, "random_directions": 100}
    for name, default in _OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        config[name] = type(default)(words[words.index(option) + 1]) if option in words else default
    return config


def _steering(result: Mapping[str, Any]) -> dict[str, Any]:
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
