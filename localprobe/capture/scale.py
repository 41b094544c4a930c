"""The scale of a model: the residual lengths that doses are measured in.

A raw alpha cannot be compared across models, whose residual lengths range from 5 to 50,000. The dose of an addition is
`alpha * |v| / scale` (`Direction.dose`), where the scale of a layer is the median residual length there over the tokens
of the neutral texts that ship, without the first token (an attention sink, several times as long).
"""

from __future__ import annotations

import numpy as np

from localprobe.capture.residuals import capture, encode
from localprobe.engine import Engine, FloatArray
from localprobe.store import memo

_KIND = "scale"
_TEXTS = 16  # some 1,500 tokens; with more, the median changes by under 1 %


def residual_scale(engine: Engine) -> FloatArray:
    """Median residual length of every layer, (layers,) float32; measured once per model and engine, then cached.

    Another tokenizer with the same weights, or a shorter context that cuts the texts, has a scale of its own.
    """
    about = key(engine)
    cached = memo.recall(_KIND, about)
    if isinstance(cached, list) and len(cached) == engine.info.layers:
        return np.array(cached, dtype=np.float32)
    measured = measure(engine)
    memo.keep(_KIND, about, [float(x) for x in measured])
    return measured


def key(engine: Engine) -> list[str]:
    """All that the scale depends on: the model on its engine, and the tokens of the texts."""
    rows = [encode(engine, text, limit=engine.info.context).ids for text in texts()]
    return [*memo.model_key(engine.info), memo.ids_key(rows)]


def measure(engine: Engine) -> FloatArray:
    """Measure the scale of every layer on the neutral texts, (layers,) float32."""
    layers = range(engine.info.layers)
    limit = engine.info.context
    lengths = [
        np.linalg.norm(captured.residuals[:, 1:], axis=-1)  # (layers, n - 1)
        for captured in capture(engine, texts(), layers, "tokens", limit=limit)
    ]
    return np.asarray(np.median(np.concatenate(lengths, axis=1), axis=1), dtype=np.float32)


def texts() -> list[str]:
    """The neutral texts that scale and mean are measured on."""
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    return read_texts(TEXT_SETS.path("neutral"))[:_TEXTS]
