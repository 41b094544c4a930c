"""A decoder-only transformer in numpy: RMSNorm, causal attention with RoPE and a KV cache, an MLP, a tied head."""

from __future__ import annotations

import hashlib

import numpy as np

from localprobe.edits import edited, moves
from localprobe.engine import FloatArray, IntArray, Steering
from localprobe.fake.tokenizer import BOS, VOCABULARY

LAYERS, WIDTH, HEADS, CONTEXT = 6, 32, 4, 512
HEAD = WIDTH // HEADS
BASE = 10_000.0


class Cache:
    """Keys and values of the first `length` tokens of one row, at every layer. `base` is that of its RoPE."""

    def __init__(self, capacity: int, base: float = BASE) -> None:
        self.base = base
        self.keys = np.zeros((LAYERS, capacity, HEADS, HEAD), np.float32)
        self.values = np.zeros((LAYERS, capacity, HEADS, HEAD), np.float32)
        self.length = 0

    def grown(self, capacity: int, keep: int) -> Cache:
        """A copy of its first `keep` tokens, with room for `capacity`."""
        copy = Cache(capacity, self.base)
        copy.keys[:, :keep] = self.keys[:, :keep]
        copy.values[:, :keep] = self.values[:, :keep]
        copy.length = keep
        return copy


class Block:
    """One transformer block: `h + attention(norm(h))`, then `h + mlp(norm(h))`."""

    def __init__(self, random: np.random.Generator) -> None:
        def matrix(inputs: int, outputs: int) -> FloatArray:
            return random.normal(0, inputs**-0.5, (inputs, outputs)).astype(np.float32)

        self.query, self.key = 2 * matrix(WIDTH, WIDTH), matrix(WIDTH, WIDTH)
        self.value, self.out = matrix(WIDTH, WIDTH), matrix(WIDTH, WIDTH)
        self.gate, self.up = 2 * matrix(WIDTH, 2 * WIDTH), matrix(WIDTH, 2 * WIDTH)
        self.down = matrix(2 * WIDTH, WIDTH)

    def __call__(self, hidden: FloatArray, cache: Cache, layer: int) -> FloatArray:
        hidden = hidden + self._attention(rms_norm(hidden), cache, layer)
        normed = rms_norm(hidden)
        gate = normed @ self.gate
        inner: FloatArray = gate / (1 + np.exp(-gate)) * (normed @ self.up)  # (n, 2 width), SwiGLU
        return hidden + inner @ self.down

    def _attention(self, hidden: FloatArray, cache: Cache, layer: int) -> FloatArray:
        """Attention of n new tokens to themselves and to the cached tokens; adds their keys and values to the cache."""
        n, start = len(hidden), cache.length
        stop = start + n
        positions = np.arange(start, stop)
        query = rotate((hidden @ self.query).reshape(n, HEADS, HEAD), positions, cache.base)
        cache.keys[layer, start:stop] = rotate((hidden @ self.key).reshape(n, HEADS, HEAD), positions, cache.base)
        cache.values[layer, start:stop] = (hidden @ self.value).reshape(n, HEADS, HEAD)
        keys, values = cache.keys[layer, :stop], cache.values[layer, :stop]  # (stop, heads, head)
        scores = query.swapaxes(0, 1) @ keys.transpose(1, 2, 0) * np.float32(HEAD**-0.5)  # (heads, n, stop)
        if n > 1:  # causal mask
            scores += np.where(np.arange(stop) > positions[:, None], np.float32(-np.inf), np.float32(0))
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: FloatArray = (weights @ values.swapaxes(0, 1)).swapaxes(0, 1)  # (n, heads, head)
        return mixed.reshape(n, WIDTH) @ self.out


class Transformer:
    """Embedding, blocks and head. The same seed gives the same weights."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.embedding = random.normal(0, 0.25, (VOCABULARY, WIDTH)).astype(np.float32)
        self.blocks = [Block(random) for _ in range(LAYERS)]
        # Logits are embedding @ norm(h), so small rows make control characters, stray UTF-8 bytes and BOS unlikely.
        unlikely = [i for i in range(256) if not (chr(i).isascii() and chr(i).isprintable())]
        self.embedding[[*unlikely, BOS]] *= 0.2

    def run(self, ids: IntArray, cache: Cache, steering: Steering, depth: int = LAYERS) -> FloatArray:
        """Run tokens that follow those in `cache`, and add their keys and values to it.

        Returns the residuals of the first `depth` blocks, (depth, n, width).
        """
        start = cache.length
        hidden = self.embedding[ids]  # (n, width)
        residuals = np.empty((depth, len(ids), WIDTH), np.float32)
        for layer, block in enumerate(self.blocks[:depth]):
            hidden = block(hidden, cache, layer)
            for (first, stop), term in moves(steering, layer, start, len(ids)):
                hidden[first:stop] = edited(hidden[first:stop], term)
            residuals[layer] = hidden
        cache.length += len(ids)
        return residuals

    def logits(self, hidden: FloatArray) -> FloatArray:
        """Next-token logits (..., vocabulary) of the last block's residuals (..., width)."""
        logits: FloatArray = rms_norm(hidden) @ (self.embedding.T * np.float32(1.6))
        return logits

    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256(self.embedding.tobytes())
        for block in self.blocks:
            for matrix in (block.query, block.key, block.value, block.out, block.gate, block.up, block.down):
                digest.update(matrix.tobytes())
        return digest.hexdigest()


def rms_norm(hidden: FloatArray) -> FloatArray:
    """Each vector divided by its root mean square."""
    return np.asarray(hidden / np.sqrt(np.square(hidden).mean(axis=-1, keepdims=True) + np.float32(1e-6)))


def rotate(heads: FloatArray, positions: np.ndarray[tuple[int], np.dtype[np.int_]], base: float = BASE) -> FloatArray:
    """RoPE: turn each pair (i, i + head/2) of (n, heads, head) by an angle that grows with the position."""
    frequencies = base ** -(np.arange(HEAD // 2) / (HEAD // 2))
    angles = positions[:, None, None] * frequencies  # (n, 1, head/2)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
