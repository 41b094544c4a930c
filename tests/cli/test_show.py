"""What commands draw while a model loads."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from localprobe.cli import show


def test_a_load_names_its_stage_and_counts_bytes_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(show, "errors", Console(file=drawn, force_terminal=True, width=120))
    with show.loading("smollm2-135m") as report:
        report("downloading model.gguf", 49_000_000, 98_000_000)
        report("loading smollm2-135m into llama", 0, 0)
    lines = drawn.getvalue()
    assert "49/98 MB" in lines
    assert "loading smollm2-135m into llama" in lines
    assert "0/0 MB" not in lines
