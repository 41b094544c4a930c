"""Captured residuals on disk, so that a text is captured once.

A file a text, named by a hash of all that its residuals depend on: weights, engine and versions, number type, pooling,
and the tokens. A file is written whole or not at all, and carries a hash of its data, so a torn one is a miss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from localprobe.capture import capture
from localprobe.engine import Engine, FloatArray, Info, IntArray
from localprobe.errors import LocalprobeError

_FORMAT = 1


class Activations:
    """Pooled residuals of one model on one engine."""

    def __init__(self, info: Info, pooling: str, folder: Path | None = None) -> None:
        from localprobe.paths import cache

        self._about = [_FORMAT, info.weights, info.engine, info.version, info.device, info.dtype, pooling]
        self._folder = folder or cache() / "activations"

    def get(self, ids: IntArray, layers: Sequence[int]) -> FloatArray | None:
        """Residuals (layers, width) of a row of ids, or None unless all of these layers are kept and whole."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path(ids), framework="numpy") as file:
                about = file.metadata() or {}
                kept = json.loads(about["layers"])
                residuals: FloatArray = file.get_tensor("residuals")
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if hashlib.sha256(residuals.tobytes()).hexdigest() != about.get("sha256") or not set(layers) <= set(kept):
            return None
        return residuals[[kept.index(layer) for layer in layers]]

    def put(self, ids: IntArray, layers: Sequence[int], residuals: FloatArray) -> None:
        """Keep residuals (layers, width). A cache that cannot be written is no error: the text is captured again."""
        from safetensors.numpy import save

        from localprobe.files import replacing

        residuals = np.ascontiguousarray(residuals, dtype=np.float32)
        about = {"layers": json.dumps(list(layers)), "sha256": hashlib.sha256(residuals.tobytes()).hexdigest()}
        try:
            with replacing(self._path(ids)) as temporary:
                temporary.write_bytes(save({"residuals": residuals}, metadata=about))
        except LocalprobeError:
            return

    def _path(self, ids: IntArray) -> Path:
        name = hashlib.sha256(json.dumps(self._about).encode() + ids.astype("<i4").tobytes()).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"


def pooled(
    engine: Engine,
    texts: Sequence[str],
    layers: Sequence[int],
    pooling: str = "mean",
    *,
    limit: int | None = None,
    store: Activations | None = None,
    done: Callable[[int], None] = lambda tokens: None,
) -> FloatArray:
    """Residuals of texts in their order, (texts, layers, width) float32, from the store where it has them.

    What is captured is kept at once, so an interrupted capture goes on where it was. `done` is told the tokens of
    each text that had to be captured, and 0 for one that was known.
    """
    store = store or Activations(engine.info, pooling)
    result = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
    missing: list[int] = []
    for i, text in enumerate(texts):
        ids = engine.encode(text)[: min(limit or engine.info.context, engine.info.context)]
        known = store.get(ids, layers) if len(ids) else None
        if known is None:
            missing.append(i)
        else:
            result[i] = known
            done(0)
    for captured in capture(engine, [texts[i] for i in missing], layers, pooling, limit=limit):
        result[missing[captured.index]] = captured.residuals
        store.put(captured.ids, layers, captured.residuals)
        done(len(captured.ids))
    return result
