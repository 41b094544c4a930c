"""Mutations of safetensors, npz, GGUF and MessagePack that keep their form."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st

from tests.fuzz.documents import ODD, at, odd_texts, places
from tests.fuzz.mutations import NUMBERS, Input

_SHAPES = ("()", "(0,)", "(-1,)", "(4,)", "(8,)", "(1, 4)", "(2, 2)", "(10**12,)", "(4.0,)", "('4',)", "4", "(" * 300)
_SHAPES += ("(1000000000000,)", "(600000000,)", "(4294967296, 4294967296)", "(True,)", "[4]", "(4,", "None")
_DESCRS = (
    "'|O'",
    "'<f8'",
    "'>f4'",
    "'<U9'",
    "'<U1000000000'",
    "'|V400'",
    "'<c8'",
    "'|b1'",
    "'<i2'",
    "'x'",
    "[('a', '<f4')]",
)
_DESCRS += ("'<f4', 'x': 1", "None", "('<f4', (2,))", "'<M8[s]'", "'O" + "\\n'", "[" * 400)


def odd_safetensors(sources: Sequence[bytes]) -> st.SearchStrategy[Input]:
    """Files whose header has an odd value, with the length that the header now has."""
    parts = []
    for source in sources:
        length = int.from_bytes(source[:8], "little")
        parts.append((json.loads(source[8 : 8 + length]), source[8 + length :]))

    def build(text: str, data: bytes) -> Input:
        return Input(len(text.encode()).to_bytes(8, "little") + text.encode() + data)

    return st.one_of([st.builds(build, odd_texts([header]), st.just(data)) for header, data in parts])


def odd_npz(metadata: dict[str, Any], arrays: dict[str, np.ndarray[Any, Any]]) -> st.SearchStrategy[Input]:
    """Zip files of these arrays and metadata, with an odd array header, size, name, compression or metadata."""
    methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    heads = st.none() | st.tuples(
        st.sampled_from([*arrays, "localprobe"]), st.sampled_from(_SHAPES), st.sampled_from(_DESCRS)
    )
    sizes = st.none() | st.tuples(
        st.sampled_from([*arrays, "localprobe"]), st.sampled_from([0, 1, 10**6, 2_400_000_000, 2**32 - 1])
    )
    texts = st.just(json.dumps(metadata)) | odd_texts([metadata])

    def build(text: str, head: Any, which: int, size: Any, method: int, extra: bool) -> Input:
        members = {name: _npy(array) for name, array in arrays.items()}
        members["localprobe"] = _npy(np.array(text))
        if head:
            name, shape, descr = head
            members[name] = _headed(members[name], shape if which & 1 else None, descr if which & 2 else None)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in members.items():
                archive.writestr(f"{name}.npy", data)
            if extra:
                archive.writestr("direction.1.npy", members["localprobe"])
            if size:
                archive.getinfo(f"{size[0]}.npy").file_size = size[1]
        return Input(file.getvalue())

    return st.builds(build, texts, heads, st.integers(1, 3), sizes, methods, st.booleans())


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _headed(data: bytes, shape: str | None, descr: str | None) -> bytes:
    """An npy file whose header has another shape or dtype."""
    length = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + length].decode("latin-1")
    if shape is not None:
        before, _, after = header.partition("'shape': ")
        header = f"{before}'shape': {shape}, {after.partition('), ')[2]}"
    if descr is not None:
        before, _, after = header.partition("'descr': ")
        header = f"{before}'descr': {descr}, {after.partition(', ')[2]}"
    return data[:8] + len(header).to_bytes(2, "little") + header.encode("latin-1") + data[10 + length :]


def odd_messages(frames: Sequence[bytes], prefix: struct.Struct) -> st.SearchStrategy[Input]:
    """Frames whose message has an odd value, with the length that the message now has."""
    plain = [value for value in map(_loads, ODD) if value is not _UNFIT]

    def build(frame: bytes, chosen: int, value: Any, more: int) -> Input:
        magic, name, length, size = prefix.unpack(frame[: prefix.size])
        message = msgspec.msgpack.decode(frame[prefix.size : prefix.size + length])
        listed = list(places(message))
        place = listed[chosen % len(listed)]
        if place:
            at(message, place[:-1])[place[-1]] = value
        else:
            message = value
        packed = msgspec.msgpack.encode(message)
        arrays = frame[prefix.size + length :]
        return Input(prefix.pack(magic, name, len(packed), max(0, size + more)) + packed + arrays)

    extra = st.sampled_from([0, 0, 0, 4, -4, 2**35])
    return st.builds(build, st.sampled_from(frames), st.integers(0, 500), st.sampled_from(plain), extra)


_UNFIT = object()


def _loads(text: str) -> Any:
    try:
        value = json.loads(text)
        msgspec.msgpack.encode(value)
    except (ValueError, RecursionError, OverflowError):
        return _UNFIT
    return value


@dataclass(frozen=True)
class Gguf:
    """A GGUF file in parts."""

    pairs: tuple[tuple[str, bytes], ...]
    """Key, and the type with the value as the file has them."""
    tensors: tuple[tuple[str, tuple[int, ...], int, int], ...]
    """Name, shape (fastest dimension first), type and offset."""
    data: bytes

    @classmethod
    def of(cls, path: Path) -> Gguf:
        """The parts of a sound file."""
        from gguf import GGUFReader

        reader = GGUFReader(path)
        pairs = []
        for key, field in reader.fields.items():
            if not key.startswith("GGUF."):
                raw = b"".join(part.tobytes() for part in field.parts)
                pairs.append((key, raw[8 + len(key.encode()) :]))
        start = reader.data_offset
        tensors = tuple(
            (t.name, tuple(map(int, t.shape)), int(t.tensor_type), int(t.data_offset) - start) for t in reader.tensors
        )
        return cls(tuple(pairs), tensors, path.read_bytes()[start:])

    def packed(self) -> bytes:
        """As a file."""
        file = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.pairs))
        for key, value in self.pairs:
            file += _string(key) + value
        for name, shape, kind, offset in self.tensors:
            sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *(size % 2**64 for size in shape))
            file += _string(name) + sizes + struct.pack("<IQ", kind % 2**32, offset % 2**64)
        return file + bytes(-len(file) % 32) + self.data


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _texts(*texts: str) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(map(_string, texts))


_VALUES: tuple[bytes, ...] = (
    *(struct.pack("<II", 4, number) for number in (0, 1, 2, 3, 7, 2**16, 2**31, 2**32 - 1)),
    *(struct.pack("<Ii", 5, number) for number in (-1, 1)),
    *(struct.pack("<IQ", 10, number) for number in (0, 2**40, 2**63, 2**64 - 1)),
    *(struct.pack("<If", 6, number) for number in (0.0, -1.0, 1e-5, 1.5, 1e38, float("inf"), float("nan"))),
    *(struct.pack("<Id", 12, number) for number in (1e300, float("nan"))),
    *(struct.pack("<IB", 7, number) for number in (0, 1, 2)),
    *(
        struct.pack("<I", 8) + _string(text)
        for text in ("", "llama", "x", "a\nb", "\x1b]0;x\a", "yarn", "linear", "gpt2")
    ),
    *(
        _texts(),
        _texts(""),
        _texts("a", "a"),
        _texts("\x1b", "a b"),
        _texts("x" * 5000),
        _texts(" ", "a ", " b", "a b c"),
    ),
    *(struct.pack("<IIQ", 9, 5, 1) + struct.pack("<i", -1), struct.pack("<IIQ", 9, 6, 0), struct.pack("<IIQ", 9, 6, 1)),
    *(struct.pack("<IIQ6f", 9, 6, 6, *[float("nan")] * 6), struct.pack("<IIQ4i", 9, 5, 4, 9, 9, 9, 9)),
    *(struct.pack("<IIQ3B", 9, 7, 3, 0, 1, 0), struct.pack("<IIQ", 9, 9, 1)),
)


def odd_gguf(sources: Sequence[Gguf]) -> st.SearchStrategy[Input]:
    """Files with an odd metadata value, or a tensor of an odd name, shape, type or offset."""
    pair_changes = st.tuples(st.just("pair"), st.integers(0, 500), st.sampled_from([None, *_VALUES]))
    odd_part = st.tuples(st.integers(0, 3), st.sampled_from(NUMBERS))
    tensor_changes = st.tuples(st.just("tensor"), st.integers(0, 500), st.none() | odd_part)
    copies = st.tuples(st.just("copy"), st.integers(0, 500), st.integers(0, 500))
    steps = st.lists(pair_changes | pair_changes | tensor_changes | copies, min_size=1, max_size=3)
    return st.builds(_changed, st.sampled_from(sources), steps)


def _changed(gguf: Gguf, steps: Sequence[tuple[str, int, Any]]) -> Input:
    for kind, chosen, change in steps:
        pairs, tensors = list(gguf.pairs), list(gguf.tensors)
        if kind == "tensor" and tensors:
            i = chosen % len(tensors)
            changed = None if change is None else _tensor(tensors[i], *change)
            tensors[i : i + 1] = [] if changed is None else [changed]
        elif kind == "copy" and pairs:  # a value under another's key
            pairs[chosen % len(pairs)] = (pairs[chosen % len(pairs)][0], pairs[change % len(pairs)][1])
        elif kind == "pair" and pairs:
            i = chosen % len(pairs)
            pairs[i : i + 1] = [] if change is None else [(pairs[i][0], change)]
        gguf = replace(gguf, pairs=tuple(pairs), tensors=tuple(tensors))
    return Input(gguf.packed())


def _tensor(
    tensor: tuple[str, tuple[int, ...], int, int], part: int, number: int
) -> tuple[str, tuple[int, ...], int, int]:
    name, shape, kind, offset = tensor
    changed = [
        (f"{name[:-1]}{number}", shape, kind, offset),
        (name, (number, *shape[1:]), kind, offset),
        (name, shape, number % 45, offset),
        (name, shape, kind, number),
    ]
    return changed[part]
