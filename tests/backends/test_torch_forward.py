"""`forward` against transformers run directly, and what it leaves behind: nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from localprobe.engine import Row, Term
from localprobe.errors import OutOfMemory, UsageError
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import head
from localprobe_torch.engine import TorchEngine
from tests.backends.torch_models import EACH_ARCHITECTURE, load, own_model, own_view, random_ids


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    engine = load(tiny_folder("llama", tmp_path_factory.mktemp("llama")))
    yield engine
    engine.close()


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_a_batch_gives_what_transformers_gives_for_each_text_alone(architecture: str, tmp_path: Path) -> None:
    folder = tiny_folder(architecture, tmp_path)
    engine, model = load(folder), own_model(folder)
    rows = [Row(ids, full=tuple(range(len(ids)))) for ids in random_ids(23, 9, 31)]  # sliding windows are of 8
    outputs = engine.forward(rows, range(engine.info.layers - 1))
    for row, output in zip(rows, outputs, strict=True):
        hidden, logprobs = own_view(model, row.ids)
        np.testing.assert_allclose(output.residuals, hidden, atol=1e-4 * np.abs(hidden).max())
        np.testing.assert_allclose(output.full, logprobs, atol=1e-4)
    engine.close()


def test_the_last_residual_is_before_the_final_norm(engine: TorchEngine) -> None:
    last = engine.info.layers - 1
    seen = []
    decoder = engine._network.head.decoder
    handle = decoder.norm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].clone()))
    (output,) = engine.forward([Row(random_ids(6)[0], full=(0,))], [last])
    handle.remove()
    np.testing.assert_array_equal(output.residuals[0], seen[0][0].numpy())


def test_a_pass_without_logits_runs_no_block_above_the_deepest_layer(engine: TorchEngine) -> None:
    ran: list[int] = []
    blocks = engine._network.head.decoder.layers
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer)) for layer, block in enumerate(blocks)
    ]
    engine.forward([Row(random_ids(5)[0])], [1, 0])
    stopped = ran.copy()
    ran.clear()
    engine.forward([Row(random_ids(5)[0], full=(4,))], [1, 0])
    for handle in handles:
        handle.remove()
    assert stopped == [0, 1]
    assert ran == [0, 1, 2, 3]


def test_a_stopped_pass_leaves_no_plan_behind(engine: TorchEngine) -> None:
    row, delta = Row(random_ids(5)[0], full=(4,)), np.ones(64, np.float32)
    before = engine.forward([row], [3])[0]
    engine.forward([Row(row.ids, (Term(0, delta),))], [0])
    after = engine.forward([row], [3])[0]
    np.testing.assert_array_equal(before.residuals, after.residuals)
    np.testing.assert_array_equal(before.full, after.full)


def test_layers_may_be_named_twice_and_in_any_order(engine: TorchEngine) -> None:
    row = Row(random_ids(5)[0], spans=((1, 3),))
    (output,) = engine.forward([row], [2, 0, 2])
    (each,) = engine.forward([row], [0, 2])
    np.testing.assert_array_equal(output.residuals, each.residuals[[1, 0, 1]])


def test_no_rows_and_nothing_wanted_are_fine(engine: TorchEngine) -> None:
    assert engine.forward([], [0]) == []
    (output,) = engine.forward([Row(random_ids(3)[0])])
    assert output.residuals.shape == (0, 3, 64)
    assert output.full.shape == (0, 385)


def test_logits_are_made_a_part_at_a_time(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = random_ids(9, 5)
    rows = [
        Row(ids[0], targets=np.array([[0, 7], [8, 3], [0, 9]], np.int32), full=(8, 0, 0)),
        Row(ids[1], targets=np.array([[4, 1]], np.int32), full=(2,)),
    ]
    whole = engine.forward(rows)
    monkeypatch.setattr(head, "_CHUNK", 2 * 385)  # two positions a part
    for expected, output in zip(whole, engine.forward(rows), strict=True):
        np.testing.assert_allclose(output.full, expected.full, atol=1e-4)
        np.testing.assert_allclose(output.targets, expected.targets, atol=1e-4)
    np.testing.assert_array_equal(whole[0].full[1], whole[0].full[2])
    np.testing.assert_allclose(whole[0].targets[2], whole[0].full[1, 9], atol=1e-5)


def test_a_row_longer_than_the_context_is_refused(engine: TorchEngine) -> None:
    with pytest.raises(UsageError, match="context of 256"):
        engine.forward([Row(np.zeros(257, np.int32))], [0])
    assert engine.forward([Row(np.zeros(256, np.int32))], [0])[0].residuals.shape == (1, 256, 64)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_is_one_line_and_the_engine_lives_on(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tensors = []

    def fail(*_: Any) -> None:
        large = torch.zeros(1000)
        tensors.append(weakref.ref(large))
        raise error

    row = Row(random_ids(5)[0], full=(4,))
    before = engine.forward([row], [1])[0]
    handle = engine._network.head.decoder.layers[2].register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemory, match=r"^the batch does not fit into memory") as caught:
        engine.forward([row], [1])
    handle.remove()
    assert "\n" not in str(caught.value)
    assert tensors[0]() is None, "the error must not keep in memory what did not fit"
    np.testing.assert_array_equal(engine.forward([row], [1])[0].full, before.full)


def test_another_error_inside_of_a_pass_stays_what_it_is(engine: TorchEngine) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    handle = engine._network.head.decoder.layers[2].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="a bug"):
        engine.forward([Row(random_ids(5)[0])], [3])
    handle.remove()
