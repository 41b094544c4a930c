"""Streaming detokenization: whole characters only, and stop strings that may span tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


class Detokenizer:
    """Turns a growing list of ids into text, one token at a time, in time linear in the answer.

    A token may hold part of a character, and some tokenizers put a space between words only when decoding both. So a
    token's text is the difference of two decodings of a short window, held back until its last character is complete.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._window = 0  # index of the window's first id
        self._read = 0  # number of ids whose text was returned
        self._before = ""  # the window's text up to `_read`

    def push(self, token: int) -> str:
        """Text that `token` completes; empty while a character is unfinished."""
        self._ids.append(token)
        text = self._decode(self._ids[self._window :])
        if text.endswith(REPLACEMENT) and len(self._ids) - self._read < 8:  # no character has more tokens
            return ""
        new = text[len(self._before) :]
        self._window, self._read = self._read, len(self._ids)
        self._before = self._decode(self._ids[self._window : self._read])
        return new

    def flush(self) -> str:
        """Text still held back, including incomplete characters."""
        text = self._decode(self._ids[self._window :])[len(self._before) :]
        self._window = self._read = len(self._ids)
        self._before = ""
        return text


class StopStrings:
    """Cuts a stream of text at the first stop string, holding back only what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(s for s in stops if s)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Text that is safe to show, and whether a stop string was found."""
        if not self._stops:
            return text, False
        self._held += text
        starts = [start for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if starts:
            shown, self._held = self._held[: min(starts)], ""
            return shown, True
        keep = self._pending()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown, False

    def flush(self) -> str:
        """Text still held back."""
        held, self._held = self._held, ""
        return held

    def _pending(self) -> int:
        """Length of the longest suffix of the held text that is a prefix of a stop string."""
        longest = min(len(self._held), max(len(s) for s in self._stops) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
