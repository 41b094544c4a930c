"""`localprobe chat --plain`, asked the same again and again."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.timing import PROMPT

WAIT = 300.0
LOCALPROBE = str(Path(sys.executable).with_name("localprobe"))


class Plain:
    """A process with the model in it. `options` are those of `localprobe chat`."""

    def __init__(self, model: str, engine: str, *options: str) -> None:
        command = [LOCALPROBE, "chat", model, "--engine", engine, "--plain", "--temperature", "0", *options]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=False, bufsize=0)
        self._asked = False

    def rate(self) -> float:
        """Tokens a second from the first piece of an answer to its last."""
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._process.stdin.write(b"/regenerate\n" if self._asked else f"{PROMPT}\n".encode())
        self._asked = True
        times, told = [], b""
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        while (found := re.search(rb"(\d+) tokens, [\d.]+ tok/s", told)) is None:
            for ready in select.select([out, err], [], [], WAIT)[0]:
                got = os.read(ready, 65536)
                if not got:
                    raise SystemExit(f"localprobe chat --plain ended: {told.decode()}")
                if ready == err:
                    told += got
                    if b"localprobe: " in told:
                        raise SystemExit(f"localprobe chat --plain: {told.decode()}")
                elif got != b"\n":
                    times.append(time.perf_counter())
        return (int(found[1]) - 1) / (times[-1] - times[0])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
