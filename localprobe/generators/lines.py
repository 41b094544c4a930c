"""A JSONL file that is appended to line by line; an appended line survives a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from localprobe.errors import DataError, LocalprobeError
from localprobe.store.safe_json import parse
from localprobe.store.text_files import decode


class Lines(AbstractContextManager["Lines"]):
    """A JSONL file open for appending, and the records it holds already.

    An incomplete last line, left by a crash, is removed, and `notify` is called. Use it as a context manager. A new
    file without lines is deleted. Raises DataError for a file that is not JSONL, and then leaves it as it is.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """The records that the file held when it was opened."""
        try:
            whole, newline = self._read(notify) if path.exists() else (0, b"")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(whole)
            self._file.write(newline)
        except OSError as error:
            raise LocalprobeError(f"cannot write {path}: {error.strerror}") from error

    def append(self, record: dict[str, Any]) -> None:
        """Append a line in a single write, and wait until it is on disk."""
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

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _read(self, notify: Callable[[str], None]) -> tuple[int, bytes]:
        """Read the records. Returns the number of bytes of the file to keep, and the bytes to append to them."""
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
            if not last.startswith(b"{"):  # not written by us, so not removed
                raise
        notify(f"{self.path}: its last line was incomplete after a crash and was removed; its pair is generated again")
        return len(data) - len(last), b""

    def _record(self, number: int, line: bytes) -> dict[str, Any]:
        where = f"{self.path}, line {number}"
        record = parse(decode(line, where, numbered=False), where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: not a JSON object: repair it, or write to a new file")
        return record
