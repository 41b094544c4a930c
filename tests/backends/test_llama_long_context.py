"""Models that rotate short and long rows by other factors (Phi-3 with a long context).

llama.cpp chooses by the size of the cache, so a batch of many short rows would quietly be computed as long ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from localprobe.engine import IntArray, Prompt, Row, Sampler, Watch
from localprobe.errors import OutOfMemory
from localprobe.testing.tiny import tiny_gguf
from localprobe.testing.tiny.configs import HEAD

pytest.importorskip("llama_cpp")

from localprobe_llama.engine import LlamaEngine
from tests.backends.llama_models import load, row

SHORT = 256


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    from localprobe.testing.tiny import gguf as maker

    plain = maker._write_config

    def with_factors(writer: gguf.GGUFWriter, model: dict[str, Any]) -> None:
        plain(writer, model)
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(SHORT)
        writer.add_rope_scaling_attn_factors(1.0)
        writer.add_tensor("rope_factors_short.weight", np.ones(HEAD // 2, np.float32))
        writer.add_tensor("rope_factors_long.weight", np.full(HEAD // 2, 7, np.float32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maker, "_write_config", with_factors)
        path: Path = tiny_gguf("phi3", tmp_path_factory.mktemp("phi3") / "long.gguf")
    engine = load(path)
    yield engine
    engine.close()


def ids(engine: LlamaEngine, length: int) -> IntArray:
    return np.resize(row(engine).ids, length)


def test_a_short_row_is_computed_as_a_short_one_whatever_ran_before(engine: LlamaEngine) -> None:
    assert engine._model.short_context == SHORT
    one = Row(ids(engine, 30))
    short = engine.forward([one], [3])[0].residuals
    long = engine.forward([Row(ids(engine, SHORT + 1))], [3])[0].residuals[:, :30]
    assert np.abs(long - short).max() > 0.1  # the factors matter
    np.testing.assert_array_equal(engine.forward([one], [3])[0].residuals, short)
    stream = engine.open([Prompt(ids(engine, SHORT - 10))], room=20)
    np.testing.assert_array_equal(engine.forward([one], [3])[0].residuals, short)
    stream.close()
    np.testing.assert_array_equal(engine.forward([one], [3])[0].residuals, short)


def test_short_rows_that_together_make_a_long_cache_are_refused_as_too_many(engine: LlamaEngine) -> None:
    rows = [Row(ids(engine, 60))] * 5
    with pytest.raises(OutOfMemory, match=r"past 256, llama\.cpp computes this model as a long-context one; use fewer"):
        engine.forward(rows, [3])
    assert len(engine.forward(rows[:4], [3])) == 4
    with pytest.raises(OutOfMemory, match="use fewer rows"):
        engine.open([Prompt(ids(engine, 30), copies=3)], room=80)
    engine.open([Prompt(ids(engine, 30), copies=2)], room=80).close()


def test_a_chat_that_outgrows_the_short_factors_is_prefilled_again(engine: LlamaEngine) -> None:
    watch = [Watch(2, np.eye(engine.info.width, dtype=np.float32)[0])]
    old = engine.open([Prompt(ids(engine, 160), sampler=Sampler(0))], room=20, watch=watch)
    text = ids(engine, 200)
    stream = engine.open([Prompt(text, sampler=Sampler(0), keep=150)], room=60, watch=watch, reuse=old)
    fresh = engine.open([Prompt(text, sampler=Sampler(0))], room=60, watch=watch)
    assert stream.prompt_scores[0].shape == (50, 1)
    np.testing.assert_array_equal(stream.prompt_scores[0], fresh.prompt_scores[0][150:])
    for _ in range(3):
        assert stream.step(np.array([0.5])).logprobs == fresh.step(np.array([0.5])).logprobs
    stream.close()
    fresh.close()
