"""GGUF files are tried in a child before they are loaded in this process, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localprobe import discovery, models, remote
from localprobe.engine import Backend, LoadOptions, Weights, WeightsFormat
from localprobe.engines.loading import Loader
from localprobe.engines.spec import ModelSpec
from localprobe.errors import EngineCrashed, UsageError
from localprobe.fake import FakeBackend, FakeEngine
from tests.children import children
from tests.engines.test_loading import Hanging, cancelled
from tests.remote import faulty


class Tries(list[LoadOptions]):
    """The options of each child that a test starts."""


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    started, loading = Tries(), remote.Loading

    def counted(name: str, weights: Weights, options: LoadOptions) -> remote.Loading:
        started.append(options)
        return loading(name, weights, options)

    monkeypatch.setattr(remote, "Loading", counted)
    return started


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loader]:
    """A loader of a file, whose content no other test has, on a backend; nothing is remembered of either."""
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")

    def make(backend: Backend, kind: WeightsFormat = "gguf", hashed: str = "", **options: object) -> Loader:
        weights = Weights("model.gguf", path, kind, f"{tmp_path} {hashed}")
        monkeypatch.setattr(discovery, "choose", lambda *_: backend)
        monkeypatch.setattr(models, "formats", lambda _: (kind,))
        monkeypatch.setattr(models, "resolve", lambda *_, **__: weights)
        return Loader(ModelSpec("model.gguf", options=LoadOptions(**options)))  # type: ignore[arg-type]

    return make


def broken(fault: str) -> Backend:
    """The backend of that fault, which may only be loaded in a child."""
    backend: FakeBackend = getattr(faulty, fault)
    backend.name = f"tests.remote.faulty:{fault}"
    backend.load = lambda *_: pytest.fail("it was loaded in this process")  # type: ignore[method-assign]
    return backend


@pytest.mark.parametrize(
    ("fault", "death"),
    [
        ("abort_in_load", r"died in load \(SIGABRT, Aborted\): ggml.c:12: GGML_ASSERT\(n > 0\) failed"),
        ("segfault_in_load", r"died in load \(SIGSEGV, Segmentation fault\); fetch the file again, or take another"),
        ("killed_in_load", r"died in load \(SIGKILL, Killed, memory likely ran out\); take a smaller one, or close"),
        ("abort_in_forward", r"died in forward \(SIGABRT, Aborted\): ggml.c:12: GGML_ASSERT\(n > 0\) failed"),
    ],
)
def test_a_file_on_which_a_library_aborts_is_one_line_each_time(
    loader: Callable[..., Loader], tries: Tries, fault: str, death: str
) -> None:
    message = rf"model\.gguf cannot be run: the engine {death}"
    for _ in range(2):
        with pytest.raises(EngineCrashed, match=message) as caught:
            loader(broken(fault)).load()
        assert "\n" not in str(caught.value)
    assert len(tries) == 2  # what failed is not remembered
    assert not children()


def test_a_file_is_tried_once_and_then_runs_in_this_process(loader: Callable[..., Loader], tries: Tries) -> None:
    for _ in range(2):
        engine = loader(FakeBackend()).load()
        assert isinstance(engine, FakeEngine)
        engine.close()
        assert not children()
    assert len(tries) == 1


def test_other_weights_and_other_options_are_tried_too(loader: Callable[..., Loader], tries: Tries) -> None:
    loader(FakeBackend()).load().close()
    loader(FakeBackend(), hashed="other").load().close()
    for arguments in ((), ("enable_thinking=false",)):  # of the template, which the core renders
        loader(FakeBackend(), context=64, template_args=arguments).load().close()
    assert [options.context for options in tries] == [None, None, 64]


def test_where_no_process_can_be_started_there_is_no_trial(
    loader: Callable[..., Loader], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> remote.Loading:
        raise PermissionError("no processes here")

    monkeypatch.setattr(remote, "Loading", refuse)
    assert isinstance(loader(FakeBackend()).load(), FakeEngine)


def test_an_error_of_the_trial_is_raised_as_it_is(loader: Callable[..., Loader]) -> None:
    with pytest.raises(UsageError, match="layer 99 is out of range"):
        loader(broken("usage_in_load")).load()
    assert not children()


def test_a_folder_is_not_tried(loader: Callable[..., Loader], tries: Tries) -> None:
    loader(FakeBackend(), "fake").load().close()
    assert tries == []


def test_a_trial_is_killed_by_cancel(loader: Callable[..., Loader]) -> None:
    assert cancelled(loader(Hanging())) == ["loading model.gguf was cancelled"]
