from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localprobe.store import paths


@pytest.mark.parametrize(("variable", "folder"), [("LOCALPROBE_CACHE", paths.cache), ("LOCALPROBE_DATA", paths.data)])
def test_an_environment_variable_moves_a_folder(
    variable: str, folder: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"
    monkeypatch.setenv(variable, "~/mine")
    assert folder() == Path.home() / "mine"
    monkeypatch.delenv(variable)
    assert folder().is_absolute()
    assert "localprobe" in folder().parts
