"""A load in stages: their order, what they report, and how it ends when it fails or is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from localprobe import discovery, models
from localprobe.capture import scale
from localprobe.engine import Engine, LoadOptions, Weights
from localprobe.engines import canary
from localprobe.engines.loading import Loader, Stage
from localprobe.engines.spec import ModelSpec
from localprobe.errors import CanaryFailed, Cancelled, OutOfMemory, UnknownModel, UsageError
from localprobe.fake import FakeBackend, FakeEngine
from localprobe.models import fits
from localprobe.progress import Progress
from tests.children import children

FAKE = ModelSpec("fake", "fake")


class Hanging(FakeBackend):
    """`tests.engines.test_loading:hanging`: a load that never ends, in a child process that finds it by this name."""

    name = "tests.engines.test_loading:hanging"

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        threading.Event().wait()
        return super().load(weights, options)


hanging = Hanging()


class Closing(FakeEngine):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Closing:
    """The engine that the fake backend loads."""
    loaded = Closing()
    monkeypatch.setattr(FakeBackend, "load", lambda self, weights, options: loaded)
    return loaded


def cancelled(loader: Loader) -> list[str]:
    """Cancel a load that hangs in its child, which has ended then; what the load says of it."""
    errors: list[str] = []

    def load() -> None:
        try:
            loader.load()
        except Cancelled as error:
            errors.append(str(error))

    thread = threading.Thread(target=load)
    thread.start()
    wait_for(children)
    loader.cancel()
    assert not children()
    thread.join()
    return errors


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        threading.Event().wait(0.01)


def test_a_spec_names_the_model_and_the_engine_if_there_is_one() -> None:
    assert [str(ModelSpec("smollm2-135m")), str(FAKE)] == ["smollm2-135m", "fake on fake"]


def test_stages_come_in_order_and_end_with_the_engine_and_the_scale() -> None:
    reported: list[Stage] = []
    loader = Loader(FAKE, measure=True, report=reported.append)
    stages = list(loader.stages())
    assert [stage.step for stage in stages] == ["weights", "memory", "engine", "canary", "scale"]
    assert reported == stages
    assert stages[2].name == "loading fake into fake"
    assert loader.engine.info.model == "fake"
    assert loader.scale is not None
    np.testing.assert_array_equal(loader.scale, scale.residual_scale(loader.engine))


def test_canary_and_scale_are_left_out_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "ensure", lambda engine: pytest.fail("the canary ran"))
    loader = Loader(FAKE, check=False)
    assert [stage.step for stage in loader.stages()] == ["weights", "memory", "engine"]
    assert loader.scale is None


def test_bytes_are_reported_while_weights_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, backend: object, *, code: bool, progress: Progress) -> Weights:
        progress("downloading model.gguf", 5, 10)
        progress("downloading model.gguf", 10, 10)
        return Weights(name, Path("fake"), "fake", "fake")

    monkeypatch.setattr(models, "resolve", resolve)
    reported: list[Stage] = []
    Loader(FAKE, report=reported.append).load()
    assert reported[1:3] == [
        Stage("weights", "downloading model.gguf", 5, 10),
        Stage("weights", "downloading model.gguf", 10, 10),
    ]


def test_a_template_argument_of_another_form_is_told_before_anything_is_loaded() -> None:
    loader = Loader(ModelSpec("fake", "fake", LoadOptions(template_args=("thinking",))))
    with pytest.raises(UsageError, match="template argument 'thinking': write NAME=VALUE"):
        next(loader.stages())


def test_an_unknown_model_ends_the_load_in_its_first_stage() -> None:
    stages = Loader(ModelSpec("smolm2-135m")).stages()
    assert next(stages).step == "weights"
    with pytest.raises(UnknownModel, match=r"no model is named 'smolm2-135m'.*did you mean"):
        next(stages)


def test_a_model_that_does_not_fit_is_never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(weights: Weights, engine: str, options: LoadOptions) -> None:
        raise OutOfMemory(f"{weights.name} needs more than there is")

    monkeypatch.setattr(fits, "check", refuse)
    monkeypatch.setattr(FakeBackend, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(OutOfMemory, match="fake needs more"):
        Loader(FAKE).load()


def test_an_engine_that_fails_its_canary_is_closed(engine: Closing, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(engine: Engine) -> None:
        raise CanaryFailed("a decode step is not steered")

    monkeypatch.setattr(canary, "ensure", fail)
    loader = Loader(FAKE)
    with pytest.raises(CanaryFailed):
        loader.load()
    assert engine.closed == 1


def test_a_driver_that_stops_between_stages_leaves_no_engine(engine: Closing) -> None:
    stages = Loader(FAKE).stages()
    assert [next(stages).step for _ in range(4)][-1] == "canary"
    stages.close()
    assert engine.closed == 1


def test_a_load_that_is_cancelled_ends_before_its_next_stage(engine: Closing) -> None:
    loader = Loader(FAKE)
    stages = loader.stages()
    for _ in range(4):
        next(stages)
    loader.cancel()
    with pytest.raises(Cancelled, match="loading fake was cancelled"):
        next(stages)
    assert engine.closed == 1


def test_a_cancelled_download_ends_at_its_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, backend: object, *, code: bool, progress: Progress) -> Weights:
        progress("downloading model.gguf", 5, 10)
        loader.cancel()
        progress("downloading model.gguf", 6, 10)
        pytest.fail("the download went on")

    monkeypatch.setattr(models, "resolve", resolve)
    reported: list[Stage] = []
    loader = Loader(FAKE, report=reported.append)
    with pytest.raises(Cancelled):
        loader.load()
    assert reported[-1].done == 5


def test_cancelling_after_the_last_stage_leaves_the_engine_alone(engine: Closing) -> None:
    loader = Loader(FAKE)
    assert loader.load() is engine
    loader.cancel()
    assert engine.closed == 0


class TestInAChild:
    def test_the_engine_works_and_is_the_callers_to_close(self) -> None:
        engine = Loader(FAKE, remote=True).load()
        assert len(children()) == 1
        assert engine.decode(np.array([72, 105], dtype=np.int32)) == "Hi"
        engine.close()
        assert not children()

    def test_a_load_that_hangs_is_killed_by_cancel_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(discovery, "choose", lambda *_: hanging)
        assert cancelled(Loader(ModelSpec("fake"), remote=True)) == ["loading fake was cancelled"]

    def test_a_child_is_killed_by_cancel_in_the_middle_of_its_canary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def canary_that_is_cancelled(engine: Engine) -> None:
            loader.cancel()
            assert not children()
            engine.encode("the child is gone")

        monkeypatch.setattr(canary, "ensure", canary_that_is_cancelled)
        loader = Loader(FAKE, remote=True)
        with pytest.raises(Cancelled):
            loader.load()

    def test_an_option_that_is_refused_leaves_no_process(self) -> None:
        with pytest.raises(UsageError, match="float32, not float16"):
            Loader(ModelSpec("fake", "fake", LoadOptions(dtype="float16")), remote=True).load()
        assert not children()
