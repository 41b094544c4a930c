"""What holds for a model with any RoPE on every engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from localprobe.engine import Engine, FloatArray, IntArray, Output, Prompt, Row, Sampler, Term, Watch
from localprobe.errors import UsageError
from localprobe.generation.decode import Decoding, Request, generate
from localprobe.generation.events import Score, Token
from tests.backends.rope_models import CONTEXT, ORIGINAL, texts

TOLERANCE = 1e-3  # of a residual's size; the faults that this is for are off by 0.1 and more


def near(actual: FloatArray, expected: FloatArray, tolerance: float = TOLERANCE) -> None:
    """Equal but for rounding, relative to the largest norm of a residual."""
    largest = np.linalg.norm(expected, axis=-1).max()
    assert np.abs(actual - expected).max() < tolerance * largest


def check_rows(engine: Engine, expected: Sequence[FloatArray], tolerance: float = TOLERANCE) -> None:
    """Residuals of texts alone, and in a batch of all of them, are the `expected` ones (layers - 1, n, width)."""
    layers = list(range(engine.info.layers - 1))
    rows = [Row(ids) for ids in texts()]
    together = engine.forward(rows, layers)
    for row, output, states in zip(rows, together, expected, strict=True):
        near(engine.forward([row], layers)[0].residuals, states, tolerance)
        near(output.residuals, states, tolerance)


def check_decoding(engine: Engine, tolerance: float = TOLERANCE) -> None:
    """Steered answers that outgrow the original context are predicted and scored as by a pass over the text so far."""
    random = np.random.default_rng(1)
    vector, delta = random.standard_normal((2, engine.info.width)).astype(np.float32)
    layer = engine.info.layers - 2
    prompts = [texts()[3][:n] for n in (ORIGINAL - 8, ORIGINAL - 3, ORIGINAL + 20, 9)]
    requests = [
        Request(ids, (Term(0, delta * i, len(ids) - 1),), Sampler(1.0), str(i), 20) for i, ids in enumerate(prompts)
    ]
    events = list(generate(engine, requests, [Watch(layer, vector)]))
    for i, request in enumerate(requests):
        tokens = [event for event in events if isinstance(event, Token) and event.row == i]
        scores = [float(event.values[0]) for event in events if isinstance(event, Score) and event.row == i]
        whole = np.array([*request.ids, *(token.id for token in tokens)], np.int32)
        start = len(request.ids)
        short, long = (_pass(engine, request, whole, stop, layer) for stop in (ORIGINAL, len(whole)))
        assert len(scores) == len(tokens)
        for position, (token, score) in enumerate(zip(tokens, scores, strict=True), start):
            residuals = (short if position < ORIGINAL else long).residuals[0]  # (n, width)
            size = np.linalg.norm(residuals, axis=-1).max() * np.linalg.norm(vector)
            assert abs(score - residuals[position] @ vector) < tolerance * size
            logprobs = (short if position <= ORIGINAL else long).targets
            assert abs(token.logprob - logprobs[position - start]) < 20 * tolerance


def _pass(engine: Engine, request: Request, whole: IntArray, stop: int, layer: int) -> Output:
    """A pass over the first `stop` tokens, with the log-probability of each token of the answer that they predict."""
    start, ids = len(request.ids), whole[:stop]
    targets = [(position - 1, whole[position]) for position in range(start, min(len(ids) + 1, len(whole)))]
    row = Row(ids, request.steering, targets=np.array(targets, np.int32).reshape(-1, 2))
    return engine.forward([row], [layer])[0]


def check_reuse(engine: Engine) -> None:
    """A row that outgrew the length is prefilled anew; a stream does not run past it, and takes no row from across."""
    ids = texts()[3]
    old = engine.open([Prompt(ids[: ORIGINAL - 1], sampler=Sampler(0))], room=10)
    for _ in range(2):
        old.step(np.array([0.5]))
    with pytest.raises(UsageError, match=f"row 0 holds {ORIGINAL} tokens"):
        old.step(np.array([0.5]))
    with pytest.raises(UsageError, match=f"row 0 holds {ORIGINAL} tokens"):
        old.settle()
    with pytest.raises(UsageError, match=f"more than {ORIGINAL} tokens by other factors"):
        engine.open([Prompt(ids), Prompt(ids[:9])], room=3)
    old.close()


def check_dynamic(engine: Engine) -> None:
    """`dynamic` frequencies change beyond the context only, and rows end there."""
    ids = np.resize(texts()[0], CONTEXT)
    with pytest.raises(UsageError, match=f"holds {CONTEXT}"):
        Decoding(engine, [Request(ids)])
    events = list(generate(engine, [Request(ids[:-3], tokens=20)]))
    assert sum(isinstance(event, Token) for event in events) <= 3
