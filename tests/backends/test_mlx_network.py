"""What the network learns of a model, and that it computes no more than is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

import mlx.core as mx
import mlx.nn as nn

from localprobe.engine import FloatArray, LoadOptions, Prompt, Row, Sampler, Weights
from localprobe.errors import UnsupportedModel
from localprobe.testing.tiny import tiny_folder
from localprobe_mlx import backend
from localprobe_mlx.blocks import Climb
from localprobe_mlx.engine import MlxEngine
from localprobe_mlx.network import Network

pytestmark = pytest.mark.mlx

Load = Callable[[str], MlxEngine]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    loaded: dict[str, MlxEngine] = {}

    def once(architecture: str) -> MlxEngine:
        if architecture not in loaded:
            folder = tiny_folder(architecture, tmp_path_factory.mktemp(architecture))
            engine = backend.load(Weights(architecture, folder, "folder", "tiny"), LoadOptions())
            assert isinstance(engine, MlxEngine)
            loaded[architecture] = engine
        return loaded[architecture]

    yield once
    for engine in loaded.values():
        engine.close()


def network(engine: MlxEngine) -> Network:
    assert engine._network is not None
    return engine._network


def text(length: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(5, 300, size=length).astype(np.int32)


@pytest.mark.parametrize(
    ("architecture", "reach"),
    [("mistral", 4 * 7), ("gemma2", None), ("llama", None)],  # four layers with a window of eight; None sees all
)
def test_windows_reach_as_far_back_as_the_config_says(load: Load, architecture: str, reach: int | None) -> None:
    """mlx-lm leaves out the sliding windows of Mistral, Phi-3 and Gemma 2."""
    ids = text(60)
    changed = ids.copy()
    changed[0] += 1
    last = [network(load(architecture)).layers - 1]
    before, after = (load(architecture).forward([Row(row)], last)[0].residuals[0] for row in (ids, changed))
    moved = np.flatnonzero((before != after).any(axis=-1))
    assert moved.max() == (59 if reach is None else reach)


def test_only_every_other_layer_of_gemma2_has_a_window(load: Load) -> None:
    ids = text(40)
    changed = ids.copy()
    changed[0] += 1
    before, after = (load("gemma2").forward([Row(row)], [0, 1])[0].residuals for row in (ids, changed))
    first, second = ((b != a).any(axis=-1) for b, a in zip(before, after, strict=True))
    assert np.flatnonzero(first).max() == 7
    assert np.flatnonzero(second).max() == 39


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "gemma3_text", "gpt2"])
def test_all_our_models_decode_rows_of_different_length_together(load: Load, architecture: str) -> None:
    assert network(load(architecture)).batches


def test_a_model_that_cannot_batch_runs_its_rows_one_by_one(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt(text(n, n), sampler=Sampler(0)) for n in (9, 3, 6)]

    def decode() -> FloatArray:
        stream = load("gemma3_text").open(prompts, room=12)
        logprobs = np.stack([stream.step(np.zeros(3)).logprobs for _ in range(12)])
        stream.close()
        return logprobs

    together = decode()
    monkeypatch.setattr(network(load("gemma3_text")), "_ragged_axes", None)
    np.testing.assert_allclose(decode(), together, atol=1e-4)


def test_nothing_above_the_deepest_layer_is_run(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    plain = Climb.at
    monkeypatch.setattr(Climb, "at", lambda self, layer, block: ran.append(layer) or plain(self, layer, block))
    load("llama").forward([Row(text(5), spans=((0, 5),))], [1, 0])
    assert ran == [0, 1]


def test_the_head_runs_on_the_positions_asked_for_only(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    plain = Network.logits
    monkeypatch.setattr(Network, "logits", lambda self, hidden: shapes.append(hidden.shape) or plain(self, hidden))
    rows = [Row(text(9), full=(8,), targets=np.array([[8, 1], [8, 2], [0, 3]], np.int32)), Row(text(7), full=(6,))]
    load("llama").forward(rows)
    assert shapes == [(3, 64)]


def test_a_large_head_is_run_in_parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(text(9), full=tuple(range(9)), targets=np.array([[4, 1], [8, 2]], np.int32))
    (whole,) = load("llama").forward([row])
    monkeypatch.setattr("localprobe_mlx.forward._LOGITS", 2 * network(load("llama")).vocabulary)
    (parts,) = load("llama").forward([row])
    np.testing.assert_allclose(parts.full, whole.full, atol=1e-4)
    np.testing.assert_allclose(parts.targets, whole.targets, atol=1e-4)


def test_a_long_prefill_is_run_in_parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt(text(n, n), sampler=Sampler(0)) for n in (40, 3, 17)]

    def decode() -> FloatArray:
        stream = load("mistral").open(prompts, room=6)
        logprobs = np.stack([stream.step(np.zeros(3)).logprobs for _ in range(6)])
        stream.close()
        return logprobs

    at_once = decode()
    monkeypatch.setattr("localprobe_mlx.prefill._POSITIONS", 15)  # five positions a row
    np.testing.assert_allclose(decode(), at_once, atol=1e-4)


class Odd(nn.Module):  # type: ignore[misc, name-defined]
    """Two blocks, called as told."""

    def __init__(self, order: tuple[int, ...] = (0, 1), tail: float = 0.0) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
        self.embed, self.head = nn.Embedding(8, 4), nn.Linear(4, 8)
        self._order, self._tail = order, tail

    def __call__(self, ids: Any, cache: Any = None) -> Any:
        hidden = start = self.embed(ids)
        for number in self._order:
            hidden = self.layers[number](hidden)
        return self.head(hidden + self._tail * start if self._tail else hidden)


def test_a_plain_stack_is_accepted_whatever_it_is_called() -> None:
    found = Network(Odd())
    assert (found.layers, found.width, found.vocabulary) == (2, 4, 8)


@pytest.mark.parametrize("order", [(1, 0), (0, 1, 1), (0,)])
def test_blocks_that_do_not_run_once_and_in_order_are_refused(order: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedModel, match="not one stack"):
        Network(Odd(order))


def test_a_model_that_goes_on_after_its_last_block_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="more than a norm and a head"):
        Network(Odd(tail=100.0))


def test_a_recurrent_model_is_captured_and_not_decoded() -> None:
    from mlx_lm.models import mamba

    arguments = mamba.ModelArgs(
        model_type="mamba",
        vocab_size=8,
        hidden_size=4,
        intermediate_size=8,
        state_size=2,
        num_hidden_layers=2,
        conv_kernel=2,
        use_bias=False,
        use_conv_bias=False,
        time_step_rank=1,
    )
    found = Network(mamba.Model(arguments))
    assert found.no_decoding == "keeps a recurrent state (mixer) that this engine cannot resume row by row"
    ids = mx.array([[1, 2, 3], [4, 5, 6]])
    together = found.climb(ids, [0, 0], found.no_caches(), deepest=1)[1]
    alone = found.climb(ids[1:, :2], [0], found.no_caches(), deepest=1)[1]
    np.testing.assert_allclose(np.array(together[1:, :2]), np.array(alone), atol=1e-6)
