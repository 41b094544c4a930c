"""Jobs on their way into the batch: by arrival, a bounded number of prompt tokens between two steps of the answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from localprobe.engine import Engine
from localprobe.errors import OutOfMemory
from localprobe.generation.gates import RowGates
from localprobe.scheduling.batch import Batch
from localprobe.scheduling.job import Group, Prepared
from localprobe.scheduling.prefixes import Prefixes


class Admission:
    """The groups that wait, and the one that is being prefilled."""

    def __init__(self, engine: Engine, prefixes: Prefixes, piece: int) -> None:
        self.waiting: deque[Group] = deque()
        self.prompt_tokens = 0
        self.reused_tokens = 0
        self._engine = engine
        self._prefixes = prefixes
        self._piece = piece

    def add(self, numbers: Sequence[int], wanted: Sequence[Prepared]) -> Group:
        """Queue answers of the same prompt, steering and sampler."""
        request = wanted[0].request
        gates = RowGates(self._engine, request.steering, request.ids.tolist())
        group = Group(numbers, wanted, gates.steering())
        self.waiting.append(group)
        return group

    def drop(self, group: Group, batch: Batch) -> None:
        """Take a group out that will not join."""
        if group in self.waiting:
            self.waiting.remove(group)
        self._free(group, batch)

    def admit(self, batch: Batch, rows: int) -> list[Group]:
        """Run prompts, first come first served, until a piece's tokens are run, `rows` are decoded, or the first that
        waits finds no place. Returns the groups that have joined.

        Raises what makes the first group impossible; the caller drops it.
        """
        joined: list[Group] = []
        try:
            self._admit(batch, rows, joined)
        finally:
            if self.waiting and not self.waiting[0].own:
                self.waiting[0].stream = 0  # what it was to begin with may be given up before its next turn
        return joined

    def _admit(self, batch: Batch, rows: int, joined: list[Group]) -> None:
        left = self._piece
        while self.waiting and left > 0:
            group = self.waiting[0]
            length = len(group.wanted[0].request.ids)
            if batch.width + len(group.wanted) > rows or not batch.takes(length):
                break
            if group.stream != batch.opened:
                self._begin(group, batch)
            try:
                left -= self._advance(group, batch, left)
            except OutOfMemory:
                if self._prefixes.free(batch, keeping=group.held):
                    continue
                if not batch.width and not joined:
                    raise  # alone, and it does not fit
                break
            if group.keep == length:
                self.waiting.popleft()
                self.prompt_tokens += length
                self.reused_tokens += group.reused
                joined.append(group)

    def _begin(self, group: Group, batch: Batch) -> None:
        group.held, group.keep = self._prefixes.find(batch, group.wanted[0].request)
        group.own, group.reused, group.stream = False, group.keep, batch.opened

    def _advance(self, group: Group, batch: Batch, left: int) -> int:
        """Run a piece of a prompt, the last of which lets it join. Returns the number of tokens run."""
        request = group.wanted[0].request
        length = len(request.ids)
        if length - group.keep <= max(left, 1):
            run = length - group.keep
            batch.join(group.numbers, group.wanted, group.held, group.keep)
            self._free(group, batch)
            group.keep = length
            return run
        if left < self._piece:  # the rest of a step's tokens is too few to be a piece of its own
            return left
        held = batch.prefill(request, group.steering, group.keep + left, group.held, group.keep)
        self._free(group, batch)
        group.held, group.keep, group.own = held.number, group.keep + left, True
        return left

    def _free(self, group: Group, batch: Batch) -> None:
        if group.own and group.held is not None and group.stream == batch.opened:
            batch.release(group.held)
        group.held, group.own = None, False
