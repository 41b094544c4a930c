"""Facts that are measured once and kept, by model or by what strings name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine
from localprobe.store import memo


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_fact_of_a_model_is_recalled_for_these_weights_and_versions_alone(engine: FakeEngine) -> None:
    memo.keep("scale", engine.info, [1.0, 2.0])
    assert memo.recall("scale", engine.info) == [1.0, 2.0]
    assert memo.recall("canary", engine.info) is None
    assert memo.recall("scale", replace(engine.info, weights="others")) is None
    assert memo.recall("scale", replace(engine.info, version="another")) is None


def test_a_fact_of_a_machine_is_recalled_by_all_its_strings() -> None:
    memo.keep("linear", ("AMD EPYC", "2"), {"onednn": True})
    assert memo.recall("linear", ("AMD EPYC", "2")) == {"onednn": True}
    assert memo.recall("linear", ("AMD EPYC", "4")) is None
    assert memo.recall("linear", ("AMD EPYC 2",)) is None


def test_a_torn_file_is_measured_again(empty_cache: Path) -> None:
    memo.keep("linear", ("AMD EPYC",), True)
    (kept,) = (empty_cache / "linear").iterdir()
    kept.write_text("{")
    assert memo.recall("linear", ("AMD EPYC",)) is None


def test_a_cache_that_cannot_be_written_is_no_error(empty_cache: Path) -> None:
    empty_cache.write_text("a file where the folder should be")
    memo.keep("linear", ("AMD EPYC",), True)
    assert memo.recall("linear", ("AMD EPYC",)) is None
