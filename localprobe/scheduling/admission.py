"""Jobs on their way into the batch: by arrival, a bounded number of prompt tokens between two steps of the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from localprobe.engine import Engine
from localprobe.errors import LocalprobeError, OutOfMemory
from localprobe.generation.request import Row
from localprobe.generation.reuse import reusable
from localprobe.scheduling.batch import Batch
from localprobe.scheduling.job import Group
from localprobe.scheduling.prefixes import WORTH, Prefixes


class Admission:
    """The groups that wait; of the first, a part may have been prefilled."""

    def __init__(self, engine: Engine, prefixes: Prefixes, piece: int) -> None:
        self.waiting: deque[Group] = deque()
        self.prompt_tokens = 0
        self.reused_tokens = 0
        self._engine = engine
        self._prefixes = prefixes
        self._piece = piece

    def add(self, rows: Sequence[Row]) -> Group:
        """Queue rows of the same prompt, steering and sampler."""
        group = Group(rows)
        self.waiting.append(group)
        return group

    def drop(self, group: Group, batch: Batch) -> None:
        """Take a group out that will not join."""
        if group in self.waiting:
            self.waiting.remove(group)
        self._free(group, batch)

    def admit(self, batch: Batch, rows: int) -> Iterator[Group]:
        """Run prompts, first come first served, until a piece's tokens are run, `rows` are decoded, or the first that
        waits finds no place. Yields the groups that have joined.

        Raises what makes the group impossible that waits first; the caller drops it.
        """
        left, joined = self._piece, False
        try:
            while left > 0:
                pack = self._pack(batch, rows, left)
                run = self._join(batch, pack) if pack else self._piece_of_first(batch, rows, left)
                if not run:
                    break
                left, joined = left - run, joined or bool(pack)
                yield from pack
        except OutOfMemory:
            if not batch.width and not joined:
                raise  # alone, and it does not fit
        finally:
            self._prefixes.pinned = set()
            for group in self.waiting:  # what one was to begin with may be given up before its next turn
                if not group.own:
                    group.stream = 0

    def _pack(self, batch: Batch, rows: int, left: int) -> list[Group]:
        """The groups that wait first and may join together: an engine runs their prompts in one pass, if it can."""
        pack: list[Group] = []
        width = batch.width
        self._prefixes.pinned = set()
        for group in self.waiting:
            width += len(group.rows)
            if not self._may_begin(group, batch, width, rows):
                break
            if group.rest > left or (pack and (group.room != pack[0].room or self._follows(group, pack))):
                group.stream = group.stream if group.own else 0  # to look again once those ahead have joined
                break
            pack.append(group)
            left -= group.rest
            if group.held is not None:
                self._prefixes.pinned.add(group.held)
        return pack

    def _may_begin(self, group: Group, batch: Batch, width: int, rows: int) -> bool:
        """Whether there is a place for it. It then knows what it can begin with."""
        if width > rows or not batch.takes(len(group.request.ids)):
            return False
        if group.stream != batch.opened:
            group.held, group.keep = self._prefixes.find(batch, group.request)
            group.own, group.reused, group.stream = False, group.keep, batch.opened
        return True

    def _follows(self, group: Group, pack: Sequence[Group]) -> bool:
        """Whether it shares more with one that is about to be prefilled than with what is held: then it waits."""
        least = max(group.keep + 1, WORTH)
        ahead = [(other.request.ids, other.steering) for other in pack]
        return any(reusable(self._engine, ids, steering, group.request) >= least for ids, steering in ahead)

    def _join(self, batch: Batch, pack: list[Group]) -> int:
        """Let groups join; only the first of `pack` if they cannot all. Returns the number of tokens run, at least 1.
        OutOfMemory if even that finds no place."""
        while True:
            try:
                batch.join(pack)
                break
            except LocalprobeError as error:
                if len(pack) > 1:
                    del pack[1:]
                elif not isinstance(error, OutOfMemory) or not self._prefixes.free(batch):
                    raise
        for group in pack:
            self.waiting.popleft()
            self._free(group, batch)
            self.prompt_tokens += len(group.request.ids)
            self.reused_tokens += group.reused
        return max(1, sum(group.rest for group in pack))

    def _piece_of_first(self, batch: Batch, rows: int, left: int) -> int:
        """Run a piece of the prompt that waits first; the rest of a step's tokens is too few to be one. Returns the
        number of tokens run; 0 if nothing can be done in this turn."""
        group = self.waiting[0] if self.waiting else None
        if (
            group is None
            or left < self._piece
            or not self._may_begin(group, batch, batch.width + len(group.rows), rows)
        ):
            return 0
        self._prefixes.pinned = set() if group.held is None else {group.held}
        while True:
            try:
                held = batch.prefill(group, left)
                break
            except OutOfMemory:
                if not self._prefixes.free(batch):
                    raise
        self._free(group, batch)
        group.held, group.keep, group.own = held.number, group.keep + left, True
        return left

    def _free(self, group: Group, batch: Batch) -> None:
        if group.own and group.held is not None and group.stream == batch.opened:
            batch.release(group.held)
        group.held, group.own = None, False
