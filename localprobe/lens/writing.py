"""What a direction writes: the tokens whose logits it raises and lowers most, through the final norm and the head.

The last block's residual h gives the logits W_U N(h), where N is the final norm. With the norm's divisor held fixed,
adding a direction d adds W_U (gamma * d / s), s being that divisor. If d is as long as h (dose 1 at the last block),
an RMSNorm has s = rms(d), so that is W_U N(d): the logits of a residual that is the direction alone. A norm with a
bias, or a head with one, adds the same to the logits of d and of -d, so half their difference is free of it; and
log-probabilities are logits less a number that all tokens share, which centring over the vocabulary takes out:

    effect = c - mean(c),  c = (log p(. | d) - log p(. | -d)) / 2

This is the logit lens (nostalgebraist, 2020) of a direction. What the blocks above its layer do with it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from localprobe.engine import Engine, FloatArray
from localprobe.lens.readout import Readout
from localprobe.lens.tokens import TokenTexts
from localprobe.vectors.vector import Vector, length

UNIT = (
    "logits that the direction adds at the final norm when it is as long as the residual there (dose 1), less their "
    "mean over the vocabulary; what the blocks above its layer make of it is left out"
)
"""What the numbers are, as one line for the user."""


@dataclass(frozen=True, slots=True)
class TokenEffect:
    """What a direction does to one token."""

    id: int
    text: str
    """What the token adds to a text, its space included, or the name of a special token."""
    logits: float
    """In the unit of `UNIT`."""


@dataclass(frozen=True, slots=True)
class Written:
    """The tokens that a direction raises and lowers most, the most first."""

    raises: tuple[TokenEffect, ...]
    lowers: tuple[TokenEffect, ...]


def written(engine: Engine, vector: Vector, count: int = 8) -> dict[int, Written]:
    """For each layer of a vector, the `count` tokens whose logits its direction raises and lowers most.

    VectorError for a vector of another width, UsageError if the engine cannot steer its last block.
    """
    info = engine.info
    vector = vector.within(info.model, info.layers, info.width)
    layers = sorted(vector.directions)
    texts = TokenTexts(engine)
    found = effects(engine, [vector.directions[layer].vector for layer in layers])
    return {layer: _extremes(effect, texts, count) for layer, effect in zip(layers, found, strict=True)}


def effects(engine: Engine, directions: Sequence[FloatArray]) -> list[FloatArray]:
    """What each of `directions`, (width,) each, does to every token: (vocabulary,) float32, in the unit of `UNIT`. The
    length of a direction does not matter."""
    readout = Readout(engine)
    both = [sign * readout.length / length(d) * d.astype(np.float64) for d in directions for sign in (1, -1)]
    rows = readout.logprobs(np.array(both, dtype=np.float32))
    return [_centred(plus, minus) for plus, minus in zip(rows, rows, strict=True)]


def _centred(plus: FloatArray, minus: FloatArray) -> FloatArray:
    difference = (plus.astype(np.float64) - minus) / 2
    return np.asarray(difference - difference.mean(), dtype=np.float32)


def _extremes(effect: FloatArray, texts: TokenTexts, count: int) -> Written:
    order = np.argsort(effect, kind="stable")
    raises, lowers = order[::-1][:count], order[:count]
    return Written(*(tuple(_effect(int(i), effect, texts) for i in ids) for ids in (raises, lowers)))


def _effect(token: int, effect: FloatArray, texts: TokenTexts) -> TokenEffect:
    return TokenEffect(token, texts[token], float(effect[token]))
