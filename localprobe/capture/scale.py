"""The scale of a model, which doses are measured in, and its mean residual, which mean ablation restores.

A raw alpha cannot be compared across models, whose residual lengths range from 5 to 50,000. The dose of an addition is
`alpha * |v| / scale` (`Direction.dose`), where the scale of a layer is the median residual length there over the tokens
of the neutral texts that ship, without the first token (an attention sink, several times as long). The mean is over the
same tokens.
"""

from __future__ import annotations

import numpy as np

from localprobe.capture.residuals import capture, encode
from localprobe.engine import Engine, FloatArray
from localprobe.store import memo

_SCALE, _MEAN = "scale", "mean"
_TEXTS = 16  # some 1,500 tokens; with more, the median changes by under 1 %


def residual_scale(engine: Engine) -> FloatArray:
    """Median residual length of every layer, (layers,) float32; measured once per model and engine, then cached.

    Another tokenizer with the same weights, or a shorter context that cuts the texts, has a scale of its own.
    """
    about = key(engine)
    cached = memo.recall(_SCALE, about)
    if isinstance(cached, list) and len(cached) == engine.info.layers:
        return np.array(cached, dtype=np.float32)
    return _measured(engine, about)[0]


def residual_mean(engine: Engine) -> FloatArray:
    """Mean residual of every layer, (layers, width) float32; measured once per model and engine, then cached."""
    about = key(engine)
    cached = memo.recall(_MEAN, about)
    shape = (engine.info.layers, engine.info.width)
    if isinstance(cached, list) and len(cached) == shape[0] * shape[1]:
        return np.array(cached, dtype=np.float32).reshape(shape)
    return _measured(engine, about)[1]


def _measured(engine: Engine, about: memo.Key) -> tuple[FloatArray, FloatArray]:
    scale, mean = measure(engine)
    memo.keep(_SCALE, about, [float(x) for x in scale])
    memo.keep(_MEAN, about, [float(x) for x in mean.ravel()])
    return scale, mean


def key(engine: Engine) -> list[str]:
    """All that scale and mean depend on: the model on its engine, and the tokens of the texts."""
    rows = [encode(engine, text, limit=engine.info.context).ids for text in texts()]
    return [*memo.model_key(engine.info), memo.ids_key(rows)]


def measure(engine: Engine) -> tuple[FloatArray, FloatArray]:
    """Measure every layer on the neutral texts: median length (layers,) and mean (layers, width), float32."""
    lengths, total = [], np.zeros((engine.info.layers, engine.info.width))
    for captured in capture(engine, texts(), range(engine.info.layers), "tokens", limit=engine.info.context):
        rest = captured.residuals[:, 1:]  # (layers, n - 1, width)
        lengths.append(np.linalg.norm(rest, axis=-1))
        total += rest.sum(axis=1, dtype=np.float64)
    joined = np.concatenate(lengths, axis=1)
    mean = total / max(joined.shape[1], 1)
    return np.median(joined, axis=1).astype(np.float32), mean.astype(np.float32)


def texts() -> list[str]:
    """The neutral texts that scale and mean are measured on."""
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    return read_texts(TEXT_SETS.path("neutral"))[:_TEXTS]
