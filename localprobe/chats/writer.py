"""Writes a chat while its answers stream. A write that fails is repeated with the next one."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError

if TYPE_CHECKING:
    from localprobe.chats.store import Chats
    from localprobe.chats.turns import Chat, Turn

_EVERY = 0.8  # seconds between two writes of an answer


class ChatWriter:
    """Writes turns into `chats`; with None it writes nothing. It never raises: `trouble` holds the error."""

    def __init__(self, chats: Chats | None) -> None:
        self.chats = chats
        self.trouble: LocalprobeError | None = None
        """Why the last write failed; None if it did not."""
        self._written = 0.0
        self._unwritten: dict[str, Turn] = {}

    @property
    def due(self) -> bool:
        """Whether it is time to write a growing answer again."""
        return time.monotonic() - self._written > _EVERY

    def write(self, chat: Chat, *turns: Turn) -> None:
        """Write some turns of a chat, and those that could not be written before."""
        self._written = time.monotonic()
        self._unwritten.update({turn.id: turn for turn in turns})
        if self.chats is None:
            return
        try:
            self.chats.write(chat, *self._unwritten.values())
        except LocalprobeError as error:
            self.trouble = error
        else:
            self.trouble = None
            self._unwritten.clear()

    def remove(self, turn: Turn) -> None:
        """Take out an answer that never began."""
        self._unwritten.pop(turn.id, None)
        if self.chats is not None:
            with suppress(LocalprobeError):  # an empty answer that stays in the file does no harm
                self.chats.remove(turn)
