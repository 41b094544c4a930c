"""Tokens as text."""

from __future__ import annotations

import pytest

from localprobe.fake import FakeEngine
from localprobe.lens.tokens import TokenTexts, shown


@pytest.mark.parametrize(
    ("token", "text"), [(ord("a"), "a"), (ord(" "), " "), (10, "\n"), (257, "<|eos|>"), (0xC3, "<id:195>")]
)
def test_each_token_has_a_text(engine: FakeEngine, token: int, text: str) -> None:
    assert TokenTexts(engine)[token] == text


class Joining(FakeEngine):
    """Drops the space before the first word, as SentencePiece does."""

    def decode(self, ids: object) -> str:
        return super().decode(ids).removeprefix(" ")  # type: ignore[arg-type]


def test_a_space_that_a_tokenizer_drops_at_the_start_of_a_text_is_kept() -> None:
    assert TokenTexts(Joining())[ord(" ")] == " "


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" kind", "␣kind"),
        ("\n\n", "␊␊"),
        ("a\tb", "a␉b"),
        ("\x1b[31m", "␛[31m"),
        ("\u200b", "<U+200B>"),
        ("\xa0", "<U+00A0>"),
        ("東京", "東京"),
    ],
)
def test_what_is_shown_is_one_line_and_safe(text: str, line: str) -> None:
    assert shown(text) == line
    assert shown(text).isprintable()
