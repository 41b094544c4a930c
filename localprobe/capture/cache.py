"""The residual cache: pooled residuals on disk, so that each text is captured once.

It holds one file per text, named by a hash of all that the residuals depend on: weights, engine and versions (ours
too), device, dtype, quantisation, pooling, and the tokens (hence the text, the tokenizer and the chat template). A file
is written atomically and holds a hash of its data; a damaged file counts as a miss.
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
from localprobe.store import memo

_FORMAT = 2


class ResidualCache:
    """The residual cache of one model on one engine, for one pooling."""

    def __init__(self, info: Info, pooling: str, folder: Path | None = None) -> None:
        from localprobe.store.paths import cache

        self._about = [_FORMAT, *memo.model_key(info), pooling]
        self._folder = folder or cache() / "activations"

    def get(self, ids: IntArray, layers: Sequence[int], answer: int | None = None) -> FloatArray | None:
        """Residuals (layers, width) of a row of ids, or None unless the cache holds all of these layers.

        `answer` is the position where the answer begins, for pooling `answer`.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path(ids, answer), framework="numpy") as file:
                about = file.metadata() or {}
                stored = json.loads(about["layers"])
                residuals: FloatArray = file.get_tensor("residuals")
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError):
            return None
        if not isinstance(stored, list) or residuals.shape[:1] != (len(stored),):
            return None
        if hashlib.sha256(residuals.tobytes()).hexdigest() != about.get("sha256"):
            return None
        if not all(layer in stored for layer in layers):
            return None
        return residuals[[stored.index(layer) for layer in layers]]

    def put(self, ids: IntArray, layers: Sequence[int], residuals: FloatArray, answer: int | None = None) -> None:
        """Store residuals (layers, width). Failing to write is no error: the text will be captured again."""
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


def cached_residuals(
    engine: Engine,
    texts: Sequence[Text],
    layers: Sequence[int],
    pooling: str = "mean",
    *,
    limit: int | None = None,
    cache: ResidualCache | None = None,
    done: Callable[[int], None] = lambda tokens: None,
) -> FloatArray:
    """Residuals of texts in the given order, (texts, layers, width) float32, read from the cache where possible.

    Each text is stored as soon as it is captured, so an interrupted capture resumes. `done` is called once per text,
    with the number of tokens that the model ran: 0 if the text was cached.
    """
    cache = cache or ResidualCache(engine.info, pooling)
    result = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
    missing: dict[int, int | None] = {}
    for i, text in enumerate(texts):
        encoded = encode(engine, text, i, limit)
        answer = encoded.answer if pooling == "answer" else None
        cached = cache.get(encoded.ids, layers, answer)
        if cached is None:
            missing[i] = answer
        else:
            result[i] = cached
            done(0)
    numbers = list(missing)
    for captured in capture(engine, [texts[i] for i in numbers], layers, pooling, limit=limit):
        number = numbers[captured.index]
        result[number] = captured.residuals
        cache.put(captured.ids, layers, captured.residuals, missing[number])
        done(len(captured.ids))
    return result
