"""How an engine's process begins and ends: crashes, cancelled loads, interrupts, and whose end ends whom."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psutil
import pytest

from localprobe import errors, remote
from localprobe.engine import LoadOptions, Row, Weights
from localprobe.remote import RemoteEngine
from localprobe.remote import process as remote_process
from tests.remote.remotes import HALF, WEIGHTS, elsewhere, gone, here, interrupted, load, open_one, wait_until

pytestmark = pytest.mark.slow  # starts a process for each test

Call: TypeAlias = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def engine() -> Iterator[RemoteEngine]:
    engine = load()
    yield engine
    engine.close()


def how_it_ended(engine: RemoteEngine) -> int | None:
    """The return code of its process: 0 if it ended by itself, -SIGKILL if it was not waited for."""
    return engine._process._process.returncode


@pytest.mark.parametrize("call", [here, elsewhere])
class TestCrashes:
    @pytest.mark.parametrize("verb", ["load", "forward", "open", "step"])
    def test_an_abort_is_told_in_one_line(self, verb: str, call: Call, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(errors.EngineCrashed) as caught:
            self.use(f"tests.remote.faulty:abort_in_{verb}", call)
        assert str(caught.value) == (
            f"the tests.remote.faulty:abort_in_{verb} engine died in {verb} (SIGABRT, Aborted): "
            "ggml.c:12: GGML_ASSERT(n > 0) failed; the model can be loaded again"
        )
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("segfault", r"died in forward \(SIGSEGV, Segmentation fault"),
            ("killed", r"died in forward \(SIGKILL, Killed, memory likely ran out\)"),
            ("exit", r"died in forward \(exit status 3\)"),
            ("tear", r"died in forward \(exit status 4\)"),
            ("garbage", r"died in forward \(what it sent cannot be read"),
            ("nonsense", r"died in forward \(what it sent cannot be read: forward: Expected `array`, got `str`"),
            ("confusion", r"died in forward \(what it sent cannot be read: an answer to decode"),
        ],
    )
    def test_other_ends(self, fault: str, message: str, call: Call) -> None:
        with pytest.raises(errors.EngineCrashed, match=message):
            self.use(f"tests.remote.faulty:{fault}_in_forward", call)

    def test_afterwards_every_call_says_so_at_once(self, engine: RemoteEngine, call: Call) -> None:
        stream = open_one(engine)
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: not engine.alive)
        calls: list[Callable[[], object]] = [
            lambda: engine.encode("a"),
            lambda: engine.forward([Row(np.array([1], np.int32))]),
            lambda: open_one(engine),
            lambda: stream.step(HALF),
            stream.settle,
        ]
        for each in calls * 2:
            with pytest.raises(errors.EngineCrashed, match=r"died between calls \(SIGKILL"):
                call(each)
        stream.close()
        engine.close()
        engine.close()

    def test_kill_stops_a_long_call_of_another_thread(self, call: Call) -> None:
        engine = load("tests.remote.faulty:hang_in_forward")
        threading.Timer(0.1, engine.kill).start()
        for _ in range(2):
            with pytest.raises(errors.EngineCrashed, match="was stopped"):
                call(lambda: engine.forward([Row(np.array([1], np.int32))]))
        assert gone(engine.pid)

    def use(self, backend: str, call: Call) -> None:
        engine = call(lambda: load(backend))
        try:
            call(lambda: engine.forward([Row(engine.encode("a"))]))
            call(lambda: open_one(engine).step(HALF))
        finally:
            assert not engine.alive
            engine.close()


class TestLoading:
    def test_it_can_be_waited_for_in_pieces_and_cancelled_from_another_thread(self) -> None:
        loading = remote.Loading("tests.remote.faulty:hang_in_load", WEIGHTS, LoadOptions())
        with pytest.raises(TimeoutError):
            loading.wait(0.05)
        assert psutil.pid_exists(loading.pid)
        threading.Timer(0.1, loading.cancel).start()
        with pytest.raises(errors.EngineError, match="loading fake was cancelled"):
            loading.wait()
        assert not psutil.pid_exists(loading.pid)

    def test_cancelling_a_model_that_is_loaded_does_nothing(self) -> None:
        loading = remote.Loading("fake", WEIGHTS, LoadOptions())
        engine = loading.wait()
        loading.cancel()
        assert loading.wait() is engine
        assert engine.decode(engine.encode("a")) == "a"
        engine.close()

    def test_one_that_is_let_go_ends(self) -> None:
        loading = remote.Loading("tests.remote.faulty:hang_in_load", WEIGHTS, LoadOptions())
        pid = loading.pid
        del loading
        gc.collect()
        wait_until(lambda: not psutil.pid_exists(pid))

    @pytest.mark.usefixtures("signals_heard")
    def test_an_interrupt_kills_the_child(self) -> None:
        before = psutil.Process().children()
        with interrupted("load"):
            load("tests.remote.faulty:hang_in_load")
        assert psutil.Process().children() == before


@pytest.mark.usefixtures("signals_heard")
class TestInterrupts:
    def test_the_next_call_gets_its_own_answer(self) -> None:
        engine = load("tests.remote.faulty:pause_in_forward")
        for text in ("one", "two"):
            with interrupted("forward"):
                engine.forward([Row(engine.encode(text))], [0])
            os.kill(engine.pid, signal.SIGUSR1)
            assert engine.encode(text).tolist() == [256, *text.encode()]
        engine.close()

    @pytest.mark.parametrize("verb", ["open", "step"])
    def test_a_stream_of_which_nobody_knows_how_far_it_is_is_closed(self, verb: str) -> None:
        engine = load(f"tests.remote.faulty:pause_in_{verb}")
        with interrupted(verb):
            open_one(engine).step(HALF)
        os.kill(engine.pid, signal.SIGUSR1)
        wait_until(lambda: engine.decode([0, 0]) == "0")
        engine.close()


@pytest.mark.parametrize("call", [here, elsewhere])
class TestStopped:
    """A child that is stopped (SIGSTOP) does not answer; whoever waits is told, and can go on with it later."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote_process, "LOOK", 0.05)

    def test_whoever_waits_is_told_what_to_do_and_a_child_that_goes_on_answers_again(
        self, engine: RemoteEngine, call: Call
    ) -> None:
        stream = open_one(engine)
        os.kill(engine.pid, signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(errors.EngineStopped) as caught:
                call(lambda: engine.encode("one"))
        assert str(caught.value) == (
            f"the fake engine's process {engine.pid} is stopped: continue it with `kill -CONT {engine.pid}`, or quit"
        )
        with pytest.raises(errors.EngineStopped):
            call(lambda: stream.step(HALF))
        assert engine.alive
        os.kill(engine.pid, signal.SIGCONT)
        assert call(lambda: engine.encode("two")).tolist() == [256, *b"two"]
        with pytest.raises(errors.UsageError, match="this stream is closed"):  # nobody knows how far it is
            call(lambda: stream.step(HALF))
        assert call(lambda: open_one(engine).step(HALF)).ids.shape == (1,)

    def test_a_call_that_takes_long_is_waited_for(self, call: Call) -> None:
        engine = load("tests.remote.faulty:pause_in_forward")
        threading.Timer(0.4, os.kill, (engine.pid, signal.SIGUSR1)).start()
        (output,) = call(lambda: engine.forward([Row(np.array([256, 1], np.int32))], [0]))
        assert output.residuals.shape[:2] == (1, 2)
        assert call(lambda: engine.encode("a")).tolist() == [256, *b"a"]
        engine.close()

    def test_close_ends_it(self, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
        monkeypatch.setattr(remote_process, "GRACE", 0.1)
        engine = load()
        os.kill(engine.pid, signal.SIGSTOP)
        with pytest.raises(errors.EngineStopped):
            call(lambda: engine.encode("a"))
        call(engine.close)
        assert how_it_ended(engine) == -signal.SIGKILL
        assert gone(engine.pid)

    def test_a_load_that_is_stopped_is_ended(self, call: Call) -> None:
        loading = remote.Loading("tests.remote.faulty:hang_in_load", WEIGHTS, LoadOptions())
        os.kill(loading.pid, signal.SIGSTOP)
        with pytest.raises(errors.EngineStopped, match="the process that loaded fake was stopped from outside"):
            call(loading.wait)
        assert gone(loading.pid)


class TestEnds:
    def test_close_lets_the_engine_close_and_leaves_no_process(self, tmp_path: Path) -> None:
        path = tmp_path / "weights"
        path.touch()
        engine = load("tests.remote.faulty:pause_in_nothing", Weights("fake", path, "fake", ""))
        engine.close()
        engine.close()
        assert path.read_text() == "closed in good order"
        assert not engine.alive
        assert not psutil.pid_exists(engine.pid)
        with pytest.raises(errors.UsageError, match="is closed"):
            engine.encode("a")

    @pytest.mark.usefixtures("signals_heard")
    def test_close_does_not_wait_for_one_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote_process, "GRACE", 0.1)
        engine = load("tests.remote.faulty:hang_in_forward")
        with interrupted("forward"):
            engine.forward([Row(np.array([1], np.int32))])
        engine.close()
        assert how_it_ended(engine) == -signal.SIGKILL
        assert not psutil.pid_exists(engine.pid)

    def test_nor_for_another_thread_that_talks_to_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote_process, "GRACE", 0.1)
        engine = load("tests.remote.faulty:hang_in_forward")
        transmit, sent = remote_process.wire.transmit, threading.Event()

        def tell(*frame: Any) -> None:
            transmit(*frame)
            sent.set()

        monkeypatch.setattr(remote_process.wire, "transmit", tell)
        with ThreadPoolExecutor(1) as pool:
            talk = pool.submit(engine.forward, [Row(np.array([1], np.int32))])
            assert sent.wait(60)  # the lock alone may be held before the child is asked
            engine.close()
            assert how_it_ended(engine) == -signal.SIGKILL
            assert not psutil.pid_exists(engine.pid)
            with pytest.raises(errors.UsageError, match="is closed"):
                talk.result()

    def test_an_engine_that_nobody_holds_ends(self) -> None:
        engine = load()
        pid = engine.pid
        del engine
        gc.collect()
        wait_until(lambda: not psutil.pid_exists(pid))

    def test_it_ends_with_a_parent_that_just_ends(self) -> None:
        parent = self.parent("engine = remote.load('fake', weights, LoadOptions()); print(engine.pid)")
        output, complaints = parent.communicate(timeout=120)
        assert (parent.returncode, complaints) == (0, "")
        wait_until(lambda: gone(int(output)))

    @pytest.mark.usefixtures("signals_heard")
    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP])
    def test_it_ends_with_a_parent_that_is_killed_even_in_a_long_load(self, end: signal.Signals) -> None:
        with self.parent(
            "loading = remote.Loading('tests.remote.faulty:hang_in_load', weights, LoadOptions())",
            "print(loading.pid, flush=True)",
            "loading.wait()",
        ) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            time.sleep(0.3)  # until it is in the load
            assert not gone(child)
            parent.send_signal(end)
        wait_until(lambda: gone(child))

    def parent(self, *lines: str) -> subprocess.Popen[str]:
        program = [
            "from pathlib import Path",
            "from localprobe import remote",
            "from localprobe.engine import LoadOptions, Weights",
            "weights = Weights('fake', Path('/nowhere'), 'fake', '')",
            *lines,
        ]
        return subprocess.Popen(
            [sys.executable, "-c", "\n".join(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
