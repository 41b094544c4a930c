"""Rows into batches of like length, so that little of a pass is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from localprobe.engine import Engine, Output, Row
from localprobe.errors import OutOfMemory

T = TypeVar("T")

TOKENS = 4096
"""Padded tokens a batch; past this, a larger batch is no faster on any engine measured, and costs memory."""
ROWS = 64
WINDOW = 512
"""Rows looked at together when sorting by length: bounds memory, and keeps a stream of results near its order."""


def windows(items: Iterable[T], size: int = WINDOW) -> Iterator[list[T]]:
    """Lists of `size` items each, the last one shorter."""
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def by_length(lengths: Sequence[int], tokens: int = TOKENS, rows: int = ROWS) -> list[list[int]]:
    """Indices of rows in batches: longest first, so that a lack of memory shows at once rather than at the end."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches: list[list[int]] = []
    for i in order:
        if batches and len(batches[-1]) < rows and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def forward(
    engine: Engine, rows: Sequence[Row], layers: Sequence[int] = ()
) -> Iterator[tuple[list[int], list[Output]]]:
    """Run rows of any number and length: (their indices, their outputs), a batch at a time.

    A batch that does not fit is cut in two and tried again; a single row that does not fit raises OutOfMemory.
    """
    pending = by_length([len(row.ids) for row in rows])
    if not engine.info.capabilities.row_steering:
        pending = [part for batch in pending for part in _split(batch, lambda i: id(rows[i].steering))]
    pending.reverse()
    while pending:
        batch = pending.pop()
        try:
            outputs = engine.forward([rows[i] for i in batch], layers)
        except OutOfMemory:
            if len(batch) == 1:
                raise
            middle = len(batch) // 2
            pending += [batch[middle:], batch[:middle]]
            continue
        yield batch, outputs


def _split(batch: list[int], key: Callable[[int], int]) -> list[list[int]]:
    parts: dict[int, list[int]] = {}
    for i in batch:
        parts.setdefault(key(i), []).append(i)
    return list(parts.values())
