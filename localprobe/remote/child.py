"""The child's side of `localprobe.remote`: it loads one engine and answers for it until its parent goes away.

Run as `python -m localprobe.remote.child PARENT DESCRIPTOR`: the parent's process id, and the socket to it. Standard
input is a pipe that nobody writes to: it ends when the parent does. Standard output and error go to the parent, which
keeps the last lines; nothing that a library prints can reach the user's terminal or mix with the answers.
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
        self._socket.set_inheritable(False)  # no process that an engine starts may keep it open
        self._reader = wire.Reader(wire.buffered(self._socket), QUESTIONS)
        self._sending = threading.Lock()

    def serve(self, session: Session) -> None:
        """Answer one verb after another, here on the main thread, until the parent hangs up."""
        with suppress(EOFError, ConnectionError):
            while True:
                try:
                    answer = _answer(session, *self._reader.receive())
                except wire.WrongType as error:
                    answer = wire.pack("failed", (errors.UsageError.__name__, str(error), ""))
                with self._sending:
                    wire.transmit(self._socket, answer)

    def warn(self, message: Warning | str, *_details: object, **_named: object) -> None:
        """Send a Python warning as a notice. One that is raised while something is being sent is left out."""
        if self._sending.acquire(blocking=False):
            try:
                wire.transmit(self._socket, wire.pack("notice", _sendable(str(message))))
            finally:
                self._sending.release()


def _answer(session: Session, verb: str, arguments: tuple[object, ...]) -> list[bytes | memoryview]:
    try:
        return wire.pack(verb, getattr(session, verb)(*arguments))
    except BaseException as error:  # whatever an engine raises, SystemExit too, is the parent's to know
        return wire.pack("failed", tuple(map(_sendable, _told(error, verb))))


def _told(error: BaseException, verb: str) -> tuple[str, str, str]:
    """An error as the parent can raise it: a class of the tree, its message, and for a bug the traceback."""
    for known in type(error).__mro__:
        if known.__module__ == errors.__name__:
            return known.__name__, str(error), ""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return errors.EngineError.__name__, f"the engine failed in {verb}, which is a bug: {what}", traceback.format_exc()


def _sendable(text: str) -> str:
    """The text as Unicode: a file's name in it may hold bytes that are none."""
    return text.encode(errors="backslashreplace").decode()


def _end_with_parent(parent: int, lifeline: int) -> None:
    """Wait for the parent to end, then end, whatever the main thread is computing.

    The lifeline alone would do, but for a process that the parent forked and that still holds the other end of it.
    """
    while os.getppid() == parent and not select.select([lifeline], [], [], 1.0)[0]:
        pass
    os._exit(1)


def main() -> None:
    """Serve the parent, then end without Python's own clean-up, which with an engine's libraries can hang or crash."""
    parent, descriptor = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a library that asks on standard input gets an end of file
    os.close(nothing)
    threading.Thread(target=_end_with_parent, args=(parent, lifeline), daemon=True).start()
    channel, session = Channel(descriptor), Session()
    warnings.showwarning = channel.warn
    channel.serve(session)
    session._unload()
    os._exit(0)


if __name__ == "__main__":
    main()
