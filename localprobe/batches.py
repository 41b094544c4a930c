"""Grouping rows of similar length into batches, so that little of a pass is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from localprobe.engine import Engine, Info, Output, Prompt, Row
from localprobe.errors import OutOfMemory

T = TypeVar("T")

TOKENS = 4096
"""Padded tokens per batch. Larger batches were no faster on any engine measured, and cost memory."""
ROWS = 64
WINDOW = 512
"""Rows sorted by length together: bounds memory, and keeps results near the order of the input."""


def copied(prompts: Sequence[Prompt]) -> list[int]:
    """For each row that prompts give, the number of its prompt."""
    return [number for number, prompt in enumerate(prompts) for _ in range(prompt.copies)]


def capacities(prompts: Sequence[Prompt], room: int) -> list[int]:
    """For each row that prompts give, the tokens that it may hold."""
    return [len(prompts[number].ids) + room for number in copied(prompts)]


def windows(items: Iterable[T], size: int = WINDOW) -> Iterator[list[T]]:
    """Lists of `size` items each, the last one shorter."""
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def by_length(lengths: Sequence[int], tokens: int = TOKENS, rows: int = ROWS) -> list[list[int]]:
    """Indices of rows in batches, the longest first: a batch that does not fit into memory fails at the start."""
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
    """Run any number of rows of any length. Yields (indices, outputs) of one batch at a time.

    A batch that does not fit into memory is halved and retried; OutOfMemory is raised for a single row.
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


def apart(info: Info, rows: Sequence[Row], run: Callable[[list[Row]], list[Output]]) -> list[Output]:
    """For an engine's `forward`: `run` rows up to `info.rope_length` and longer ones in passes of their own, since a
    pass rotates all of its rows alike. Outputs are in the order of `rows`."""
    outputs: dict[int, Output] = {}
    for part in _split(list(range(len(rows))), lambda i: info.is_long(len(rows[i].ids))):
        outputs.update(zip(part, run([rows[i] for i in part]), strict=True))
    return [outputs[i] for i in range(len(rows))]


def _split(batch: list[int], key: Callable[[int], int]) -> list[list[int]]:
    parts: dict[int, list[int]] = {}
    for i in batch:
        parts.setdefault(key(i), []).append(i)
    return list(parts.values())
