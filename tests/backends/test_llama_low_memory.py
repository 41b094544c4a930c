"""Low memory: the weights stay in their file, and passes and caches are small."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from localprobe.engine import Prompt, Sampler
from localprobe.engines import canary
from localprobe.errors import OutOfMemory
from localprobe.models import fits
from localprobe.store import memo
from localprobe.testing.tiny import tiny_gguf
from tests.backends import llama_models
from tests.backends.llama_models import row

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama.engine import LlamaEngine


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf")


def free(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(fits, "available", lambda: round(count))


def cells(engine: LlamaEngine) -> list[int]:
    return [context.cells for context in engine._pool._idle]


def test_weights_are_mapped_and_not_copied(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = llama_cpp.llama_model_load_from_file

    def noted(path: bytes, params: Any) -> Any:
        asked.append((bool(params.use_extra_bufts), params.load_mode))
        return real(path, params)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", noted)
    for low_memory in (False, True):
        llama_models.load(tiny, low_memory=low_memory).close()
    assert asked[0][0]
    assert asked[1] == (False, llama_cpp.LLAMA_LOAD_MODE_MMAP)


def test_what_was_found_in_one_mode_is_not_taken_for_the_other(tiny: Path) -> None:
    """Captures and the canary's verdict are kept by the engine's version."""
    usual, low = llama_models.load(tiny), llama_models.load(tiny, low_memory=True)
    assert low.info.version == f"{usual.info.version}, low memory"
    canary.ensure(usual)
    assert memo.recall(canary._KIND, canary.key(usual))
    assert not memo.recall(canary._KIND, canary.key(low))
    usual.close()
    low.close()


def test_an_older_llama_cpp_maps_by_another_name() -> None:
    from localprobe_llama.load import _map_weights

    params = SimpleNamespace(use_extra_bufts=True, use_mmap=False)
    _map_weights(params)
    assert vars(params) == {"use_extra_bufts": False, "use_mmap": True}


def test_it_computes_the_same_in_smaller_passes_and_caches(tiny: Path) -> None:
    usual, low = llama_models.load(tiny), llama_models.load(tiny, low_memory=True)
    assert (usual._model.batch, low._model.batch) == (512, 128)
    one, other = (engine.forward([row(engine)], [1, 3])[0] for engine in (usual, low))
    llama_models.close(usual, one, other)
    assert (cells(usual)[-1], cells(low)[-1]) == (1024, 256)
    assert all(check.passed for check in canary.run(low))
    usual.close()
    low.close()


def test_a_row_longer_than_a_pass_goes_in_pieces(tiny: Path) -> None:
    usual, low = llama_models.load(tiny), llama_models.load(tiny, low_memory=True)
    long = np.resize(row(usual).ids, 200)
    firsts = []
    for engine in (usual, low):
        stream = engine.open([Prompt(long, sampler=Sampler(0))], room=5)
        firsts.append(stream.step(np.array([0.5])))
        stream.close()
    assert firsts[0].ids == firsts[1].ids
    np.testing.assert_allclose(firsts[0].logprobs, firsts[1].logprobs, atol=llama_models.FLOAT16_CACHE.logprob)
    usual.close()
    low.close()


def test_it_is_chosen_where_the_usual_way_does_not_fit(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = tiny.stat().st_size
    free(monkeypatch, fits.BASE + 1.2 * size)
    engine = llama_models.load(tiny)
    assert not engine._model.low_memory
    assert engine.info.notes == ()
    engine.close()

    free(monkeypatch, fits.BASE)
    engine = llama_models.load(tiny)
    assert engine._model.low_memory
    assert engine.info.notes[-1] == (
        "tiny.gguf takes 0.0 GB and 0.4 GB are free, so its weights stay in the file (low memory): "
        "down to half the speed"
    )
    engine.close()


def test_asked_for_it_loads_a_file_larger_than_the_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = tiny.stat().st_size
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=size // 2, available=size // 2))
    with pytest.raises(OutOfMemory, match=r"this machine has 0\.0: use a smaller quantisation, or low memory"):
        llama_models.load(tiny)
    left = iter([size - 1])
    monkeypatch.setattr(fits, "available", lambda: next(left, 1 << 40))
    engine = llama_models.load(tiny, low_memory=True)
    assert "what does not fit is read from the disk again for every token" in engine.info.notes[-1]
    engine.close()


def test_a_context_with_no_room_to_spare_where_memory_is_short(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = llama_models.load(tiny)
    before = engine.forward([row(engine)], [1])[0].residuals
    engine._pool.close()
    model = engine._model
    exact = model.context_bytes(256, model.batch, 1)
    assert exact < model.context_bytes(1024, model.batch, 1)
    free(monkeypatch, exact)
    np.testing.assert_array_equal(engine.forward([row(engine)], [1])[0].residuals, before)
    assert cells(engine) == [256]
    engine._pool.close()
    free(monkeypatch, exact - 1)
    with pytest.raises(OutOfMemory, match="a cache of 256 tokens, and a pass over it, take about"):
        engine.forward([row(engine)], [1])
    engine.close()
