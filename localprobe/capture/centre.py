"""The mean residual of a model over neutral text, whose coordinates mean ablation puts in place."""

from __future__ import annotations

import numpy as np

from localprobe.capture import scale
from localprobe.capture.residuals import capture
from localprobe.engine import Engine, FloatArray
from localprobe.store import memo

_KIND = "mean"


def residual_mean(engine: Engine) -> FloatArray:
    """Mean residual of every layer over the tokens of the neutral texts that `residual_scale` measures, without the
    first of each text (an attention sink), (layers, width) float32; measured once per model and engine, then cached."""
    about = scale.key(engine)
    cached = memo.recall(_KIND, about)
    shape = (engine.info.layers, engine.info.width)
    if isinstance(cached, list) and len(cached) == shape[0] * shape[1]:
        return np.array(cached, dtype=np.float32).reshape(shape)
    measured = measure(engine)
    memo.keep(_KIND, about, [float(f"{x:.9g}") for x in measured.ravel()])
    return measured


def measure(engine: Engine) -> FloatArray:
    """Measure the mean residual of every layer, (layers, width) float32."""
    total, tokens = np.zeros((engine.info.layers, engine.info.width)), 0
    limit = engine.info.context
    for captured in capture(engine, scale.texts(), range(engine.info.layers), "tokens", limit=limit):
        total += captured.residuals[:, 1:].sum(axis=1, dtype=np.float64)
        tokens += captured.residuals.shape[1] - 1
    return np.asarray(total / max(tokens, 1), dtype=np.float32)
