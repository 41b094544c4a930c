"""The rows that sweeps are measured by: a scenario at several strengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common import LAYER
from benchmarks.timing import PROMPT
from localprobe.contrast.scenarios import scenario
from localprobe.engine import Sampler
from localprobe.generation import decode
from localprobe.generation.answer import collect
from localprobe.generation.decode import Request
from localprobe.model import Model
from localprobe.steering.positions import term


def requests(model: Model, rows: int, tokens: int, strengths: int = 8, prompt: str = "") -> list[Request]:
    """Rows of one prompt at `strengths` alphas, those of one alpha beside each other as a sweep has them."""
    ids = model.ids(prompt or scenario("the_listener").prompt())
    v = np.random.default_rng(0).standard_normal(model.info.width).astype(np.float32)
    v /= np.linalg.norm(v)
    alphas = np.linspace(-0.1, 0.1, strengths) * float(model.scale[LAYER])
    steerings = [(term(LAYER, v, float(alpha)),) for alpha in alphas]
    sampler = Sampler(temperature=0.7)
    return [
        Request(ids, steerings[number * strengths // rows], sampler, f"row {number}", tokens) for number in range(rows)
    ]


def alike(model: Model, goal: float, rows: int = 24, tokens: int = 80) -> dict[str, Any]:
    """How many texts are the same whether their rows are decoded together or one by one, from the same seeds."""
    asked = requests(model, rows, tokens, prompt=PROMPT)
    together, alone = texts(model, asked, rows), texts(model, asked, 1)
    same = sum(one == other for one, other in zip(together, alone, strict=True))
    return {
        "measure": f"{model.info.engine}: texts of {tokens} tokens that are the same in a batch and alone",
        "ours": same,
        "other": rows,
        "unit": "texts",
        "ratio": same / rows,
        "goal": goal,
    }


def texts(model: Model, asked: list[Request], width: int) -> list[str]:
    """The answers to requests, at most `width` at a time."""
    return [answer.text for answer in collect(decode.generate(model.engine, asked, width=width), len(asked))]
