from __future__ import annotations

import pytest

from localprobe.models.catalogue import CATALOGUE
from localprobe.suggest import close_match, one_line, shown


@pytest.mark.parametrize(
    ("written", "meant"),
    [("phi3-mini", "phi-3-mini"), ("SmolLM2", "smollm2-135m"), ("dolphin-llama", "dolphin-llama3.1-8b"), ("zzz", None)],
)
def test_a_mistyped_name_finds_the_one_that_was_meant(written: str, meant: str | None) -> None:
    assert close_match(written, CATALOGUE) == meant


def test_a_value_of_a_file_is_shown_on_one_line_and_in_short() -> None:
    assert shown("a\nb\x1b[2J") == r"'a\nb\x1b[2J'"
    assert shown("x" * 5000) == "'" + "x" * 78 + "…"
    assert shown(10**5000) == "<int>"  # Python writes no number of over 4,300 digits


def test_a_message_with_names_of_a_file_is_one_line() -> None:
    assert one_line("no model 'a\nb' é") == r"no model 'a\nb' é"
    assert one_line("x" * 5000) == "x" * 1000 + "…"
