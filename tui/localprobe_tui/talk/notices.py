"""Lines for the user that nobody waits for: a probe fired, or a change has to wait for the next answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localprobe.chats.turns import Turn
    from localprobe.generation.events import Event


class Notices:
    """Collects lines, from any thread, until the screen takes them; each once per answer."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._told: set[str] = set()

    def begin(self) -> None:
        """Begin an answer: what was told in the last one may be told again."""
        self._told.clear()

    def add(self, line: str) -> None:
        """Have the user told, once per answer."""
        if line not in self._told:
            self._told.add(line)
            self._lines.append(line)

    def take(self) -> Iterator[str]:
        """The lines so far."""
        while self._lines:
            yield self._lines.popleft()


class Alerts:
    """Tells of the probes that fire in the answers of a batch, once per answer and probe."""

    def __init__(self, turns: Sequence[Turn], notices: Notices) -> None:
        self._starts = [len(turn.pieces) for turn in turns]  # tokens that an answer had before it was continued
        self._told: set[tuple[int, str]] = set()
        self._notices = notices

    def take(self, events: Sequence[Event]) -> None:
        """Take the events of a step."""
        from localprobe.generation.events import Alert

        for event in events:
            if isinstance(event, Alert) and (event.row, event.probe) not in self._told:
                self._told.add((event.row, event.probe))
                beside = " of the unsteered answer" if event.row else ""
                token = self._starts[event.row] + event.index + 1
                self._notices.add(f"{event.probe} fired at token {token}{beside}: {event.score:+.2f}")
