"""The parent's handle on an engine's process: start, exchange of messages, end, and last output."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

from localprobe import errors
from localprobe.remote import wire
from localprobe.remote.session import ANSWERS

GRACE = 1.0
"""Seconds that a process has to end before it is killed."""
LOOK = 1.0
"""Seconds without an answer until it is looked at whether the process was stopped."""

_QUIET = {"GGML_NO_BACKTRACE": "1"}  # else llama.cpp runs gdb when it aborts, whose output hides the reason
_KEPT = 1 << 14  # bytes kept of what the child prints
_TELLING = re.compile(r"error|fail|assert|what\(\)|abort|exception|cannot|unable|out of memory", re.IGNORECASE)
_FRAME = re.compile(r"\[0x[0-9a-f]+\]|^#\d+ ")  # a line of a native backtrace
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Reply: TypeAlias = tuple[str, Any]
"""("notice", text), or the final one: (verb, value) or ("failed", (error's class, message, traceback))."""
_REPLIES = {**ANSWERS, "notice": str, "failed": tuple[str, str, str]}


class PendingAnswer:
    """The answer to a verb, available now or later."""

    def __init__(
        self,
        verb: str,
        frame: list[bytes | memoryview],
        on_notice: Callable[[str], None],
        while_waiting: Callable[[], None],
    ) -> None:
        self.verb = verb
        self.frame = frame
        self.sent = False
        self.replies: SimpleQueue[Reply] = SimpleQueue()
        self._on_notice = on_notice
        self._while_waiting = while_waiting
        self._last: Reply | None = None

    def wait(self, timeout: float | None = None) -> Any:
        """The value. Raises what the child raised, EngineCrashed if it died, TimeoutError after `timeout` seconds, and
        EngineStopped if it was stopped; what it answers once it is continued is dropped."""
        left = float("inf") if timeout is None else timeout
        while self._last is None:
            try:
                reply = self.replies.get(timeout=min(left, LOOK))
            except Empty:
                left -= LOOK
                if left <= 0:
                    raise TimeoutError(f"no answer to {self.verb} after {timeout} s") from None
                self._while_waiting()
                continue
            if reply[0] == "notice":
                self._on_notice(reply[1])
            else:
                self._last = reply
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

    A thread sends verbs in order and receives each answer completely. So a KeyboardInterrupt in a waiting caller leaves
    no partial message behind: the next verb waits until the child has finished the last. Callers on other threads than
    the main one cannot be interrupted; to save two thread switches per token, they talk to the child directly if no
    other caller does, and leave an answer that takes long to the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._channel, theirs = socket.socketpair()
        with theirs:
            for end in (self._channel, theirs):
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # macOS gives 8 kB
                    end.setsockopt(socket.SOL_SOCKET, option, wire.BUFFER)
            self._process = _start(theirs.fileno())
        assert self._process.stdout is not None
        self._printed = LastWords(self._process.stdout)
        self._waiting: SimpleQueue[PendingAnswer | None] = SimpleQueue()
        self._source = wire.buffered(self._channel)
        self._reader = wire.FrameReader(self._source, _REPLIES)
        self._talking = threading.Lock()  # held from a verb's first byte to its answer's last
        self._arrivals = select.poll()
        self._arrivals.register(self._channel, select.POLLIN)
        self._owed: PendingAnswer | None = None  # sent by a caller that left its answer to the thread
        self._broken: tuple[str, Exception] | None = None  # the verb during which communication ended, and the error
        self._reason: Reply | None = None  # why we ended the process, if we did
        self._ended: Reply | None = None  # the reply to every verb from then on
        self.death = ""
        """How it died, e.g. `died in load (SIGABRT, Aborted): its last words`; empty unless it died by itself."""
        self._thread = threading.Thread(target=self._exchange, name=f"localprobe {name}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._ended is None and self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it was stopped from outside (SIGSTOP); nothing tells a parent of that, so it is asked for."""
        import psutil

        try:
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    @property
    def ended(self) -> bool:
        """Whether it is known to have ended or to be ending; does not check the process."""
        return self._ended is not None or self._reason is not None

    def call(self, verb: str, *arguments: object) -> Any:
        """Send a verb and wait for its answer."""
        answer = self._answer(verb, arguments)
        if not self._talk_at_once(answer):
            self._put(answer)
        return answer.wait()

    def post(self, verb: str, *arguments: object) -> PendingAnswer:
        """Send a verb, without waiting. Takes no lock, so a finalizer may call it anywhere."""
        answer = self._answer(verb, arguments)
        self._put(answer)
        return answer

    def kill(self, kind: type[errors.LocalprobeError], message: str) -> None:
        """Kill the process, from any thread, without waiting; verbs then raise `kind`."""
        self._reason = self._reason or ("failed", (kind.__name__, message, ""))
        self._process.kill()
        self._waiting.put(None)

    def close(self) -> None:
        """Let the process end, and kill it if it does not. It has ended when this returns."""
        closed = "UsageError", f"the {self.name} engine is closed: load it again", ""
        self._reason = self._reason or ("failed", closed)
        self._waiting.put(None)
        try:
            self._thread.join(GRACE)
        finally:  # a long answer is pending, or Ctrl-C was pressed
            if self._thread.is_alive():
                self._process.kill()
        self._thread.join()

    def _answer(self, verb: str, arguments: tuple[object, ...]) -> PendingAnswer:
        return PendingAnswer(verb, wire.pack(verb, arguments, share=True), self._warn, self._check)

    def _warn(self, text: str) -> None:
        """Give a warning of the process to the user, in the thread that waits for an answer."""
        warnings.warn(f"the {self.name} engine warns: {text}", errors.EngineWarning, stacklevel=2)

    def _check(self) -> None:
        """Raise EngineStopped if the process is stopped."""
        if self.stopped:
            raise errors.EngineStopped(
                f"the {self.name} engine's process {self.pid} is stopped: continue it with `kill -CONT {self.pid}`, "
                "or quit"
            )

    def _put(self, answer: PendingAnswer) -> None:
        self._waiting.put(answer)
        if self._ended:  # the thread may have ended before it saw this answer
            self._answer_the_rest(self._ended)

    def _talk_at_once(self, answer: PendingAnswer) -> bool:
        """Get the answer on the caller's thread, if it is free to talk and cannot be interrupted."""
        if threading.current_thread() is threading.main_thread() or not self._talking.acquire(blocking=False):
            return False
        try:
            quiet = self._owed is None and self._waiting.empty()
            free = quiet and self.alive and not self._broken and not self._reason
            return free and self._talk(answer, patience=LOOK)
        finally:
            self._talking.release()

    def _talk(self, answer: PendingAnswer, patience: float | None = None) -> bool:
        """Send a verb and receive its answer; False if the child cannot answer, or does not begin to within `patience`
        seconds: the answer is then owed, and whoever talks next receives it first."""
        verb = answer.verb
        try:
            if (owed := self._owed) is not None:
                verb = owed.verb
                self._receive(owed)
                self._owed, verb = None, answer.verb
            if not answer.sent:
                answer.sent = True
                wire.transmit(self._channel, answer.frame)
                if patience is not None and not self._arrivals.poll(1000 * patience):
                    self._owed = answer
                    return False
                self._receive(answer)
        except Exception as error:  # or callers would wait forever
            self._broken = verb, error
            return False
        return True

    def _receive(self, answer: PendingAnswer) -> None:
        """Receive the replies to a verb, the last of which is its answer."""
        while (reply := self._reader.receive())[0] == "notice":
            answer.replies.put(reply)
        if reply[0] not in (answer.verb, "failed"):
            raise wire.FrameError(f"an answer to {reply[0]}")
        answer.replies.put(reply)

    def _exchange(self) -> None:
        """Body of the thread: exchange verbs and answers until the process ends."""
        while (answer := self._waiting.get()) and not self._broken and self._process.poll() is None:
            with self._talking:
                talked = not self._broken and self._talk(answer)
            if not talked:
                break
        with self._talking, self._channel, self._source:
            pass  # wait for a caller that is talking to the child; closing the socket then ends the child
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
        """One line: engine, verb, cause of death, last output, and what to do."""
        verb, broken = self._broken or ("", None)
        doing = f"in {verb}" if verb else "between calls"
        words = f": {line}" if (line := self._printed.last()) else ""
        self.death = f"died {doing} ({_cause_of_death(self._process.returncode, broken)}){words}"
        return f"the {self.name} engine {self.death}; the model can be loaded again"


class LastWords:
    """The last output of the child, read by a thread so that the child never blocks on a full pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while printed := pipe.read(_KEPT):
                self._kept = (self._kept + printed)[-_KEPT:]

    def last(self) -> str:
        """The last line that looks like an error, or else the last line."""
        self._thread.join(0.5)  # a process that the child started may hold the pipe open
        text = _ESCAPE.sub("", self._kept.decode(errors="replace"))
        text = "".join(char if char.isprintable() or char in "\r\n" else " " for char in text)
        lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
        lines = [line for line in lines if line and not _FRAME.search(line)]
        telling = [line for line in lines[-20:] if _TELLING.search(line)]
        return (telling or lines or [""])[-1][:300]


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    """Start the child in a new session, so that neither Ctrl-C nor the terminal affects it.

    It has this process's module search path, without the working directory (`-P`).
    """
    path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
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


def _cause_of_death(code: int, broken: Exception | None) -> str:
    """How a process ended, from its return code and from what the parent saw."""
    if code < 0:
        name = {item.value: item.name for item in signal.Signals}.get(-code, f"signal {-code}")
        cause = ", memory likely ran out" if -code == signal.SIGKILL else ""
        return f"{name}, {signal.strsignal(-code)}{cause}"
    if code or broken is None or isinstance(broken, EOFError | OSError):
        return f"exit status {code}"
    return f"what it sent cannot be read: {broken}"
