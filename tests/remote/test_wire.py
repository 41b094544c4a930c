"""Values of the contract as frames: what goes in comes out, and what is not a whole frame is noticed."""

from __future__ import annotations

import io
import math
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from localprobe.engine import Info, LoadOptions, Output, Prompt, Row, Sampler, Step, Term, Watch, Weights
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine
from localprobe.remote import wire
from localprobe.remote.session import ANSWERS, QUESTIONS

Array = NDArray[Any]


def frame(value: object, **options: Any) -> bytes:
    return b"".join(wire.pack("value", value, **options))


def reader(sent: bytes, kind: Any = Row) -> wire.FrameReader:
    return wire.FrameReader(io.BufferedReader(io.BytesIO(sent)), {"value": kind})


def read(sent: bytes, kind: Any = Row) -> Any:
    name, value = reader(sent, kind).receive()
    assert name == "value"
    return value


def again(value: object, kind: Any = None) -> Any:
    return read(frame(value), kind or type(value))


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
    with near, far, wire.buffered(far) as source:
        yield near, source


DELTA = np.linspace(-1, 1, 8, dtype=np.float32)
ROW = Row(
    ids=np.array([256, 97], np.int32),
    steering=(Term(2, DELTA), Term(3, DELTA, 1, 2)),
    spans=((0, 1), (0, 2)),
    targets=np.array([[0, 97]], np.int32),
    full=(0, 1),
)
STEP = Step(np.array([7, 9], np.int32), np.array([-0.5, -2], np.float32), np.array([[1], [np.nan]], np.float32))


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
            STEP,
            FakeEngine().info,
            Weights("a", Path("/folder/with\udcff/bytes"), "gguf", "0f"),
            LoadOptions(device="cuda:1", quantise="4bit", threads=2),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_they_arrive_as_they_were(self, value: object) -> None:
        assert same(again(value), value)

    def test_plain_ones_too(self) -> None:
        value = ("é\0\n", None, True, -1, 2**60, 1e-300, -math.inf, ())
        kind = tuple[str, None, bool, int, int, float, float, tuple[int, ...]]
        assert same(again(value, kind), value)

    @given(
        arrays.arrays(
            st.sampled_from(["<i4", "<i8", "<f4", "<f8", "|b1", ">f4"]), arrays.array_shapes(min_dims=0, min_side=0)
        )
    )
    def test_arrays_arrive_bit_for_bit(self, array: np.ndarray[Any, Any]) -> None:
        assert same(again(array, Array), array)

    def test_arrays_may_be_views(self) -> None:
        array = np.arange(24, dtype=np.float32).reshape(4, 6)
        assert np.array_equal(again(array.T[::2], Array), array.T[::2])

    def test_arrays_belong_to_the_receiver(self) -> None:
        first, second = again((DELTA, DELTA), tuple[Array, Array])
        first[:] = 0
        assert np.array_equal(second, DELTA)

    def test_numpy_numbers_arrive_as_numbers(self) -> None:
        sent = (np.int64(3), np.float32(0.5), np.float64(0.1), np.bool_(True))
        assert again(sent, tuple[int, float, float, bool]) == (3, 0.5, 0.1, True)

    def test_an_info_is_as_long_as_it_needs_to_be(self) -> None:
        template = "{{ message }}" * 10_000
        info = Info("e", "1", "m", "llama", 1, 2, 3, 4, "cpu", "float32", "0f", chat_template=template)
        assert again(info) == info

    def test_what_crosses_for_every_token(self) -> None:
        asked = (3, np.array([0.25, 0.75]), np.array([-1, 7], np.int32))
        assert same(again(asked, QUESTIONS["step"]), asked)
        answered = (STEP, ("a", "\0\ud7ff"), ("a", '"\n'))
        assert same(again(answered, ANSWERS["step"]), answered)


class TestSizes:
    def test_a_direction_that_many_rows_carry_is_sent_once(self) -> None:
        delta = np.random.default_rng(0).normal(size=4096).astype(np.float32)
        rows = tuple(Row(np.array([n], np.int32), (Term(5, delta.copy()),)) for n in range(48))
        sent = frame(rows, share=True)
        assert len(sent) < delta.nbytes + 48 * 120
        received = read(sent, tuple[Row, ...])
        assert all(same(sent, row) for sent, row in zip(rows, received, strict=True))
        assert all(row.steering[0].delta is received[0].steering[0].delta for row in received)

    def test_arrays_that_follow_one_that_was_sent_once_are_not_mixed_up(self) -> None:
        vectors = tuple(np.full(100, number, np.float32) for number in (1, 1, 2, 1, 2, 3))
        assert same(read(frame(vectors, share=True), tuple[Array, ...]), vectors)

    def test_large_arrays_cross_a_socket(self, sockets: tuple[socket.socket, io.BufferedReader]) -> None:
        near, source = sockets
        value = (np.arange(5_000_000, dtype=np.float32), "and", np.arange(3), np.ones((2000, 100)))
        sending = threading.Thread(target=wire.transmit, args=(near, wire.pack("value", value)))
        sending.start()
        received = wire.FrameReader(source, {"value": tuple[Array, str, Array, Array]}).receive()
        assert same(received, ("value", value))
        sending.join()

    def test_a_message_above_the_limit_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(wire, "ARRAYS_LIMIT", 100)
        assert len(again(np.zeros(25, np.float32), Array)) == 25
        with pytest.raises(UsageError, match="make the batch smaller"):
            wire.pack("value", np.zeros(26, np.float32))


