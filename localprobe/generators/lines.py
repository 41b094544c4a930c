"""A JSONL file that grows by a line at a time and survives a crash: what was appended is on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from localprobe.errors import DataError, LocalprobeError


class Lines:
    """A JSONL file open for appending, and the records it holds already.

    A last line that a crash left half written is taken off, and `notify` told. Use it as a context manager; a file that
    was made and got no line is removed. Raises DataError for a file that is not JSONL, and then leaves it as it is.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """What the file held when it was opened."""
        try:
            whole, newline = self._read(notify) if path.exists() else (0, b"")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(whole)
            self._file.write(newline)
        except OSError as error:
            raise LocalprobeError(f"cannot write {path}: {error.strerror}") from error

    def append(self, record: dict[str, Any]) -> None:
        """Add a line, in one write, and wait until it is on the disk."""
        line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
        try:
            written = self._file.write(line)
            if written != len(line):  # a full disk
                raise OSError(0, "no space is left for a whole line")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise LocalprobeError(f"cannot write {self.path}: {error.strerror}; the lines before are safe") from error

    def close(self) -> None:
        """Close the file; remove it if it is empty."""
        empty = not self._file.closed and self._file.tell() == 0
        self._file.close()
        if empty:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self, notify: Callable[[str], None]) -> tuple[int, bytes]:
        """Take in the records; returns how many bytes of the file to keep, and what to put behind them."""
        data = self.path.read_bytes()
        *lines, last = data.split(b"\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                self.records.append(self._record(number, line))
        if not last.strip():
            return len(data), b""
        try:
            self.records.append(self._record(len(lines) + 1, last))
            return len(data), b"\n"
        except DataError:
            if not last.startswith(b"{"):  # not what we write: nothing to take off
                raise
        notify(f"{self.path}: its last line was torn by a crash and is taken off; its pair is asked for again")
        return len(data) - len(last), b""

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{self.path}, line {number}: not JSON ({error}): repair it, or write to a new file"
            ) from error
        if not isinstance(record, dict):
            raise DataError(f"{self.path}, line {number}: not a JSON object: repair it, or write to a new file")
        return record
