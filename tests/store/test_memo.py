"""Facts that are measured once and kept, by model or by what strings name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe.fake import FakeEngine
from localprobe.store import memo


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_fact_of_a_model_is_recalled_for_these_weights_and_versions_alone(engine: FakeEngine) -> None:
    key = memo.model_key(engine.info)
    memo.keep("scale", key, [1.0, 2.0])
    assert memo.recall("scale", key) == [1.0, 2.0]
    assert memo.recall("canary", key) is None
    for field in ("weights", "engine", "version", "device", "dtype", "quantisation"):
        other = replace(engine.info, **{field: "another"})  # type: ignore[arg-type]
        assert memo.recall("scale", memo.model_key(other)) is None
    assert memo.recall("scale", memo.model_key(replace(engine.info, model="another name"))) == [1.0, 2.0]


def test_rows_of_ids_have_a_key_that_no_other_rows_have() -> None:
    rows = [np.array([1, 2, 3], np.int32), np.array([4], np.int32)]
    assert memo.ids_key(rows) == memo.ids_key([row.astype(np.int64) for row in rows])  # type: ignore[misc]
    others = [rows[:1], [rows[0][:2], np.array([3, 4], np.int32)], [np.concatenate(rows)], rows[::-1]]
    assert len({memo.ids_key(other) for other in [rows, *others]}) == 5


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
