"""Readers of rows: JSONL, CSV, and the shapes of pairs that other people publish."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import documents
from tests.fuzz.mutations import mutated
from tests.fuzz.registry import Reader, encoded, file_reader, reader
from tests.fuzz.texts import json_reader


def _lines_reader(read: Callable[[Path], object], sound: Sequence[Any], name: str = "lines.jsonl") -> Reader:
    texts = ["\n".join(map(json.dumps, sound)).encode()]
    snippets = [*(text.encode() for text in documents.ODD if len(text) < 1000), b"\n", b"\r", b"\xff", b"\xef\xbb\xbf"]
    return Reader(file_reader(name, read), texts, documents.odd_lines(sound) | mutated(texts, snippets=snippets))


@reader
def pairs() -> Reader:
    """Contrast pairs."""
    from localprobe.contrast.pairs import read_pairs

    pair = {"id": 1, "scenario": "s", "positive": "I am here.", "negative": "Go on.", "prompt": "?", "generator": "g"}
    return _lines_reader(
        lambda path: encoded(read_pairs(path)), [pair, {**pair, "id": "b"}, {**pair, "scenario": None}]
    )


@reader
def published_pairs() -> Reader:
    """Pairs in the shapes that other people publish, in one list."""
    from localprobe.contrast.pairs import read_pairs

    chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    question = {"question": "Sure?", "answer_matching_behavior": "(A)", "answer_not_matching_behavior": "(B)"}
    shapes = [
        [question, {**question, "question": "Choices:\n (A) Yes\n (B) No"}],
        [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}],
        [{"chosen": chat, "rejected": [chat[0], {"role": "assistant", "content": "No."}]}],
        {"positive": ["a", "b"], "negative": ["c", "d"], "scenario": "s"},
    ]
    return json_reader(file_reader("pairs.json", lambda path: encoded(read_pairs(path))), shapes)


@reader
def tables() -> Reader:
    """Pairs and texts as CSV."""
    from localprobe.contrast.pairs import read_pairs, read_texts
    from localprobe.errors import DataError

    sound = [
        b'id,positive,negative,text\n1,"I am, here.",Go on.,one\n2,"two ""words""\nand a line",No.,two\n',
        "positive;negative;text\né;b;c\n".encode(),
        b"positive\tnegative\ttext\nx\ty\tz\n",
    ]

    def read(path: Path) -> None:
        errors = []
        for read in (read_pairs, read_texts):
            try:
                encoded(read(path))
            except DataError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    snippets = [b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"x" * 200_000]
    return Reader(file_reader("t.csv", read), sound, mutated(sound, snippets=snippets))


@reader
def texts() -> Reader:
    """Texts in the lines of JSON, and scenarios so."""
    from localprobe.contrast.pairs import read_texts

    return _lines_reader(lambda path: encoded(read_texts(path)), [{"text": "one"}, {"text": "two", "n": 2}])


@reader
def rated() -> Reader:
    """Rated texts, scenarios and generations, which all have an object on each line."""
    from localprobe.contrast.rated import read_rated
    from localprobe.contrast.scenario_file import read_scenarios
    from localprobe.errors import DataError
    from localprobe.experiments.samples import read_samples

    line = {
        "text": "a b",
        "score": 1,
        "scenario": "s",
        "id": "x",
        "model": "m",
        "layer": 3,
        "alpha": 0.5,
        "situation": "z",
    }

    def read(path: Path) -> None:
        errors = []
        for read in (read_rated, read_samples, read_scenarios):
            try:
                encoded(read(path))
            except DataError as error:
                errors.append(error)
        if errors:
            raise errors[-1]

    return _lines_reader(read, [line, {**line, "score": 0.5, "layer": None, "alpha": 0, "id": "y"}])


@reader
def generated() -> Reader:
    """A file of pairs that is generated into again."""
    from localprobe.generators.lines import Lines

    def read(path: Path) -> None:
        with Lines(path, notify=lambda line: None) as lines:
            encoded(lines.records)

    return _lines_reader(read, [{"id": "a", "positive": "x"}, {"id": "b", "negative": "y"}])
