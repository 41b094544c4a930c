"""Captured residuals on disk, so that a text is captured once.

A file a text, named by a hash of all that its residuals depend on: weights, engine and versions, number type, pooling,
and the tokens, which say the text and the chat template. A file is written whole or not at all, and carries a hash of
its data, so a torn one is a miss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from localprobe.capture.residuals import Text, capture, encode
from localprobe.engine import Engine, FloatArray, Info, IntArray
from localprobe.errors import LocalprobeError

_FORMAT = 1


class Activations:
    """Pooled residuals of one model on one engine."""

    def __init__(self, info: Info, pooling: str, folder: Path | None = None) -> None:
        from localprobe.store.paths import cache

        self._about = [_FORMAT, info.weights, info.engine, info.version, info.device, info.dtype, pooling]
        self._folder = folder or cache() / "activations"

    def get(self, ids: IntArray, layers: Sequence[int], answer: int | None = None) -> FloatArray | None:
        """Residuals (layers, width) of a row of ids, or None unless all of these layers are kept and whole.

        `answer` is where an answer that alone was pooled begins.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path(ids, answer), framework="numpy") as file:
                about = file.metadata() or {}
                kept = json.loads(about["layers"])
                residuals: FloatArray = file.get_tensor("residuals")
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        if hashlib.sha256(residuals.tobytes()).hexdigest() != about.get("sha256") or not set(layers) <= set(kept):
            return None
        return residuals[[kept.index(layer) for layer in layers]]

    def put(self, ids: IntArray, layers: Sequence[int], residuals: FloatArray, answer: int | None = None) -> None:
        """Keep residuals (layers, width). A cache that cannot be written is no error: the text is captured again."""
        from safetensors.numpy import save

        from localprobe.store.files import replacing

        residuals = np.ascontiguousarray(residuals, dtype=np.float32)
        about = {"layers": json.dumps(list(layers)), "sha256": hashlib.sha256(residuals.tobytes()).hexdigest()}
        try:
            with replacing(self._path(ids, answer)) as temporary:
                temporary.write_bytes(save({"residuals": residuals}, metadata=about))
        except LocalprobeError:
            return

    def _path(self, ids: IntArray, answer: int | None) -> Path:
        about = self._about if answer is None else [*self._about, answer]
        name = hashlib.sha256(json.dumps(about).encode() + ids.astype("<i4").tobytes()).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"


def pooled(
    engine: Engine,
    texts: Sequence[Text],
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
    missing: dict[int, int | None] = {}
    for i, text in enumerate(texts):
        encoded = encode(engine, text, i, limit)
        answer = encoded.answer if pooling == "answer" else None
        known = store.get(encoded.ids, layers, answer)
        if known is None:
            missing[i] = answer
        else:
            result[i] = known
            done(0)
    numbers = list(missing)
    for captured in capture(engine, [texts[i] for i in numbers], layers, pooling, limit=limit):
        number = numbers[captured.index]
        result[number] = captured.residuals
        store.put(captured.ids, layers, captured.residuals, missing[number])
        done(len(captured.ids))
    return result
