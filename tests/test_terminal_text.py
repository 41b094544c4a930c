"""Text made safe for a terminal: what it obeys is made visible, what people write stays."""

from __future__ import annotations

import ast
import unicodedata
from pathlib import Path

import pytest

from localprobe.terminal_text import one_line, visible


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b]0;a title\x07", "␛]0;a title␇"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("over\rwritten\b\x7f\x00", "over␍written␈␡␀"),
        ("\x9b31m \x9d0;title\x9c", "\ufffd31m \ufffd0;title\ufffd"),
        ("user\u202etxt.exe\u2066", "user\ufffdtxt.exe\ufffd"),
        ("one\u2028two", "one\ufffdtwo"),
        ("\udc80", "\ufffd"),
    ],
)
def test_what_a_terminal_obeys_or_cannot_write_is_made_visible(written: str, shown: str) -> None:
    assert visible(written) == shown
    assert len(shown) == len(written)


@pytest.mark.parametrize(
    "text", ["", "plain\n\tindented", "é 漢字 ß", "👩\u200d👩\u200d👧", "\u0645\u06cc\u200c\u062e", "a\u00adb"]
)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


def test_no_control_character_is_left() -> None:
    every = "".join(map(chr, range(0x110000)))
    left = {
        c for c in visible(every) if unicodedata.category(c) in ("Cc", "Cs") or unicodedata.bidirectional(c) in BIDI
    }
    assert left == {"\n", "\t"}


BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_a_name_cannot_begin_a_line_of_its_own() -> None:
    assert one_line("a\nlocalprobe: all is well\t") == "a␊localprobe: all is well␉"


@pytest.mark.parametrize("package", ["localprobe", "backends", "tui"])
def test_the_core_the_engines_and_the_app_print_nothing_past_it(package: str) -> None:
    for path in (Path(__file__).parents[1] / package).rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {ast.unparse(call) for call in calls} & {"print", "sys.stdout.write", "sys.stderr.write"}
        allowed = (
            {"print"}
            if path.name == "terminal_text.py"
            else {"sys.stdout.write"}
            if path.name == "output.py"
            else set()
        )
        assert names <= allowed, f"{path}: {names}"
