"""Contrast pairs with a concept planted in them."""

from __future__ import annotations

import numpy as np

from localprobe.engine import FloatArray
from localprobe.probing.examples import Examples


def planted(
    strengths: list[float], *, pairs: int = 200, width: int = 16, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Poles (pairs, layers, width) of unit noise whose means differ by a strength at each layer, and the unit
    directions (layers, width) that they differ along."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((len(strengths), width))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    noise = random.standard_normal((2, pairs, len(strengths), width))
    noise[0] += np.array(strengths)[:, None] * directions
    positive, negative = noise.astype(np.float32)
    return positive, negative, directions.astype(np.float32)


VOCABULARY = [f"word{i}" for i in range(120)]


def texts_of_words(pairs: int, *, planted_word: str | None = None, length: int = 30, seed: int = 0) -> list[list[str]]:
    """Positive and negative texts of random words; with a planted word, each positive text has it in one place."""
    random = np.random.default_rng(seed)
    poles = []
    for pole in range(2):
        texts = []
        for _ in range(pairs):
            words = list(random.choice(VOCABULARY, size=length + int(random.integers(-5, 6))))
            if planted_word and pole == 0:
                words[int(random.integers(len(words)))] = planted_word
            texts.append(" ".join(words) + ".")
        poles.append(texts)
    return poles


def read_words(texts: list[str], *, layers: int = 3, width: int = 64, seed: int = 0) -> FloatArray:
    """Residuals (texts, layers, width) of a "model" that knows words and nothing else: the mean of their vectors."""
    residuals = []
    for text in texts:
        words = text.rstrip(".").split()
        vectors = [np.random.default_rng([seed, *word.encode()]).standard_normal((layers, width)) for word in words]
        residuals.append(np.mean(vectors, axis=0))
    return np.array(residuals, dtype=np.float32)


def lexical_examples(pairs: int, *, word: str | None = "kindly", scenarios: int = 4, seed: int = 0) -> Examples:
    """A concept that is one word, for a model that reads words."""
    high, low = texts_of_words(pairs, planted_word=word, seed=seed)
    names = tuple(f"scenario {i % scenarios}" for i in range(pairs))
    return Examples(read_words(high), read_words(low), tuple(high), tuple(low), names)


def meant_examples(
    pairs: int, strengths: list[float], *, scenarios: int = 4, width: int = 24, seed: int = 0
) -> Examples:
    """A concept that the model reads and the words do not give away."""
    positive, negative, _ = planted(strengths, pairs=pairs, width=width, seed=0)
    order = np.random.default_rng(seed).permutation(pairs)
    high, low = texts_of_words(pairs, seed=seed)
    names = tuple(f"scenario {i % scenarios}" for i in range(pairs))
    return Examples(positive[order], negative[order], tuple(high), tuple(low), names)
