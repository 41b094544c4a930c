"""The engine's thread: jobs in order, errors to the caller, and a clean end whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")

import mlx.core as mx

from localprobe.errors import UsageError
from localprobe_mlx.worker import Worker

pytestmark = pytest.mark.mlx

SETUP = """
    import sys
    from pathlib import Path
    from localprobe.engine import LoadOptions, Prompt, Row, Weights
    from localprobe.testing.tiny import tiny_folder
    from localprobe_mlx import backend
    import numpy as np
    folder = tiny_folder("llama", Path(sys.argv[1]))
    engine = backend.load(Weights("tiny", folder, "folder", "tiny"), LoadOptions())
"""


@pytest.fixture
def worker() -> Worker:
    return Worker(mx.Device(mx.cpu))


def test_jobs_run_on_one_thread_that_is_not_the_callers(worker: Worker) -> None:
    with ThreadPoolExecutor(4) as callers:
        threads = set(callers.map(lambda _: worker.run(threading.get_ident), range(20)))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_errors_reach_the_caller_and_leave_the_thread_alive(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 // 0)
    assert worker.run(lambda: mx.arange(4).sum().item()) == 6


def test_a_closed_worker_refuses(worker: Worker) -> None:
    worker.close()
    worker.close()
    with pytest.raises(UsageError, match="closed"):
        worker.run(lambda: None)


def test_a_forgotten_worker_ends_its_thread() -> None:
    worker = Worker(mx.Device(mx.cpu))
    thread = worker.run(threading.current_thread)
    del worker
    thread.join(timeout=60)
    assert not thread.is_alive()


def script(code: str) -> list[str | Path]:
    return [sys.executable, "-c", textwrap.dedent(SETUP) + textwrap.dedent(code)]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "engine.close()", "stream.step(np.array([0.5]))"])
def test_the_interpreter_exits_cleanly_and_silently_with_a_model_loaded(end: str, tmp_path: Path) -> None:
    """Left to itself, MLX aborts one time in two."""
    code = f"stream = engine.open([Prompt(np.array([5, 6, 7], np.int32))], room=9)\n{end}"
    done = subprocess.run([*script(code), tmp_path], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_interrupts_the_caller_and_not_the_thread(tmp_path: Path) -> None:
    code = """
    rows = [Row(np.arange(100, dtype=np.int32))]
    try:
        print("ready", flush=True)
        while True:
            engine.forward(rows, [0])
    except KeyboardInterrupt:
        print(engine.forward(rows, [0])[0].residuals.shape, flush=True)
    """
    process = subprocess.Popen([*script(code), tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "(1, 100, 64)\n", "")