class TestRefusals:
    @pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["text"]), range(3), 1j])
    def test_only_values_of_the_contract_are_sent(self, value: object) -> None:
        with pytest.raises(TypeError, match="not part of the contract"):
            wire.pack("value", (1, value))

    def test_text_that_is_not_unicode_is_one_line(self) -> None:
        with pytest.raises(UsageError, match=r"open was given text that is not Unicode: 'half \\ud800'"):
            wire.pack("open", "half \ud800")

    def test_the_end_between_two_frames_is_an_end(self) -> None:
        frames = reader(frame(1) + frame(2), int)
        assert [frames.receive(), frames.receive()] == [("value", 1), ("value", 2)]
        with pytest.raises(EOFError):
            frames.receive()

    def test_a_frame_torn_anywhere_is_noticed(self) -> None:
        whole = frame(ROW)
        for cut in range(1, len(whole)):
            with pytest.raises(wire.FrameError):
                read(whole[:cut])

    def test_a_value_of_another_type_is_refused_and_the_next_frame_is_read(self) -> None:
        wrong = frame({"ids": np.arange(100_000), "full": "none", "targets": DELTA})
        frames = reader(wrong + frame(ROW))
        with pytest.raises(wire.WrongType, match=r"value: Expected `array`, got `str` - at `\$.full`"):
            frames.receive()
        assert same(frames.receive(), ("value", ROW))

    @pytest.mark.parametrize(
        ("message", "size"),
        [
            (["<f4", [2]], 9),  # one byte too many
            (["<f4", [2]], 7),
            (["<f4", [-2]], 8),
            (["<f4", [-2, -1]], 8),
            (["|O", [1]], 8),
            (["<f4,<f4", [1]], 8),
            (["nonsense", [1]], 8),
            (["<f4", [1 << 40, 1 << 40]], 8),
            (["<f4", "22"], 8),
            (["<f4"], 4),
            (0, 0),  # an array that was not sent
            ({}, 0),
            ("Popen", 0),
        ],
    )
    def test_a_message_that_lies_is_refused(self, message: object, size: int) -> None:
        packed = msgspec.msgpack.encode(message)
        sent = struct.pack("<4s8sIQ", b"lpr2", b"value", len(packed), size) + packed + bytes(size)
        with pytest.raises((wire.FrameError, wire.WrongType)):
            read(sent, Array)

    @pytest.mark.parametrize("packed", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x01\x01", b"\x91" * 100_000])
    def test_a_message_that_is_not_messagepack_is_refused(self, packed: bytes) -> None:
        sent = struct.pack("<4s8sIQ", b"lpr2", b"value", len(packed), 0) + packed
        with pytest.raises((wire.FrameError, wire.WrongType)):
            read(sent, Any)

    @pytest.mark.parametrize(
        "prefix",
        [
            b"ggml_cuda_init: no CUDA, ...",
            struct.pack("<4s8sIQ", b"lpr2", b"other", 1, 0),
            struct.pack("<4s8sIQ", b"lpr1", b"value", 1, 0),
            struct.pack("<4s8sIQ", b"lpr2", b"value", wire.MESSAGE_LIMIT + 1, 0),
            struct.pack("<4s8sIQ", b"lpr2", b"value", 1, wire.ARRAYS_LIMIT + 1),
        ],
    )
    def test_what_is_not_a_prefix_is_refused(self, prefix: bytes) -> None:
        with pytest.raises(wire.FrameError, match="not the prefix"):
            read(prefix + bytes(100))

    @given(st.binary(max_size=200))
    def test_bytes_of_any_kind_are_a_value_or_an_error_of_the_wire(self, packed: bytes) -> None:
        sent = struct.pack("<4s8sIQ", b"lpr2", b"value", len(packed), 8) + packed + os.urandom(8)
        for kind in (Row, Info, QUESTIONS["open"], ANSWERS["step"]):
            with pytest.raises((wire.FrameError, wire.WrongType)):
                read(sent, kind)
