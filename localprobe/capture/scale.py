"""The scale of a model: the residual lengths that doses are measured in.

A raw alpha means nothing across models, because residuals of one have a length of 5 and of another of 50,000. The dose
of an addition is `alpha * |v| / scale` (`Direction.dose`), where the scale of a layer is the median residual length
there, over the tokens other than the first (an attention sink, several times as long) of the neutral texts that ship.
"""

from __future__ import annotations

import numpy as np

from localprobe.capture.residuals import capture
from localprobe.engine import Engine, FloatArray
from localprobe.store import memo

_KIND = "scale"
_TEXTS = 16  # the median of some 1,500 tokens moves by under 1 % with more


def residual_scale(engine: Engine) -> FloatArray:
    """Median residual length of every layer, (layers,) float32; measured once a model and engine, then remembered."""
    kept = memo.recall(_KIND, engine.info)
    if isinstance(kept, list) and len(kept) == engine.info.layers:
        return np.array(kept, dtype=np.float32)
    measured = measure(engine)
    memo.keep(_KIND, engine.info, [float(x) for x in measured])
    return measured


def measure(engine: Engine) -> FloatArray:
    """Measure the scale of every layer on the neutral texts, (layers,) float32."""
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    texts = read_texts(TEXT_SETS.path("neutral"))[:_TEXTS]
    layers = range(engine.info.layers)
    limit = engine.info.context
    lengths = [
        np.linalg.norm(captured.residuals[:, 1:], axis=-1)  # (layers, n - 1)
        for captured in capture(engine, texts, layers, "tokens", limit=limit)
    ]
    return np.asarray(np.median(np.concatenate(lengths, axis=1), axis=1), dtype=np.float32)
