"""What callers may ask of a pass, and the error that says what they may not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localprobe.engine import IntArray, Prompt, Row, Steering, Watch
from localprobe.errors import UsageError
from localprobe_torch.network import Network


def check_ids(ids: IntArray, network: Network, room: int = 0) -> None:
    """Ids are in the vocabulary, at least one, and with `room` more they fit into the context."""
    if len(ids) == 0:
        raise UsageError("A row has no tokens: give it at least one")
    if len(ids) + room > network.context:
        more = f" and {room} to be generated" if room else ""
        raise UsageError(f"A row of {len(ids)} tokens{more} is longer than the context of {network.context} tokens")
    _check_vocabulary(ids, network)


def check_layers(layers: Sequence[int], network: Network) -> None:
    """Layers are indices of blocks."""
    for layer in layers:
        if not 0 <= layer < network.layers:
            raise UsageError(f"Layer {layer} is out of range: the model has layers 0 to {network.layers - 1}")


def check_steering(steering: Steering, network: Network) -> None:
    """Terms name layers of the model and carry vectors of its width."""
    check_layers([term.layer for term in steering], network)
    for term in steering:
        _check_vector(term.delta.shape, network)


def check_watch(watch: Sequence[Watch], network: Network) -> None:
    """Watches name layers of the model and carry vectors of its width."""
    check_layers([one.layer for one in watch], network)
    for one in watch:
        _check_vector(one.vector.shape, network)


def check_row(row: Row, network: Network) -> None:
    """Everything that a row of a forward pass asks for lies inside of it."""
    check_ids(row.ids, network)
    check_steering(row.steering, network)
    length = len(row.ids)
    for start, stop in row.spans or ():
        if not 0 <= start < stop <= length:
            raise UsageError(f"Span [{start}, {stop}) is empty or outside of a row of {length} tokens")
    asked = [*row.full, *(() if row.targets is None else row.targets[:, 0].tolist())]
    for position in asked:
        if not 0 <= position < length:
            raise UsageError(f"Position {position} is outside of a row of {length} tokens")
    if row.targets is not None and len(row.targets):
        _check_vocabulary(row.targets[:, 1], network)


def check_prompt(prompt: Prompt, network: Network, room: int) -> None:
    """A prompt fits into the context with its answer, and keeps fewer positions than it has."""
    check_ids(prompt.ids, network, room)
    check_steering(prompt.steering, network)
    if prompt.copies < 1:
        raise UsageError(f"A prompt needs at least one copy, not {prompt.copies}")
    if not 0 <= prompt.keep < len(prompt.ids):
        raise UsageError(f"keep={prompt.keep} is out of range for a prompt of {len(prompt.ids)} tokens")


def _check_vocabulary(ids: IntArray, network: Network) -> None:
    low, high = int(np.min(ids)), int(np.max(ids))
    if low < 0 or high >= network.vocabulary:
        wrong = low if low < 0 else high
        raise UsageError(f"Token id {wrong} is out of range: the vocabulary has {network.vocabulary} tokens")


def _check_vector(shape: tuple[int, ...], network: Network) -> None:
    if shape != (network.width,):
        raise UsageError(f"A vector of shape {shape} does not fit the model's width of {network.width}")
