"""A process that has imported an engine's library once, and checks each architecture in a copy of itself (`os.fork`).

So one architecture costs a second instead of ten, and one that crashes, hangs or eats memory ends nothing but its copy.
`python -m architecture_table.zygote ENGINE` reads one JSON job per line and answers with one JSON line each.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import IO, Any

_MEMORY = 12 << 30
"""Bytes of address space of one check; torch alone reserves about five GB."""
Job = dict[str, Any]


def main() -> None:
    engine = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    check: Callable[[Job], Job] = importlib.import_module(f"architecture_table.{engine}_check").check
    print(json.dumps({"ready": engine}), file=answers)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(_in_a_copy(check, job)), file=answers)


def _in_a_copy(check: Callable[[Job], Job], job: Job) -> Job:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _check(check, job, os.fdopen(writer, "w"))
    os.close(writer)
    started = time.monotonic()
    with os.fdopen(reader) as pipe:
        answer = _read(pipe, job["seconds"])
        if answer is None:
            os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    seconds = round(time.monotonic() - started, 1)
    if answer is None:
        return {"result": "FAILED", "note": f"took more than {job['seconds']} s", "seconds": seconds}
    if not answer:
        return {"result": "FAILED", "note": f"ended the process ({_ending(status)})", "seconds": seconds}
    return {**json.loads(answer), "seconds": seconds}


def _read(pipe: IO[str], seconds: float) -> str | None:
    """What the child writes, empty if it ends without; None if it takes too long."""
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.read() if ready else None


def _ending(status: int) -> str:
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _check(check: Callable[[Job], Job], job: Job, pipe: IO[str]) -> None:
    """Run in the child; never returns."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        answer = check(job)
    except BaseException as error:
        if job.get("trace"):
            import traceback

            traceback.print_exc()
        answer = {"result": "FAILED", "note": f"{type(error).__name__}: {first_line(error)}"}
    pipe.write(json.dumps(answer))
    pipe.flush()
    sys.stderr.flush()
    os._exit(0)


def first_line(error: BaseException) -> str:
    """The first line of an error, cut to 200 characters."""
    return (str(error).strip() or "no message").splitlines()[0][:200]


if __name__ == "__main__":
    main()
