"""Results of made-up sweeps: what every answer says is chosen, all else is worked out as it is for a real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from localprobe.contrast.words import words
from localprobe.experiments.cells import CellAnswer, CellMeasures
from localprobe.experiments.grid import Cell
from localprobe.experiments.result import SweepResult
from localprobe.experiments.summary import result_of

CARING = "I am so sorry to hear this, and I understand how hard it is; let me listen to you for a while."
TASK = "The objective comes first: complete the task, achieve the goal, and let the optimal strategy win in the end."
LOOP = "one two three four five six seven eight nine ten. " * 3
"""Degenerate, and coherent by the paper's rule."""
STUTTER = "so " * 40
"""Degenerate, and incoherent too."""


@dataclass(frozen=True)
class At:
    """Where an answer stands."""

    model: str
    arm: str
    pole: str
    layer: int
    scenario: str
    pressure: bool
    dose: float
    sample: int
    samples: int
    ablated: float = 0.0
    """The share of an ablation."""
    steering: str = ""
    """An expression."""

    def share(self, wanted: float) -> str:
        """Caring in so large a share of the condition's samples, and about the task in the others."""
        return CARING if self.sample < round(wanted * self.samples) else TASK


Writes = Callable[[At], str | None]
"""The text of an answer; None for one that is still to be generated."""


def sweep(writes: Writes, **options: Any) -> SweepResult:
    """The result of a made-up sweep (see `_sweep`), worked out once for all tests, which leave it as it is."""
    return _sweep(writes, **{name: _hashable(value) for name, value in options.items()})


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | range) else value


@cache
def _sweep(
    writes: Writes,
    *,
    models: Sequence[tuple[str, str]] = (("tiny", ""),),
    arms: Sequence[str] = ("vector", "random", "system", "both"),
    layers: Sequence[int] = (1, 2),
    prompts: Sequence[tuple[str, bool]] = (("bus", True), ("rain", True), ("dog", True)),
    doses: Sequence[float] = (-0.4, -0.2, 0.0, 0.2, 0.4),
    samples: int = 10,
    auroc: Sequence[float | None] = (0.9, 0.8),
    measured: bool = True,
    unit: str = "dose",
    shares: Sequence[float] = (0.5, 1.0),
    steering: Sequence[str] = (),
) -> SweepResult:
    """Alpha is ten times the dose. Perplexity goes with e to the size of the dose, and KL is that size."""
    answers, facts = [], []
    for model, label in models:
        places = _places(model, arms, layers, prompts, doses, samples, shares, steering)
        done = [_answer(at, text, label, measured) for at in places if (text := writes(at)) is not None]
        answers += done
        facts.append(_facts(model, label, layers, auroc, len(places), steering))
    experiment = {
        "name": "made up",
        "models": [{"name": model, "engine": "fake"} for model, _ in models],
        "concept": "empathy",
        "positions": "all",
        "samples": samples,
        "tokens": 40,
        "seed": 0,
        "arms": list(arms),
        "strengths": {"unit": unit, "values": list(doses)},
        "shares": list(shares) if {"ablate", "random-ablate"} & set(arms) else [],
        "steering": list(steering),
        "sampler": {"temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
        "words": {"positive": ["sorry", "understand", "listen"], "negative": ["task", "goal", "win", "objective"]},
        "prompts": [
            {"id": name, "title": f"The {name.title()}", "text": name, "pressure": pressure}
            for name, pressure in prompts
        ],
    }
    return result_of({"experiment": experiment, "models": facts, "waiting": {}}, answers)


def _places(
    model: str,
    arms: Sequence[str],
    layers: Sequence[int],
    prompts: Sequence[tuple[str, bool]],
    doses: Sequence[float],
    samples: int,
    shares: Sequence[float],
    steering: Sequence[str],
) -> list[At]:
    steered = [dose for dose in doses if dose]
    kinds: list[tuple[str, str, int, float]] = [("baseline", "", -1, 0.0)]
    ablating = [arm for arm in arms if arm.endswith("ablate")]
    unsigned = [(arm, layer, share, "") for arm in ablating for layer in layers for share in shares]
    unsigned += [("steering", layers[0], 0.0, text) for text in steering]
    for arm in (arm for arm in arms if arm not in ablating):
        poles = ("positive", "negative") if arm in ("system", "both") else ("",)
        where = [(-1, 0.0)] if arm == "system" else [(layer, dose) for layer in layers for dose in steered]
        kinds += [(arm, pole, *at) for pole in poles for at in where]
    return [
        At(model, arm, pole, layer, *prompt, dose, sample, samples)
        for arm, pole, layer, dose in kinds
        for prompt in prompts
        for sample in range(samples)
    ] + [
        At(model, arm, "", layer, *prompt, 0.0, sample, samples, share, text)
        for arm, layer, share, text in unsigned
        for prompt in prompts
        for sample in range(samples)
    ]


def _answer(at: At, text: str, label: str, measured: bool) -> CellAnswer:
    steered = at.layer >= 0
    layer, vector = (at.layer, "care") if steered else (None, "")
    does = at.dose, at.ablated, at.steering
    key = "/".join(map(str, (at.model, at.arm, at.pole, layer, at.scenario, at.pressure, *does, at.sample)))
    unsigned = bool(at.ablated or at.steering)
    cell = Cell(
        key=key,
        stream=key,
        model=at.model,
        engine="fake",
        label=label,
        arm=at.arm,
        scenario=at.scenario,
        pressure=at.pressure,
        pole=at.pole,  # type: ignore[arg-type]
        vector=vector,
        layer=layer,
        dose=None if unsigned else at.dose,
        alpha=None if unsigned else 10 * at.dose,
        sample=at.sample,
        share=at.ablated or None,
        steering=at.steering,
    )
    names = [f"care:{at.layer}"] if steered else ["care:1", "care:2"]
    moved = at.dose - at.ablated
    measures = CellMeasures(nll=2 + abs(moved), readings=dict.fromkeys(names, moved), kl=abs(moved))
    ids = np.arange(len(words(text)), dtype=np.int32)
    return CellAnswer(cell, text, "eos", ids, dict.fromkeys(names, 2 * at.dose), measures if measured else None)


def _facts(
    model: str,
    label: str,
    layers: Sequence[int],
    auroc: Sequence[float | None],
    cells: int,
    steering: Sequence[str],
) -> dict[str, Any]:
    at = [{"layer": layer, "above": layer, "auroc": value} for layer, value in zip(layers, auroc, strict=False)]
    origin = {"model": model, "method": "made-up"}
    vector = {
        "name": "care",
        "identity": "care",
        "concept": "empathy",
        "best": layers[0],
        "origin": origin,
        "layers": at,
    }
    return {
        "choice": f"{model} on fake",
        "model": model,
        "engine": "fake",
        "label": label,
        "weights": "0" * 8,
        "dtype": "float32",
        "quantisation": None,
        "device": "cpu",
        "version": "1",
        "expected": cells,
        "rate": 100.0,
        "vectors": [vector],
        "expressions": [
            {
                "text": text,
                "operator": "ablate",
                "vector": "care",
                "layer": layers[0],
                "above": layers[0],
                "identities": {"care": "care"},
            }
            for text in steering
        ],
    }
