"""The child's side of `localprobe.remote`: loads one engine and serves it until its parent ends.

Run as `python -m localprobe.remote.child PARENT DESCRIPTOR`: the parent's process id, and the socket to it. Standard
input is a pipe that nothing is written to; it closes when the parent ends. Standard output and error go to the parent,
which keeps the last lines; output of libraries cannot reach the user's terminal or mix with the answers.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from contextlib import suppress

from localprobe import errors
from localprobe.remote import wire
from localprobe.remote.session import QUESTIONS, Session


class Channel:
    """The socket to the parent: verbs come in, answers go out, and notices before them."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # processes that an engine starts must not keep it open
        self._reader = wire.FrameReader(wire.buffered(self._socket), QUESTIONS)
        self._sending = threading.Lock()

    def serve(self, session: Session) -> None:
        """Answer one verb after another, on this thread, until the parent closes the socket."""
        with suppress(EOFError, ConnectionError):
            while True:
                try:
                    answer = _answer(session, *self._reader.receive())
                except wire.WrongType as error:
                    answer = wire.pack("failed", (errors.UsageError.__name__, str(error), ""))
                with self._sending:
                    wire.transmit(self._socket, answer)

    def warn(self, message: Warning | str, *_details: object, **_named: object) -> None:
        """Send a Python warning as a notice. It is dropped if something else is being sent."""
        if self._sending.acquire(blocking=False):
            try:
                wire.transmit(self._socket, wire.pack("notice", _sendable(str(message))))
            finally:
                self._sending.release()


def _answer(session: Session, verb: str, arguments: tuple[object, ...]) -> list[bytes | memoryview]:
    try:
        return wire.pack(verb, getattr(session, verb)(*arguments))
    except BaseException as error:  # every error, SystemExit too, is reported to the parent
        return wire.pack("failed", tuple(map(_sendable, _described(error, verb))))


def _described(error: BaseException, verb: str) -> tuple[str, str, str]:
    """An error in the form that the parent raises: class name, message, and for a bug the traceback."""
    for kind in type(error).__mro__:
        if kind.__module__ == errors.__name__:
            return kind.__name__, str(error), ""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return errors.EngineError.__name__, f"the engine failed in {verb}, which is a bug: {what}", traceback.format_exc()


def _sendable(text: str) -> str:
    """The text as valid Unicode: a file name in it may hold other bytes."""
    return text.encode(errors="backslashreplace").decode()


def _end_with_parent(parent: int, lifeline: int) -> None:
    """Wait for the parent to end, then end at once, even if the main thread is computing.

    The lifeline alone does not suffice: a process forked by the parent may still hold its other end.
    """
    while os.getppid() == parent and not select.select([lifeline], [], [], 1.0)[0]:
        pass
    os._exit(1)


def main() -> None:
    """Serve the parent, then end without Python's clean-up, which can hang or crash in an engine's libraries."""
    parent, descriptor = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a library that reads standard input gets an end of file
    os.close(nothing)
    threading.Thread(target=_end_with_parent, args=(parent, lifeline), daemon=True).start()
    channel, session = Channel(descriptor), Session()
    warnings.showwarning = channel.warn
    channel.serve(session)
    session._unload()
    os._exit(0)


if __name__ == "__main__":
    main()
