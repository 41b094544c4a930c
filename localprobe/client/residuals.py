"""Residuals of texts, captured by a server: a capture file (`localprobe.capture.file`) for some texts at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

from localprobe.capture.residuals import Captured, Text, words_of
from localprobe.chat_template import Exchange, Marked
from localprobe.checks import check_text
from localprobe.client.errors import unreadable
from localprobe.client.server import Server
from localprobe.engine import Info
from localprobe.errors import OutOfMemory, UsageError

PATH = "/v1/residuals"
_AT_ONCE = 16  # texts of a request


def captured(
    server: Server, info: Info, texts: Iterable[Text], layers: Sequence[int], pooling: str, limit: int | None
) -> Iterator[Captured]:
    """Yield the residuals of texts, in their order. Texts that are too many for one request are sent in halves. Raises
    what the server answers, OutOfMemory for one text that is too much."""
    how: dict[str, Any] = {"model": info.model, "layers": list(layers), "pooling": pooling, "format": "safetensors"}
    if limit is not None:
        how["limit"] = limit
    inputs = (_input(text, number) for number, text in enumerate(texts))
    start, waiting = 0, list(islice(inputs, _AT_ONCE))
    most = _AT_ONCE
    while waiting:
        batch = waiting[:most]
        try:
            content = server.fetch(PATH, {**how, "input": batch})
        except OutOfMemory:
            if len(batch) == 1:
                raise
            most = len(batch) // 2
            continue
        yield from _read(server, content, start, len(batch), len(layers), info.width)
        start += len(batch)
        waiting = waiting[len(batch) :] or list(islice(inputs, _AT_ONCE))


def _input(text: Text, index: int) -> Any:
    """A text as the API has it: itself, or the messages of an exchange."""
    if isinstance(text, Marked):
        raise UsageError(f"text {index + 1} has special tokens, which a server reads as characters: give a plain text")
    if not words_of(text).strip():
        raise UsageError(f"text {index + 1} is empty: there is nothing to capture")
    asked = (text.system, text.prompt) if isinstance(text, Exchange) else ()
    check_text(f"text {index + 1}", words_of(text), *asked)
    if not isinstance(text, Exchange):
        return text
    said = [("system", text.system)] if text.system else []
    said += [("user", text.prompt), ("assistant", text.answer)]
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def _read(server: Server, content: bytes, start: int, texts: int, layers: int, width: int) -> Iterator[Captured]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(content)
    except (SafetensorError, ValueError, TypeError) as error:
        raise unreadable(server.url, str(error)) from error
    if missing := {"residuals", "tokens", "ids", "cut"} - tensors.keys():
        raise unreadable(server.url, f"residuals without {', '.join(sorted(missing))}")
    residuals, tokens = tensors["residuals"], tensors["tokens"]
    offsets = tensors.get("offsets", np.arange(texts + 1))
    if (
        residuals.dtype != np.float32
        or residuals.shape != (int(offsets[-1]), layers, width)
        or len(tokens) != texts
        or len(tensors["cut"]) != texts
        or len(tensors["ids"]) != tokens.sum()
        or len(offsets) != texts + 1
        or (np.diff(offsets) < 1).any()
    ):
        raise unreadable(server.url, f"residuals of shape {getattr(residuals, 'shape', 'none')} for {texts} texts")
    yield from _rows(tensors, residuals, tokens, offsets, start)


def _rows(tensors: Mapping[str, Any], residuals: Any, tokens: Any, offsets: Any, start: int) -> Iterator[Captured]:
    """Each text's part of a capture file."""
    ends = np.cumsum(tokens)
    ids, cut = tensors["ids"].astype(np.int32), tensors["cut"]
    for i, (first, stop) in enumerate(pairwise(offsets)):
        own = residuals[first:stop].swapaxes(0, 1) if "offsets" in tensors else residuals[first]
        yield Captured(start + i, ids[ends[i] - tokens[i] : ends[i]], np.ascontiguousarray(own), bool(cut[i]))
