"""The terminal of the app, whose closing must not block the app."""

from __future__ import annotations

import asyncio
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from textual.driver import Driver

from localprobe.errors import LocalprobeWarning


def on_hangup(leave: Callable[[], object]) -> None:
    """End the app as quitting does when the terminal is closed or on `kill`, so that no chat is lost.

    SIGINT too: Ctrl-C is a key of the app, so the signal comes from elsewhere.

    A signal that was ignored when the app was started, as with `nohup`, stays ignored.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(ValueError, RuntimeError):  # tests may run it elsewhere than on the main thread
                loop.add_signal_handler(number, leave)


def on_warning(tell: Callable[[str], object]) -> Callable[[], None]:
    """Call `tell` with our own warnings, such as that a row of a store is damaged, from whichever thread they come.
    Returns a function that ends it. Python would write them over the screen."""
    other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if issubclass(category, LocalprobeWarning):
            tell(str(message))
        else:
            other(message, category, *place, **named)

    def end() -> None:
        warnings.showwarning = other

    warnings.showwarning = show
    return end


class _Outlet:
    """A file that drops what cannot be written.

    Textual's writing thread would end at the first error, and the app would wait forever for it to take the next frame,
    so that neither a closed window nor a signal could end it.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def outliving(driver: type[Driver]) -> type[Driver]:
    """A driver whose terminal may be closed."""

    class Outliving(driver):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            if (file := getattr(self, "_file", None)) is not None:
                self._file = _Outlet(file)

    return Outliving
