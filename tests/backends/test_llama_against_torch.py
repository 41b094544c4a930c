"""Operators through llama.cpp against hooks in transformers, on the same weights in float32, at the layers above.

llama.cpp rounds activations to 8 bits before it multiplies them by quantised weights, and transformers does not: so
unsteered residuals differ too, and by as much may steered ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.edits import edited
from localprobe.engine import Coordinates, FloatArray, IntArray, Row, Steering, Term
from localprobe.testing.contract.base import text_ids

pytest.importorskip("llama_cpp")
pytest.importorskip("torch")

import torch
import transformers

from localprobe_llama.engine import LlamaEngine
from tests.backends.llama_models import load
from tests.bundled import as_folder, smollm2

pytestmark = [pytest.mark.real, pytest.mark.slow]

LAYER, LENGTH, ROWS = 12, 9, 16
SPANS = {"all": (0, None), "from the middle": (4, None), "one": (4, 5), "response": (5, None)}


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaEngine]:
    engine = load(smollm2())
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The dequantised model in transformers, in float32."""
    with as_folder(smollm2(), tmp_path_factory.mktemp("smollm2")) as weights:
        yield transformers.AutoModelForCausalLM.from_pretrained(weights.path, dtype=torch.float32).eval()


def hooked(model: Any, ids: IntArray, steering: Steering) -> FloatArray:
    """Residuals (layers, n, width) of transformers, edited in its blocks."""
    residuals: list[FloatArray] = []

    def hook(layer: int) -> Any:
        def edit(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output)[0].numpy().copy()
            for term in steering:
                if term.layer == layer:
                    hidden[term.start : term.stop] = edited(hidden[term.start : term.stop], term)
            residuals.append(hidden)
            changed = torch.from_numpy(hidden.copy())[None]
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return edit

    with ExitStack() as hooks, torch.no_grad():
        for layer, block in enumerate(model.model.layers):
            hooks.enter_context(block.register_forward_hook(hook(layer)))
        model(torch.from_numpy(ids.astype(np.int64))[None])
    return np.stack(residuals)


def distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of residuals (..., width), relative to the norm of `other`; without the first token, whose norm is huge."""
    norms = np.linalg.norm(one - other, axis=-1) / np.linalg.norm(other, axis=-1)
    return np.asarray(norms[..., 1:], np.float32)


@pytest.fixture(scope="module")
def plain(engine: LlamaEngine) -> FloatArray:
    """Unsteered residuals (texts, layers, n, width), each text alone."""
    return run(engine, [Row(text_ids(engine, number, LENGTH)) for number in range(ROWS)], together=False)


@pytest.fixture(scope="module")
def rounding(engine: LlamaEngine, exact: Any, plain: FloatArray) -> FloatArray:
    """How far unsteered residuals are from float32."""
    return distances(plain, np.stack([hooked(exact, text_ids(engine, number, LENGTH), ()) for number in range(ROWS)]))


def run(engine: LlamaEngine, rows: list[Row], *, together: bool) -> FloatArray:
    batches = [rows] if together else [[row] for row in rows]
    layers = range(engine.info.layers)
    return np.stack([output.residuals for batch in batches for output in engine.forward(batch, layers)])


def terms(plain: FloatArray, share_of_mean: float) -> list[Term]:
    """Each operator along a direction that leans towards the mean residual, so that it does more than rounding does,
    and not so much that the model breaks, which would amplify rounding."""
    mean = plain[:, LAYER, 1:].mean(axis=(0, 1))
    size = share_of_mean * float(np.linalg.norm(mean))
    random = np.random.default_rng(0).normal(size=(len(mean), 3))
    away = random[:, 0] / np.linalg.norm(random[:, 0])
    leaning = share_of_mean * mean / np.linalg.norm(mean) + np.sqrt(1 - share_of_mean**2) * away
    unit = (leaning / np.linalg.norm(leaning)).astype(np.float32)
    basis = np.linalg.qr(np.column_stack([unit, random[:, 1:]]))[0].T.astype(np.float32)

    def along(count: int = 1, target: float = 0.0, **how: float) -> Term:
        directions = np.ascontiguousarray(basis[:count]) if count > 1 else unit[None]
        return Term.along(LAYER, Coordinates(directions, np.full(count, target, np.float32), **how))

    return [
        Term(LAYER, np.float32(size) * unit),
        Term(LAYER, np.float32(-2 * size) * unit, keep_norm=True),
        along(share=1.0),
        along(share=0.5),
        along(share=1.0, target=-size),
        along(3, share=1.0),
        along(low=-0.1 * size, high=0.1 * size),
        along(low=-size, high=-size),
    ]


def steerings(plain: FloatArray) -> list[Steering]:
    """Sixteen rows: each operator at two kinds of position."""
    spans = list(SPANS.values())
    places = [spans[(number + number // 8) % len(spans)] for number in range(ROWS)]
    own = terms(plain, 0.35) * 2
    return [(replace(term, start=start, stop=stop),) for term, (start, stop) in zip(own, places, strict=True)]


@pytest.mark.parametrize("where", ["alone", "in a batch", "every layer"])
def test_the_layers_above_an_edit_follow_as_in_float32(
    engine: LlamaEngine, exact: Any, plain: FloatArray, rounding: FloatArray, where: str
) -> None:
    steered = steerings(plain)
    if where == "every layer":
        ablation = terms(plain, 0.2)[2]
        steered = [tuple(replace(ablation, layer=layer) for layer in range(engine.info.layers))] * 4
    rows = [Row(text_ids(engine, number, LENGTH), own) for number, own in enumerate(steered)]
    moved = run(engine, rows, together=where == "in a batch")
    off = distances(moved, np.stack([hooked(exact, row.ids, row.steering) for row in rows]))
    # A steered text is another draw of the same rounding: alike on average, and no token twice as far off as any was.
    assert off.mean() <= 1.5 * rounding.mean()
    assert off.max() <= 2 * rounding.max()
    effect = distances(moved, plain[: len(rows)])[:, LAYER:].max(axis=(1, 2))
    assert effect.min() > 2 * rounding.max()
