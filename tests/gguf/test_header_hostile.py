"""Torn, truncated and hostile files: one clear line, at once, in little memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf import read_header
from localprobe.gguf.reader import Reader

Q, I = "<Q", "<I"  # noqa: E741
HUGE = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def text(value: str) -> bytes:
    return struct.pack(Q, len(value)) + value.encode()


def pair(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack(I, kind) + value


def tensor(name: str, shape: tuple[int, ...], offset: int, kind: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def file(*, pairs: list[bytes] | None = None, tensors: list[bytes] | None = None, data: int = 0) -> bytes:
    """A GGUF of these parts, with `data` bytes of tensor data."""
    pairs = [pair("general.architecture", 8, text("llama"))] if pairs is None else pairs
    tensors = tensors or []
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])
    return head + bytes(-len(head) % 32) + bytes(data)


SOUND = file(
    pairs=[
        pair("general.architecture", 8, text("llama")),
        pair("general.alignment", 4, struct.pack(I, 32)),
        pair("a.number", 10, struct.pack(Q, 7)),
        pair("a.words", 9, struct.pack("<IQ", 8, 3) + text("one") + text("") + text("three")),
        pair("a.numbers", 9, struct.pack("<IQ3f", 6, 3, 1, 2, 3)),
        pair("a.flag", 7, b"\1"),
    ],
    tensors=[tensor("one", (8, 2), 0), tensor("two", (32,), 64, kind=2)],
    data=96,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_the_sound_file_is_read(path: Path) -> None:
    path.write_bytes(SOUND)
    header = read_header(path)
    assert header.metadata["a.words"] == ["one", "", "three"]
    assert header.tensors["two"].nbytes == 18  # Q4_0: one block
    assert header.tensors["two"].offset + 32 == len(SOUND)


BROKEN = {
    "empty": (b"", "not a GGUF file"),
    "html": (b"<!DOCTYPE html><html>", "not a GGUF file: it starts with b'<!DO'"),
    "old": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
    "big endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "too many pairs": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "claims 1,152,921,504,606,846,976 metadata pairs"),
    "too many tensors": (b"GGUF" + struct.pack("<IQQ", 3, 2**20, 0), "claims 1,048,576 tensors"),
    "pairs that are not there": (b"GGUF" + struct.pack("<IQQ", 3, 0, 60_000), "cut short.*metadata pairs"),
    "a long key": (file(pairs=[struct.pack(Q, 2**20) + bytes(64)]), "key of metadata pair 0 claims to be 1,048,576"),
    "a key of control characters": (file(pairs=[pair("a\n\x1b[2J", 7, b"\0")]), r"pair 0 is 'a\\n\\x1b"),
    "a tensor's name with a line break": (file(tensors=[tensor("a\n", (8,), 0)], data=32), r"tensor 0 is 'a\\n'"),
    "a key twice": (file(pairs=[pair("a", 7, b"\0")] * 2), "'a' comes twice"),
    "an unknown type": (file(pairs=[pair("a", 13, bytes(8))]), "a has the unknown type 13"),
    "nested arrays": (file(pairs=[pair("a", 9, struct.pack("<IQIQ", 9, 1, 4, 1) + bytes(4))]), "a nests arrays"),
    "a string of 2 ** 63": (file(pairs=[pair("a", 8, struct.pack(Q, 2**63))]), "a claims to be 9,223,372"),
    "an array of 2 ** 63": (file(pairs=[pair("a", 9, struct.pack("<IQ", 10, 2**63))]), "numbers in a"),
    "a vocabulary of 2 ** 40": (file(pairs=[pair("a", 9, struct.pack("<IQ", 8, 2**40))]), "strings in a"),
    "a word of 2 ** 62": (
        file(pairs=[pair("a", 9, struct.pack("<IQQ", 8, 1, 2**62))]),
        "cut short: it ends at byte .* inside string 0 of a",
    ),
    "alignment 3": (file(pairs=[pair("general.alignment", 4, struct.pack(I, 3))]), "alignment is 3, not a power"),
    "alignment text": (file(pairs=[pair("general.alignment", 8, text("x"))]), "alignment is 'x'"),
    "five dimensions": (file(tensors=[tensor("t", (1,) * 5, 0)]), "'t' has 5 dimensions"),
    "no dimension": (file(tensors=[tensor("t", (), 0)]), "'t' has 0 dimensions"),
    "a size of 0": (file(tensors=[tensor("t", (0, 4), 0)]), "'t' has the shape"),
    "a size of 2 ** 60": (file(tensors=[tensor("t", (2**60,), 0)]), "'t' has the shape"),
    "sizes that overflow": (file(tensors=[tensor("t", (2**40, 2**40), 0)]), "'t' claims"),
    "an offset of 2 ** 63": (file(tensors=[tensor("t", (8,), 2**63)], data=64), "'t' claims"),
    "half a block": (file(tensors=[tensor("t", (33,), 0, kind=2)], data=64), "impossible for Q4_0"),
    "an odd offset": (file(tensors=[tensor("t", (8,), 8)], data=64), "starts at 8, which is not a multiple of 32"),
    "a tensor twice": (file(tensors=[tensor("t", (8,), 0), tensor("t", (8,), 32)], data=64), "'t' comes twice"),
    "overlap": (file(tensors=[tensor("a", (16,), 0), tensor("b", (8,), 32)], data=64), "'a' and 'b' overlap"),
    "a long name": (file(tensors=[tensor("t" * 65, (8,), 0)], data=64), "name of tensor 0 claims to be 65"),
    "an unknown tensor type": (file(tensors=[tensor("t", (8,), 0, kind=999)], data=64), "type 999.*upgrade"),
    "no data": (file(tensors=[tensor("t", (8, 4), 0)], data=100), r"\(t\) ends at .*, 28 bytes are missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said(name: str, path: Path) -> None:
    data, message = BROKEN[name]
    path.write_bytes(data)
    with pytest.raises((CorruptFile, UnsupportedModel), match=message) as raised:
        read_header(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_cut_anywhere_says_so() -> None:
    for length in range(4, len(SOUND) - 14):  # the last tensor's padding may go
        with pytest.raises(CorruptFile, match="cut short"):
            Reader(Path("model.gguf"), io.BytesIO(SOUND[:length])).header()


class Counting(io.BytesIO):
    """Counts how often something is read of it."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def read_within_bounds(data: bytes) -> None:
    """Whatever the file holds: read, or refused by name, in no more steps than it has bytes, and in 100 MB."""
    file = Counting(data)
    tracemalloc.start()
    try:
        Reader(Path("model.gguf"), file).header()
    except (CorruptFile, UnsupportedModel):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert file.reads <= len(data) + 1
    assert peak < 100 << 20


fuzzed = settings(max_examples=400, deadline=None, print_blob=True)


@fuzzed
@given(
    edits=st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=4)), max_size=6),
    length=st.integers(0, len(SOUND)) | st.just(len(SOUND)),
)
def test_random_bytes(edits: list[tuple[int, bytes]], length: int) -> None:
    data = bytearray(SOUND)
    for at, new in edits:
        data[at : at + len(new)] = new
    read_within_bounds(bytes(data[:length]))


@fuzzed
@given(edits=st.lists(st.tuples(st.integers(4, len(SOUND) - 8), st.sampled_from(HUGE)), min_size=1, max_size=3))
def test_absurd_numbers(edits: list[tuple[int, int]]) -> None:
    data = bytearray(SOUND)
    for at, value in edits:
        struct.pack_into(Q, data, at, value)
    read_within_bounds(bytes(data))


@fuzzed
@given(data=st.binary(max_size=400))
def test_rubbish_after_a_good_start(data: bytes) -> None:
    read_within_bounds(SOUND[:24] + data)
