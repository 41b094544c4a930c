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
from localprobe.errors import OutOfMemory, UsageError
from localprobe.generation.decode import Request, generate
from localprobe.generation.events import Score, Token
from localprobe.gguf import to_folder
from localprobe.testing.tiny import tiny_gguf
from localprobe.testing.tiny.configs import HEAD

pytest.importorskip("llama_cpp")

from localprobe_llama.engine import LlamaEngine
from tests.backends import rope_checks
from tests.backends.llama_models import load, row

SHORT, CONTEXT = 256, 512
LONG_FACTORS = 7


def write(path: Path, original: int = SHORT) -> Path:
    """A Phi-3 as llama.cpp's converter writes it: with tensors of factors, and no name for the kind of scaling."""
    from localprobe.testing.tiny import gguf as maker

    plain = maker._write_config

    def with_factors(writer: gguf.GGUFWriter, model: dict[str, Any]) -> None:
        plain(writer, model)
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(1.2)
        writer.add_tensor("rope_factors_short.weight", np.ones(HEAD // 2, np.float32))
        writer.add_tensor("rope_factors_long.weight", np.full(HEAD // 2, LONG_FACTORS, np.float32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maker, "CONTEXT", CONTEXT)
        patch.setattr(maker, "_write_config", with_factors)
        return tiny_gguf("phi3", path)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    engine = load(write(tmp_path_factory.mktemp("phi3") / "long.gguf"))
    yield engine
    engine.close()


def ids(engine: LlamaEngine, length: int) -> IntArray:
    return np.resize(row(engine).ids, length)


def test_factors_are_found_whatever_the_metadata_call_them(engine: LlamaEngine) -> None:
    assert engine._model.text("phi3.rope.scaling.type") is None
    assert engine.info.rope_length == SHORT
    assert engine.info.version.endswith("long RoPE by row")


def test_a_short_row_is_computed_as_a_short_one_whatever_ran_before(engine: LlamaEngine) -> None:
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


def test_rows_on_both_sides_are_as_if_alone_and_as_in_transformers(engine: LlamaEngine, tmp_path: Path) -> None:
    """The GGUF of the same weights, and the folder that it is converted to."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = to_folder(write(tmp_path / "long.gguf"), "f", tmp_path / "folder")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rows = [Row(ids(engine, length)) for length in (30, SHORT + 1, SHORT - 40, 300)]
    together = engine.forward(rows, [1, 2])
    for one, output in zip(rows, together, strict=True):
        with torch.inference_mode():
            states = model(torch.from_numpy(one.ids.astype(np.int64))[None], output_hidden_states=True).hidden_states
        expected = torch.cat(states[2:4]).numpy()
        rope_checks.near(output.residuals, expected, 5e-3)
        rope_checks.near(engine.forward([one], [1, 2])[0].residuals, expected, 5e-3)


def test_an_answer_that_outgrows_the_short_factors_is_scored_as_a_pass_over_the_text(engine: LlamaEngine) -> None:
    watch = [Watch(2, np.eye(engine.info.width, dtype=np.float32)[0])]
    request = Request(ids(engine, SHORT - 3), sampler=Sampler(0), tokens=8)
    events = list(generate(engine, [request, request], watch))
    answer = [event.id for event in events if isinstance(event, Token) and event.row == 1]
    scores = [event.values[0] for event in events if isinstance(event, Score) and event.row == 1]
    assert len(answer) == 8
    whole = np.array([*request.ids, *answer], np.int32)
    for stop, places in ((SHORT, slice(0, 3)), (len(whole), slice(3, 8))):
        captured = engine.forward([Row(whole[:stop])], [2])[0].residuals[0, SHORT - 3 :]  # (answer, width)
        size = np.linalg.norm(captured, axis=-1).max()
        np.testing.assert_allclose(scores[places], captured[places, 0], rtol=0, atol=5e-3 * size)


def test_a_chat_that_outgrows_the_short_factors_is_prefilled_again(engine: LlamaEngine) -> None:
    watch = [Watch(2, np.eye(engine.info.width, dtype=np.float32)[0])]
    old = engine.open([Prompt(ids(engine, 160), sampler=Sampler(0))], room=20, watch=watch)
    text = ids(engine, SHORT + 4)
    stream = engine.open([Prompt(text, sampler=Sampler(0), keep=150)], room=60, watch=watch, reuse=old)
    fresh = engine.open([Prompt(text, sampler=Sampler(0))], room=60, watch=watch)
    assert stream.prompt_scores[0].shape == (SHORT + 4 - 150, 1)
    np.testing.assert_array_equal(stream.prompt_scores[0], fresh.prompt_scores[0][150:])
    for _ in range(3):
        assert stream.step(np.array([0.5])).logprobs == fresh.step(np.array([0.5])).logprobs
    stream.close()
    fresh.close()


def test_a_stream_stays_on_one_side(engine: LlamaEngine) -> None:
    stream = engine.open([Prompt(ids(engine, SHORT), sampler=Sampler(0))], room=60)
    stream.step(np.array([0.5]))
    with pytest.raises(UsageError, match=f"row 0 holds {SHORT} tokens, and a longer one is rotated by other factors"):
        stream.step(np.array([0.5]))
    stream.close()
    with pytest.raises(UsageError, match=f"more than {SHORT} tokens by other factors"):
        engine.open([Prompt(ids(engine, SHORT)), Prompt(ids(engine, SHORT + 1))], room=9)


def test_lengths_that_llama_cpp_cannot_compute_are_refused(tmp_path: Path) -> None:
    """A cache has a multiple of 256 cells, so no cache holds 300 tokens and is a short one."""
    engine = load(write(tmp_path / "odd.gguf", original=300))
    with pytest.raises(UsageError, match=r"rows of 257 to 300 tokens with the RoPE factors for longer ones"):
        engine.forward([Row(ids(engine, 280))], [3])
    engine.forward([Row(ids(engine, 256)), Row(ids(engine, 301))], [3])
    engine.close()
