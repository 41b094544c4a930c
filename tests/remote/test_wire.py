"""Values of the contract as frames: what goes in comes out, and what is not a whole frame is noticed."""

from __future__ import annotations

import io
import json
import math
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from localprobe.engine import Info, LoadOptions, Output, Prompt, Row, Sampler, Step, Term, Watch, Weights
from localprobe.fake import FakeEngine
from localprobe.remote import wire


def frame(value: object) -> bytes:
    return b"".join(wire.pack(value))


def source(sent: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(sent))


def read(sent: bytes) -> Any:
    return wire.receive(source(sent))


def again(value: object) -> Any:
    return read(frame(value))


def same(a: object, b: object) -> bool:
    """Whether two values are equal, arrays by dtype, shape and bits, NaN included."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return a == b and type(a) is type(b)


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, io.BufferedReader]]:
    near, far = socket.socketpair()
    with near, far, wire.reader(far) as reader:
        yield near, reader


DELTA = np.linspace(-1, 1, 8, dtype=np.float32)
ROW = Row(
    ids=np.array([256, 97], np.int32),
    steering=(Term(2, DELTA), Term(3, DELTA, 1, 2)),
    spans=((0, 1), (0, 2)),
    targets=np.array([[0, 97]], np.int32),
    full=(0, 1),
)


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            ROW,
            Row(np.array([1], np.int32)),
            Prompt(np.arange(3, dtype=np.int32), (Term(0, DELTA),), Sampler(temperature=0.1 + 0.2), copies=4, keep=2),
            Watch(1, DELTA),
            Output(np.zeros((2, 3, 8), np.float32), np.zeros(0, np.float32), np.zeros((0, 9), np.float32)),
            Step(np.arange(4, dtype=np.int32), np.full(4, -np.inf, np.float32), np.full((4, 2), np.nan, np.float32)),
            FakeEngine().info,
            Weights("a", Path("/folder/with\udcff/bytes"), "gguf", "0f"),
            LoadOptions(device="cuda:1", quantise="4bit", threads=2),
            ("é\ud800\n", None, True, -1, 2**60, 1e-300, -math.inf, (), ((),)),
            {"array": "a", "": ("b",)},
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_they_arrive_as_they_were(self, value: object) -> None:
        assert same(again(value), value)

    @given(
        arrays.arrays(
            st.sampled_from(["<i4", "<i8", "<f4", "<f8", "|b1", ">f4"]), arrays.array_shapes(min_dims=0, min_side=0)
        )
    )
    def test_arrays_arrive_bit_for_bit(self, array: np.ndarray[Any, Any]) -> None:
        assert same(again(array), array)

    def test_arrays_may_be_views(self) -> None:
        array = np.arange(24, dtype=np.float32).reshape(4, 6)
        assert np.array_equal(again(array.T[::2]), array.T[::2])

    def test_arrays_belong_to_the_receiver(self) -> None:
        first, second = again((DELTA, DELTA))
        first[:] = 0
        assert np.array_equal(second, DELTA)

    def test_lists_arrive_as_tuples_and_numpy_numbers_as_numbers(self) -> None:
        assert again([1, [2.5]]) == (1, (2.5,))
        assert again((np.int64(3), np.float32(0.5), np.float64(0.1), np.bool_(True))) == (3, 0.5, 0.1, True)

    def test_an_info_is_as_long_as_it_needs_to_be(self) -> None:
        template = "{{ message }}" * 10_000
        info = Info("e", "1", "m", "llama", 1, 2, 3, 4, "cpu", "float32", "0f", chat_template=template)
        assert again(info) == info


class TestSizes:
    def test_a_direction_that_many_rows_carry_is_sent_once(self) -> None:
        delta = np.random.default_rng(0).normal(size=4096).astype(np.float32)
        rows = tuple(Row(np.array([n], np.int32), (Term(5, delta.copy()),)) for n in range(48))
        assert len(frame(rows)) < delta.nbytes + 48 * 120
        received = again(rows)
        assert all(same(sent, row) for sent, row in zip(rows, received, strict=True))
        assert all(row.steering[0].delta is received[0].steering[0].delta for row in received)

    @pytest.mark.parametrize("many", [tuple(range(1000)), tuple((n, n + 2) for n in range(1000))])
    def test_many_positions_or_spans_are_not_written_in_json(self, many: tuple[object, ...]) -> None:
        header = wire.pack(many)[0]
        assert len(header) < 100
        assert again(many) == many

    def test_other_long_tuples_are(self) -> None:
        for value in [tuple("word" for _ in range(50)), (1, *("a",) * 20), (*range(20), 0.5), ((1, 2), *((3,),) * 20)]:
            assert again(value) == value

    def test_large_arrays_cross_a_socket(self, sockets: tuple[socket.socket, io.BufferedReader]) -> None:
        near, far = sockets
        value = (np.arange(5_000_000, dtype=np.float32), "and", np.arange(3), np.ones((2000, 100)))
        sending = threading.Thread(target=wire.send, args=(near, value))
        sending.start()
        assert same(wire.receive(far), value)
        sending.join()

    def test_a_message_above_the_limit_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "ARRAYS_LIMIT", 100)
        assert len(again(np.zeros(25, np.float32))) == 25
        with pytest.raises(ValueError, match="make the batch smaller"):
            wire.pack(np.zeros(26, np.float32))


class TestRefusals:
    @pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), np.array([object()]), np.array(["text"]), range(3)])
    def test_only_values_of_the_contract_are_sent(self, value: object) -> None:
        with pytest.raises(TypeError, match="not part of the contract"):
            wire.pack((1, value))

    def test_the_end_between_two_frames_is_an_end(self) -> None:
        frames = source(frame(1) + frame(2))
        assert [wire.receive(frames), wire.receive(frames)] == [1, 2]
        with pytest.raises(EOFError):
            wire.receive(frames)

    def test_a_frame_torn_anywhere_is_noticed(self) -> None:
        whole = frame(ROW)
        for cut in range(1, len(whole)):
            with pytest.raises(wire.FrameError):
                read(whole[:cut])

    @pytest.mark.parametrize(
        ("tree", "arrays", "size"),
        [
            (["array", 0], [["<f4", [2]]], 9),
            (["array", 0], [["<f4", [-2]]], -8),
            (["array", 0], [["<f4", [-2]], ["<f4", [4]]], 8),
            (["array", 0], [["|O", [1]]], 8),
            (["array", 0], [["<f4,<f4", [1]]], 8),
            (["array", 0], [["nonsense", [1]]], 8),
            (["array", 1], [["<f4", [2]]], 8),
            (["Popen", "rm"], [], 0),
            (["Row"], [], 0),
            ([], [], 0),
            (["array", 0], [["<f4", [1 << 40, 1 << 40]]], 8),
        ],
    )
    def test_a_header_that_lies_is_refused(self, tree: object, arrays: object, size: int) -> None:
        header = json.dumps([tree, arrays]).encode()
        with pytest.raises(wire.FrameError):
            read(wire._PREFIX.pack(b"lpr1", len(header), max(size, 0)) + header + bytes(max(size, 0)))

    @pytest.mark.parametrize("prefix", [b"ggml_cuda_init: no", b"lpr1" + b"\xff" * 12, b"lpr1\x02\0\0\0" + b"\xff" * 8])
    def test_what_is_not_a_prefix_is_refused(self, prefix: bytes) -> None:
        with pytest.raises(wire.FrameError, match="not the prefix"):
            read(prefix + bytes(100))


STEP = Step(np.array([7, 9], np.int32), np.array([-0.5, -2], np.float32), np.array([[1], [np.nan]], np.float32))
ASKED = ("step", 3, np.array([0.25, 0.75]), np.array([-1, 7], np.int32))
STEPPED = ("done", (STEP, ("a", "\0\ud7ff"), ("a", '"\n')))


class TestSteps:
    """What crosses for every token has short frames of its own."""

    @pytest.mark.parametrize("value", [ASKED, STEPPED])
    def test_they_arrive_as_they_were(self, value: tuple[object, ...]) -> None:
        assert len(wire.pack(value)) == 1
        assert same(again(value), value)

    def test_their_arrays_can_be_written_to(self) -> None:
        step = again(STEPPED)[1][0]
        step.ids[0], step.scores[1] = 1, 2
        assert step.logprobs.tolist() == [-0.5, -2]

    @pytest.mark.parametrize(
        "value",
        [
            ("step", 3, np.array([0.25]), np.array([-1, 7], np.int32)),
            ("step", 3, np.array([0.25], np.float32), np.array([7], np.int32)),
            ("step", 3),
            ("done", (Step(STEP.ids, STEP.logprobs.astype(np.float64), STEP.scores), ("a", "b"), ("a", "b"))),
            ("done", STEP),
        ],
    )
    def test_others_go_as_anything_else(self, value: tuple[object, ...]) -> None:
        assert same(again(value), value)

    @pytest.mark.parametrize("value", [ASKED, STEPPED])
    def test_one_torn_anywhere_is_noticed(self, value: tuple[object, ...]) -> None:
        whole = frame(value)
        for end in range(1, len(whole)):
            with pytest.raises(wire.FrameError):
                read(whole[:end])

    @pytest.mark.parametrize(
        ("magic", "header", "size"),
        [
            (b"lpra", b"", 0),
            (b"lpra", bytes(8) + bytes([2]) + bytes(7), 12),
            (b"lprs", bytes([1]) + bytes(15) + b"[[]]", 8),
            (b"lprs", bytes([1]) + bytes(15) + b"[[],[]", 8),
        ],
    )
    def test_one_that_lies_is_refused(self, magic: bytes, header: bytes, size: int) -> None:
        with pytest.raises(wire.FrameError):
            read(struct.pack("<4sIQ", magic, len(header), size) + header + bytes(size))
