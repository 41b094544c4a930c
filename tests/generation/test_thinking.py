"""Where a model thinks: marks as text, marks as special tokens, and marks that only a template names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import IntArray
from localprobe.fake import FakeEngine
from localprobe.generation.thinking import Thinking, marks, thoughts

SPECIALS = {"<|channel|>": 1, "<|message|>": 2, "<|end|>": 3, "[THINK]": 4, "[/THINK]": 5}


class Channels(FakeEngine):
    """Its marks are special tokens, which `decode` leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.info = replace(self.info, marks=tuple(SPECIALS))

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        ids = []
        while text:
            special = next((mark for mark in SPECIALS if template and text.startswith(mark)), None)
            ids.append(SPECIALS[special] if special else 1000 + ord(text[0]))
            text = text[len(special) if special else 1 :]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return "".join(chr(token - 1000) for token in ids if token >= 1000)


def inside(engine: FakeEngine, text: str) -> str:
    """The characters after which the model is inside a thought, one per token."""
    tracker = Thinking(engine)
    return "".join("x" if tracker.push(token) else "." for token in engine.encode(text, template=True).tolist())


def test_a_channel_is_found_by_its_special_tokens() -> None:
    text = "<|channel|>analysis<|message|>so<|end|><|channel|>final<|message|>Yes"
    assert inside(Channels(), text) == "." * 9 + "xxx" + "." * 11


def test_marks_in_brackets_are_special_tokens_where_the_model_has_them() -> None:
    assert inside(Channels(), "a[THINK]b[/THINK]c") == ".xx.."


def test_a_channel_written_as_characters_opens_nothing() -> None:
    engine = Channels()
    tracker = Thinking(engine)
    assert not any(tracker.push(token) for token in engine.encode("<|channel|>analysis<|message|>so").tolist())


def test_marks_that_are_text_are_found_across_tokens(engine: FakeEngine) -> None:
    ids = engine.encode("Well<think>no</think>Yes")
    (span,) = thoughts(engine, ids)
    assert engine.decode(ids[span[0] : span[1]]) == ">no</think"


def test_only_the_mark_of_its_own_kind_closes_a_thought(engine: FakeEngine) -> None:
    ids = engine.encode("<think>a</thinking>b</think>c")
    (span,) = thoughts(engine, ids)
    assert engine.decode(ids[span[0] : span[1]]) == ">a</thinking>b</think"


@pytest.mark.parametrize(
    ("template", "pair"),
    [
        ("{% if x %}<my_thoughts>\n{% endif %}</my_thoughts>", ("<my_thoughts>", "</my_thoughts>")),
        ("<|inner_reasoning|>{{ x }}<|/inner_reasoning|>", ("<|inner_reasoning|>", "<|/inner_reasoning|>")),
    ],
)
def test_a_template_names_marks_of_its_own(template: str, pair: tuple[str, str]) -> None:
    assert pair in marks(template)
    assert pair not in marks("")
    assert marks(template.replace("/", "")) == marks("")  # without a closing mark there is no thought
