"""What one input may cost, and what it may raise."""

from __future__ import annotations

import base64
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from localprobe.errors import LocalprobeError

CPU = 2.0
"""Seconds of this process's CPU, so that a busy machine changes nothing."""
MEMORY = 1_000_000_000
"""Bytes that the process may grow by."""
LONGEST = 2000
"""Characters of a message."""
_SPACE = 4 * MEMORY  # of addresses: what asks for more fails at once, before it takes the machine's memory
_SHOWN = 1500
_LINUX = sys.platform == "linux"


class Fault(AssertionError):
    """A reader that broke its promise."""


class _TooSlow(BaseException):  # no Exception: a reader must not catch it
    pass


def check(
    name: str, read: Callable[[Path, bytes], object], folder: Path, data: bytes, allowed: tuple[type, ...]
) -> None:
    """Read `data`, and raise Fault with a way to read it again if it breaks a limit.

    `allowed` are the errors that may be raised besides LocalprobeError.
    """
    started = time.process_time()
    try:
        with _limited() as peak:
            read(folder, data)
    except LocalprobeError as error:
        wrong = _about_message(str(error))
    except allowed:
        wrong = ""
    except _TooSlow:
        wrong = f"it took {CPU:g} s of CPU, until here:\n{traceback.format_exc()}"
    except KeyboardInterrupt:
        raise
    except BaseException:  # a panic of Rust is no Exception
        wrong = traceback.format_exc()
    else:
        wrong = ""
    if not wrong and (took := time.process_time() - started) >= CPU:
        wrong = f"it took {took:.1f} s of CPU"
    if not wrong and (grew := peak()) > MEMORY:
        wrong = f"it took {grew / 1e9:.1f} GB"
    if wrong:
        raise Fault(f"{wrong}\n{_how_to_repeat(name, data)}")


def _about_message(message: str) -> str:
    if len(message.splitlines()) != 1:
        return f"not one line: {message[:LONGEST]!r}"
    return f"a message of {len(message):,} characters: {message[:LONGEST]}" if len(message) > LONGEST else ""


@contextmanager
def _limited() -> Iterator[Callable[[], int]]:
    """Ends the block by _TooSlow after CPU seconds. Gives a function that returns the bytes that memory grew by."""

    def ended(_signal: int, _frame: FrameType | None) -> None:
        raise _TooSlow

    handler = signal.signal(signal.SIGPROF, ended)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = _restart_peak()
    if _LINUX:
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _SPACE, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, CPU, CPU)
    try:
        yield lambda: _peak() - before
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        if _LINUX:
            resource.setrlimit(resource.RLIMIT_AS, limits)


def _restart_peak() -> int:
    """Let the peak begin anew where the system can; the memory from which it grows."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The most bytes of memory that this process has held, since the restart or (elsewhere) since it began."""
    if _LINUX:
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _how_to_repeat(name: str, data: bytes) -> str:
    folder = Path(os.environ.get("LOCALPROBE_FUZZ_FOLDER") or Path(tempfile.gettempdir()) / "localprobe-fuzz")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    text = base64.b85encode(zlib.compress(data, 9)).decode()
    short = f"\nor, on another machine: python -m tests.fuzz {name} --packed '{text}'" if len(text) < _SHOWN else ""
    return f"read it again: python -m tests.fuzz {name} {path}{short}"
