"""The operators written by hand, as forward hooks on the blocks of a model of transformers, one text at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from localprobe.engine import Coordinates, FloatArray, IntArray, Steering, Term

Positions = dict[str, tuple[int, int | None]]


def hooked(model: Any, blocks: Sequence[torch.nn.Module], ids: IntArray, steering: Steering) -> FloatArray:
    """Residuals (layers, n, width) of a steered text."""
    residuals: list[FloatArray] = []

    def after(layer: int, _block: torch.nn.Module, _inputs: object, output: Any) -> Any:
        several = isinstance(output, tuple)
        hidden = (output[0] if several else output).clone()
        for term in steering:
            if term.layer == layer:
                hidden[0, term.start : term.stop] = by_hand(hidden[0, term.start : term.stop], term)
        residuals.append(hidden[0].float().numpy())
        return (hidden, *output[1:]) if several else hidden

    handles = [block.register_forward_hook(partial(after, layer)) for layer, block in enumerate(blocks)]
    try:
        with torch.inference_mode():
            model(input_ids=torch.from_numpy(ids.astype(np.int64))[None], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return np.stack(residuals)


def by_hand(hidden: torch.Tensor, term: Term) -> torch.Tensor:
    """Residuals (n, width) after a term, in double precision."""
    h = hidden.double()
    if term.coordinates is None:
        moved = h + torch.from_numpy(term.delta)
        length = h.norm(dim=1, keepdim=True) if term.keep_norm else moved.norm(dim=1, keepdim=True)
        return (moved / moved.norm(dim=1, keepdim=True) * length).to(hidden.dtype)
    wanted = term.coordinates
    moved = h.clone()
    for d, m in zip(torch.from_numpy(wanted.basis).double(), wanted.target.tolist(), strict=True):
        p = h @ d
        goal = ((1 - wanted.share) * p + wanted.share * m).clamp(wanted.low, wanted.high)
        moved += torch.outer(goal - p, d)
    return moved.to(hidden.dtype)


def directions(width: int, count: int, seed: int) -> FloatArray:
    """(count, width) float32 of orthonormal rows."""
    random = np.random.default_rng(seed).normal(size=(width, count))
    return np.ascontiguousarray(np.linalg.qr(random)[0].T, dtype=np.float32)


def operators(layers: Sequence[int], width: int, length: float) -> dict[str, Steering]:
    """Each operator at every position of the middle one of `layers`, and one of them at all; `length` is that of an
    ordinary residual."""
    layer, spread = layers[len(layers) // 2], length / width**0.5
    zeros = np.zeros(3, np.float32)

    def along(seed: int, count: int = 1, target: float = 0.0, **how: float) -> Coordinates:
        return Coordinates(directions(width, count, seed), zeros[:count] + np.float32(target), **how)

    everywhere = along(1, share=1.0)
    return {
        "add": (Term(layer, 0.5 * length * directions(width, 1, 0)[0]),),
        "keep the norm": (Term(layer, 0.5 * length * directions(width, 1, 2)[0], keep_norm=True),),
        "ablate": (Term.along(layer, along(3, share=1.0)),),
        "ablate at every layer": tuple(Term.along(each, everywhere) for each in layers),
        "ablate half, to a mean": (Term.along(layer, along(4, target=2 * spread, share=0.5)),),
        "ablate a subspace": (Term.along(layer, along(5, 3, share=1.0)),),
        "cap": (Term.along(layer, along(6, low=-0.2 * spread, high=0.1 * spread)),),
        "set": (Term.along(layer, along(7, low=spread, high=spread)),),
    }


def positions(length: int) -> Positions:
    """Every kind of span of a text of `length` tokens, the last three of which are an answer."""
    return {
        "all": (0, None),
        "a span from the middle": (length // 2 - 1, length // 2 + 2),
        "one position": (length // 3, length // 3 + 1),
        "response": (length - 4, None),
    }


def cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    """Of residuals (..., width)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.asarray((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1))


def at(steering: Steering, span: tuple[int, int | None]) -> Steering:
    """The terms, restricted to a span."""
    return tuple(replace(term, start=span[0], stop=span[1]) for term in steering)
