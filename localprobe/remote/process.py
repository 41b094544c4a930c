"""The parent's hold on an engine's process: its start, the exchange of messages with it, its end and its last words."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

from localprobe import errors
from localprobe.remote import wire
from localprobe.remote.session import ANSWERS

GRACE = 1.0
"""Seconds that a process has to end by itself before it is killed."""

_QUIET = {"GGML_NO_BACKTRACE": "1"}  # or llama.cpp, when it aborts, runs gdb and buries the reason under its output
_KEPT = 1 << 14  # bytes kept of what the child prints
_TELLING = re.compile(r"error|fail|assert|what\(\)|abort|exception|cannot|unable|out of memory", re.IGNORECASE)
_FRAME = re.compile(r"\[0x[0-9a-f]+\]|^#\d+ ")  # a line of a native backtrace
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Reply: TypeAlias = tuple[str, Any]
"""("notice", text), or the last one: (verb, value) or ("failed", (error's class, message, traceback))."""
_REPLIES = {**ANSWERS, "notice": str, "failed": tuple[str, str, str]}


class Answer:
    """The answer to a verb that was sent, now or later."""

    def __init__(self, verb: str, frame: list[bytes | memoryview], on_notice: Callable[[str], None] | None) -> None:
        self.verb = verb
        self.frame = frame
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self._on_notice = on_notice
        self._last: Reply | None = None

    def wait(self, timeout: float | None = None) -> Any:
        """The value. Raises what the child raised, EngineCrashed if it died, TimeoutError after `timeout` seconds."""
        while self._last is None:
            try:
                reply = self.replies.get(timeout=timeout)
            except Empty:
                raise TimeoutError(f"no answer to {self.verb} after {timeout} s") from None
            if reply[0] != "notice":
                self._last = reply
            elif self._on_notice:
                self._on_notice(reply[1])
        kind, value = self._last
        if kind != "failed":
            return value
        name, message, traceback = value
        error: errors.LocalprobeError = getattr(errors, name)(message)
        if traceback:
            error.add_note(f"In the engine's process:\n{traceback}")
        raise error


class EngineProcess:
    """A child process that runs one engine.

    A thread sends verbs in the order they came and takes each answer whole. So a caller whom KeyboardInterrupt takes
    out of his wait leaves no half message behind: the next verb waits until the child is done with the last. Callers
    whom it cannot reach, all but the main thread, spare themselves two changes of thread for each token: they talk to
    the child themselves if nobody else does.
    """

    def __init__(self, name: str, on_notice: Callable[[str], None] | None = None) -> None:
        self.name = name
        self._on_notice = on_notice
        self._channel, theirs = socket.socketpair()
        with theirs:
            for end in (self._channel, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # macOS gives 8 kB
                    end.setsockopt(socket.SOL_SOCKET, option, wire.BUFFER)
            self._process = _start(theirs.fileno())
        assert self._process.stdout is not None
        self._printed = LastWords(self._process.stdout)
        self._waiting: SimpleQueue[Answer | None] = SimpleQueue()
        self._source = wire.buffered(self._channel)
        self._reader = wire.Reader(self._source, _REPLIES)
        self._talking = threading.Lock()  # held from a verb's first byte to its answer's last
        self._broken: tuple[str, Exception] | None = None  # the verb in which the talk ended, and how
        self._reason: Reply | None = None  # why we ended it, if we did
        self._ended: Reply | None = None  # what every verb is answered from then on
        self._thread = threading.Thread(target=self._exchange, name=f"localprobe {name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._ended is None and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether its end is known or wanted; does not look whether it still runs."""
        return self._ended is not None or self._reason is not None

    def call(self, verb: str, *arguments: object) -> Any:
        """Send a verb and wait for its answer."""
        answer = self._answer(verb, arguments)
        if not self._talk_at_once(answer):
            self._put(answer)
        return answer.wait()

    def post(self, verb: str, *arguments: object) -> Answer:
        """Send a verb, without waiting. Takes no lock, so a finalizer may call it anywhere."""
        answer = self._answer(verb, arguments)
        self._put(answer)
        return answer

    def kill(self, kind: type[errors.LocalprobeError], message: str) -> None:
        """End the process at once, from any thread; verbs then raise `kind`. Does not wait."""
        self._reason = self._reason or ("failed", (kind.__name__, message, ""))
        self._process.kill()
        self._waiting.put(None)

    def close(self) -> None:
        """Let the process end, and kill it if it does not. When this returns it is gone."""
        closed = "UsageError", f"the {self.name} engine is closed: load it again", ""
        self._reason = self._reason or ("failed", closed)
        self._waiting.put(None)
        try:
            self._thread.join(GRACE)
        finally:  # it waits for a long answer, or Ctrl-C came
            if self._thread.is_alive():
                self._process.kill()
        self._thread.join()

    def _answer(self, verb: str, arguments: tuple[object, ...]) -> Answer:
        return Answer(verb, wire.pack(verb, arguments, share=True), self._on_notice)

    def _put(self, answer: Answer) -> None:
        self._waiting.put(answer)
        if self._ended:  # the thread may have left before it saw this one
            self._answer_the_rest(self._ended)

    def _talk_at_once(self, answer: Answer) -> bool:
        """Get the answer in the caller's own thread, if it is its turn and no interrupt can end it half way."""
        if threading.current_thread() is threading.main_thread() or not self._talking.acquire(blocking=False):
            return False
        try:
            free = self.alive and not self._broken and not self._reason and self._waiting.empty()
            return free and self._talk(answer)
        finally:
            self._talking.release()

    def _talk(self, answer: Answer) -> bool:
        """Send a verb and take its answer whole; False if the child is not there to give it."""
        try:
            wire.transmit(self._channel, answer.frame)
            while (reply := self._reader.receive())[0] == "notice":
                answer.replies.put(reply)
            if reply[0] not in (answer.verb, "failed"):
                raise wire.FrameError(f"an answer to {reply[0]}")
        except Exception as error:  # or callers would wait for ever
            self._broken = answer.verb, error
            return False
        answer.replies.put(reply)
        return True

    def _exchange(self) -> None:
        """The thread: verb out, answer in, until the process ends or is to end."""
        while (answer := self._waiting.get()) and not self._broken and self._process.poll() is None:
            with self._talking:
                talked = not self._broken and self._talk(answer)
            if not talked:
                break
        with self._talking, self._channel, self._source:
            pass  # a caller who talks to the child does so to the end, and hanging up tells the child to end
        self._reap()
        self._ended = self._reason or ("failed", ("EngineCrashed", self._obituary(), ""))
        if answer:
            answer.replies.put(self._ended)
        self._answer_the_rest(self._ended)

    def _answer_the_rest(self, reply: Reply) -> None:
        while True:
            try:
                answer = self._waiting.get_nowait()
            except Empty:
                return
            if answer:
                answer.replies.put(reply)

    def _reap(self) -> None:
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _obituary(self) -> str:
        """One line: who died, in what, how, what it printed last, and what to do."""
        verb, broken = self._broken or ("", None)
        doing = f"in {verb}" if verb else "between calls"
        words = f": {line}" if (line := self._printed.last()) else ""
        how = _how(self._process.returncode, broken)
        return f"the {self.name} engine died {doing} ({how}){words}; the model can be loaded again"


class LastWords:
    """The end of what the child prints, read by a thread so that the child never waits for a reader."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while printed := pipe.read(_KEPT):
                self._kept = (self._kept + printed)[-_KEPT:]

    def last(self) -> str:
        """The last line that tells of an error, or else the last line."""
        self._thread.join(0.5)  # a process that the child started may hold the pipe open
        text = _ESCAPE.sub("", self._kept.decode(errors="replace"))
        text = "".join(each if each.isprintable() or each in "\r\n" else " " for each in text)
        lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
        lines = [line for line in lines if line and not _FRAME.search(line)]
        telling = [line for line in lines[-20:] if _TELLING.search(line)]
        return (telling or lines or [""])[-1][:300]


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    """Start the child in a session of its own: neither Ctrl-C nor the terminal reaches it, only its parent's end does.

    It finds modules where this process finds them, and never in the working directory by chance (`-P`).
    """
    path = os.pathsep.join(str(Path(each).absolute()) for each in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-u", "-m", "localprobe.remote.child", str(os.getpid()), str(descriptor)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[descriptor],
        start_new_session=True,
        env=_QUIET | os.environ | {"PYTHONPATH": path},
    )


def _how(code: int, broken: Exception | None) -> str:
    """How a process ended, from its return code and from what the parent saw."""
    if code < 0:
        name = {each.value: each.name for each in signal.Signals}.get(-code, f"signal {-code}")
        cause = ", memory likely ran out" if -code == signal.SIGKILL else ""
        return f"{name}, {signal.strsignal(-code)}{cause}"
    if code or broken is None or isinstance(broken, EOFError | OSError):
        return f"exit status {code}"
    return f"what it sent cannot be read: {broken}"
