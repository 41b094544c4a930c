"""Every reader on damaged and hostile files, and the limits on readers that break them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from localprobe.errors import DataError
from tests.fuzz import languages, protocols, rows, texts, weights
from tests.fuzz.limits import Fault, check
from tests.fuzz.mutations import Input
from tests.fuzz.registry import READERS, Reader, emptied

KINDS = (weights, texts, rows, protocols, languages)  # importing them registers their readers
INPUTS = int(os.environ.get("LOCALPROBE_FUZZ", "30"))
"""Of each reader."""
SEED = int(os.environ.get("LOCALPROBE_FUZZ_SEED", "0"))


@pytest.mark.slow
@pytest.mark.timeout(3600 if INPUTS > 100 else 300)
@pytest.mark.parametrize("name", READERS)
def test_every_input_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    reader = READERS[name]()
    for data in reader.sound:  # also imports what is imported when first used, which counts against no input
        try:
            reader.read(emptied(tmp_path / "sound"), data)
        except reader.allowed:  # a reader that reads on to the end
            continue

    each_input(reader, lambda data: check(name, reader.read, emptied(tmp_path / "read"), data, reader.allowed))


def each_input(reader: Reader, run: Callable[[Input], object], count: int = INPUTS) -> None:
    """Run something on `count` inputs of a reader, the same for the same seed; on an error, on the simplest too."""

    @seed(SEED)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def every(data: Input) -> None:
        run(data)

    every()


def test_the_inputs_follow_from_the_seed() -> None:
    first: list[Input] = []
    second: list[Input] = []
    for inputs in (first, second):
        each_input(READERS["index"](), inputs.append, count=20)
    assert first == second
    assert len(set(first)) > 10


def _holds_memory(_folder: Path, _data: bytes) -> None:
    bytearray(1_200_000_000)[::4096] = b"x" * (-(-1_200_000_000 // 4096))


def _asks_for_memory(_folder: Path, _data: bytes) -> None:
    bytearray(1 << 40)


def _never_ends(_folder: Path, _data: bytes) -> None:
    while True:
        pass


def _two_lines(_folder: Path, _data: bytes) -> None:
    raise DataError("one\ntwo")


def _another_error(_folder: Path, _data: bytes) -> None:
    raise KeyError("a bug")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "said"),
    [
        (_holds_memory, r"it took 1\.2 GB"),
        (_asks_for_memory, "MemoryError"),
        (_never_ends, "it took 2 s of CPU, until here:"),
        (_two_lines, r"not one line: 'one\\ntwo'"),
        (_another_error, "KeyError: 'a bug'"),
    ],
)
def test_a_reader_that_breaks_a_limit_is_told_with_the_way_to_repeat_it(
    read: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPROBE_FUZZ_FOLDER", str(tmp_path))
    with pytest.raises(Fault, match=rf"(?s){said}.*read it again: python -m tests\.fuzz bad .*bad-") as raised:
        check("bad", read, tmp_path, b"bytes", ())  # type: ignore[arg-type]
    assert next(tmp_path.glob("bad-*")).read_bytes() == b"bytes"
    assert "--packed" in str(raised.value)


def test_an_error_that_a_user_understands_is_no_fault(tmp_path: Path) -> None:
    def refuses(_folder: Path, _data: bytes) -> None:
        raise DataError("the file is bad: write another")

    check("good", refuses, tmp_path, b"bytes", ())
    assert not list(tmp_path.iterdir())
