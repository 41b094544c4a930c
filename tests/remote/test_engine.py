"""An engine in a child process keeps the contract: the same answers, the same errors, nothing on the terminal."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from localprobe import errors, remote
from localprobe.engine import Engine, LoadOptions, Prompt, Row, Term, Watch
from localprobe.fake import FakeEngine
from localprobe.generation.decode import Request, generate
from localprobe.remote import RemoteEngine
from localprobe.remote.process import EngineProcess
from localprobe.testing import EngineContract
from tests.remote.remotes import HALF, WEIGHTS, load, open_one, wait_until


@pytest.fixture(scope="module")
def engine() -> Iterator[RemoteEngine]:
    engine = load()
    yield engine
    engine.close()


class TestRemoteFake(EngineContract):
    """What the fake engine promises, it promises across a pipe."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[Engine]:
        engine = load()
        yield engine
        engine.close()

    @pytest.fixture
    def spare_engine(self) -> Engine:
        return load()


class TestAnswers:
    def test_they_are_bit_for_bit_those_of_the_engine_itself(self, engine: RemoteEngine) -> None:
        inside = FakeEngine()
        assert engine.info == inside.info
        ids = np.arange(200, dtype=np.int32)
        steering = (Term(2, np.ones(32, np.float32)),)
        rows = [Row(ids, steering if n % 2 else (), full=(0, 199)) for n in range(16)]
        answers = zip(engine.forward(rows, range(6)), inside.forward(rows, range(6)), strict=True)
        for remote_output, output in answers:  # 4 MB
            assert np.array_equal(remote_output.residuals, output.residuals)
            assert np.array_equal(remote_output.full, output.full)

    def test_arrays_are_the_callers_own(self, engine: RemoteEngine) -> None:
        output = engine.forward([Row(engine.encode("a"))], [0])[0]
        kept = output.residuals.copy()
        engine.forward([Row(engine.encode("b"))], [0])
        assert np.array_equal(output.residuals, kept)
        output.residuals[:] = 0

    def test_threads_may_take_turns(self, engine: RemoteEngine) -> None:
        texts: list[str] = []

        def run(text: str) -> None:
            texts.extend(engine.decode(engine.encode(text)) for _ in range(50))

        threads = [threading.Thread(target=run, args=(text,)) for text in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(texts) == ["one"] * 50 + ["two"] * 50

    def test_nothing_that_the_child_prints_is_seen(self, capfd: pytest.CaptureFixture[str]) -> None:
        engine = load("tests.remote.faulty:chatter_in_load")
        engine.close()
        assert capfd.readouterr() == ("", "")

    def test_warnings_of_the_child_are_warnings_here(self) -> None:
        with pytest.warns(errors.EngineWarning, match=r"^the tests\S+ engine warns: this build has no GPU$"):
            load("tests.remote.faulty:warning").close()


class TestErrors:
    @pytest.mark.parametrize(
        ("backend", "error", "message"),
        [
            ("nonesuch", errors.UnknownEngine, "no engine is named 'nonesuch'"),
            ("tests.remote.faulty:usage_in_load", errors.UsageError, "layer 99 is out of range"),
            ("tests.remote.faulty:memory_in_load", errors.OutOfMemory, "the batch does not fit"),
            (
                "tests.remote.faulty:bug_in_load",
                errors.EngineError,
                "failed in load, which is a bug: KeyError: 'no such key'",
            ),
            ("tests.remote.faulty:quit_in_load", errors.EngineError, "SystemExit"),
        ],
    )
    def test_in_load_they_keep_their_class_and_end_the_child(
        self, backend: str, error: type[errors.LocalprobeError], message: str
    ) -> None:
        loading = remote.Loading(backend, WEIGHTS, LoadOptions())
        for _ in range(2):
            with pytest.raises(error) as caught:
                loading.wait()
            assert type(caught.value) is error
            assert message in str(caught.value)
            assert not psutil.pid_exists(loading.pid)

    def test_options_that_cannot_be_honoured_are_refused(self) -> None:
        with pytest.raises(errors.UsageError, match="float32, not float16"):
            remote.load("fake", WEIGHTS, LoadOptions(dtype="float16"))

    def test_a_bug_brings_its_traceback_and_the_engine_lives_on(self) -> None:
        engine = load("tests.remote.faulty:bug_in_forward")
        with pytest.raises(errors.EngineError, match="failed in forward") as caught:
            engine.forward([Row(engine.encode("a"))])
        assert type(caught.value) is errors.EngineError
        assert "faulty.py" in caught.value.__notes__[0]
        assert engine.encode("a").tolist() == [256, 97]
        engine.close()

    def test_a_stream_of_another_engine_is_refused(self, engine: RemoteEngine) -> None:
        other = FakeEngine()
        prompt = Prompt(other.encode("a"))
        with pytest.raises(errors.UsageError, match="another engine"):
            engine.open([prompt], room=1, reuse=other.open([prompt], room=1))

    def test_what_is_not_of_the_contract_is_refused_before_it_is_sent(self, engine: RemoteEngine) -> None:
        with pytest.raises(TypeError, match="range is not part of the contract"):
            engine.forward([Row(engine.encode("a"), full=range(1))])  # type: ignore[arg-type]
        assert engine.decode(engine.encode("a")) == "a"

    def test_what_is_of_another_type_is_refused_in_the_child_which_lives_on(self, engine: RemoteEngine) -> None:
        with pytest.raises(errors.UsageError, match=r"forward: Expected `int`, got `float`"):
            engine.forward([Row(engine.encode("a"), full=(0.5,))])  # type: ignore[arg-type]
        assert engine.decode(engine.encode("a")) == "a"

    def test_text_that_is_not_unicode_is_the_engines_to_judge(self, engine: RemoteEngine) -> None:
        with pytest.raises(errors.EngineError, match=r"failed in encode, .*can't encode character '\\ud800'"):
            engine.encode("half a pair: \ud800")
        assert engine.decode(engine.encode("a")) == "a"


def test_the_text_of_one_id_is_asked_for_once_and_not_given_once_the_child_is_gone() -> None:
    engine = load("tests.remote.faulty:pause_in_nothing")  # whose decode tells how many streams are open
    assert engine.decode([7]) == "0"
    stream = open_one(engine)
    assert (engine.decode([7]), engine.decode([7, 7]), engine.decode([8])) == ("0", "1", "1")
    stream.close()
    engine.kill()
    wait_until(lambda: not engine.alive)
    with pytest.raises(errors.EngineCrashed):
        engine.decode([7])


def test_what_a_step_says_comes_with_it(engine: RemoteEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    verbs: list[str] = []
    call = EngineProcess.call

    def noted(process: EngineProcess, verb: str, *arguments: object) -> Any:
        verbs.append(verb)
        return call(process, verb, *arguments)

    prompt = engine.encode("The lighthouse")
    requests = [Request(prompt, key=str(seed), tokens=6 + seed) for seed in range(3)]
    expected = list(generate(FakeEngine(), requests))
    monkeypatch.setattr(EngineProcess, "call", noted)
    assert list(generate(engine, requests)) == expected
    assert verbs.count("step") >= 8
    # One is asked for only where a character takes several tokens, and at the end.
    assert verbs.count("decode") <= 6


class TestStreams:
    def test_one_that_nobody_holds_is_closed_in_the_child(self) -> None:
        engine = load("tests.remote.faulty:pause_in_nothing")
        first, second = open_one(engine), open_one(engine)
        assert engine.decode([0, 0]) == "2"
        first.close()
        assert engine.decode([0, 0]) == "1"
        del second
        gc.collect()
        assert engine.decode([0, 0]) == "0"
        engine.close()

    def test_it_keeps_its_engine(self) -> None:
        engine = load()
        stream = open_one(engine)
        del engine
        gc.collect()
        assert stream.step(HALF).ids.shape == (1,)
        stream.engine.close()

    def test_watched_vectors_are_read_in_the_child(self, engine: RemoteEngine) -> None:
        ids = engine.encode("watched")
        vector = np.linspace(-1, 1, 32, dtype=np.float32)
        stream = engine.open([Prompt(ids)], room=4, watch=[Watch(3, vector)])
        residuals = engine.forward([Row(ids)], [3])[0].residuals[0]
        np.testing.assert_allclose(stream.prompt_scores[0][:, 0], residuals @ vector, rtol=1e-4)


def test_the_child_imports_only_the_core() -> None:
    program = (
        "import sys, localprobe.remote.child; "
        "print([each for each in ('scipy', 'sklearn', 'torch', 'mlx', 'llama_cpp', 'textual') if each in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"
