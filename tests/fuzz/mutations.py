"""Mutations of bytes: flips, cuts, numbers out of range, splices, repeats, insertions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from hypothesis import strategies as st

Mutation: TypeAlias = Callable[[bytes], bytes]

NUMBERS = (0, 1, 2, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_LONGEST = 1 << 20  # bytes of an input
_places = st.integers(0, 1 << 20)  # modulo the length of the bytes


class Input(bytes):
    """Bytes that hypothesis shows in short: the whole is in the file that `limits` names."""

    def __repr__(self) -> str:
        return f"<{len(self):,} bytes>"


def mutated(
    sources: Sequence[bytes] | st.SearchStrategy[bytes], *, snippets: Sequence[bytes] = (), head: int = 1 << 20
) -> st.SearchStrategy[bytes]:
    """One of the sources, or what they generate, after up to four mutations, all within its first `head` bytes.

    `snippets` are pieces that mean something to the reader.
    """
    whole = st.sampled_from(sources) if isinstance(sources, Sequence) else sources
    mutations = [_flips, _settings, _cuts, _numbers, _repeats, _deletions]
    if isinstance(sources, Sequence):
        mutations.append(_splices(sources))
    if snippets:
        mutations.extend([_insertions(snippets)] * 4)
    steps = st.lists(st.one_of(mutations), max_size=4)
    return st.builds(lambda data, mutations: _applied(data, mutations, head), whole, steps)


def _applied(data: bytes, mutations: Sequence[Mutation], head: int) -> Input:
    for mutation in mutations:
        data = mutation(data[:head]) + data[head:]
    return Input(data[:_LONGEST])


def _replaced(place: int, length: int, piece: bytes) -> Mutation:
    """`length` bytes at the place become the piece."""

    def mutate(data: bytes) -> bytes:
        at = place % (len(data) + 1)
        return data[:at] + piece + data[at + length :]

    return mutate


def _flip(place: int, bit: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        at = place % max(len(data), 1)
        return data[:at] + bytes(byte ^ 1 << bit for byte in data[at : at + 1]) + data[at + 1 :]

    return mutate


def _repeated(place: int, length: int, times: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        at = place % (len(data) + 1)
        return data[:at] + data[at : at + length] * times + data[at + length :]

    return mutate


def _number(place: int, value: int, size: int) -> Mutation:
    return _replaced(place, size, (value % (1 << 8 * size)).to_bytes(size, "little"))


_flips = st.builds(_flip, _places, st.integers(0, 7))
_settings = st.binary(min_size=1, max_size=4).flatmap(
    lambda piece: st.builds(_replaced, _places, st.just(len(piece)), st.just(piece))
)
_cuts = st.builds(lambda place: _replaced(place, 1 << 30, b""), _places)
_numbers = st.builds(_number, _places, st.sampled_from(NUMBERS), st.sampled_from([1, 2, 4, 8]))
_repeats = st.builds(_repeated, _places, st.integers(1, 64), st.sampled_from([2, 3, 50, 2000]))
_deletions = st.builds(lambda place, length: _replaced(place, length, b""), _places, st.integers(1, 64))


def _insertions(snippets: Sequence[bytes]) -> st.SearchStrategy[Mutation]:
    return st.builds(
        lambda place, piece, over: _replaced(place, over, piece), _places, st.sampled_from(snippets), st.integers(0, 4)
    )


def _splices(sources: Sequence[bytes]) -> st.SearchStrategy[Mutation]:
    """A piece of one source inside another."""

    def splice(source: bytes, start: int, length: int, place: int, over: int) -> Mutation:
        begin = start % (len(source) + 1)
        return _replaced(place, over, source[begin : begin + length])

    lengths = st.integers(0, 256)
    return st.builds(splice, st.sampled_from(sources), _places, lengths, _places, lengths)
