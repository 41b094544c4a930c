"""The table of architectures: names of the libraries, tiny sizes, and a handful of rows checked as the command does."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    scripts = Path(__file__).parents[2] / "scripts"
    monkeypatch.syspath_prepend(scripts)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(scripts), *filter(None, sys.path)]))
    import architecture_table.__main__ as main

    return main


@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_every_decoder_of_transformers_is_in_the_table(table: ModuleType) -> None:
    names = table.transformers_names()
    assert {"llama", "gpt2", "lfm2", "mamba", "qwen3_next", "bert", "llama4_text"} <= set(names)
    assert len(names) == len(set(names)) > 150


@pytest.mark.skipif(find_spec("mlx_lm") is None, reason="mlx-lm is not installed")
def test_every_model_of_mlx_lm_is_in_the_table_and_no_helper(table: ModuleType) -> None:
    names = set(table.mlx_names())
    assert {"llama", "mistral", "solar_open", "qwen3_next", "rwkv7"} <= names
    assert not {"base", "cache", "switch_layers", "rope_utils"} & names


def test_sizes_are_tiny_and_what_is_switched_off_stays_off(table: ModuleType) -> None:
    from architecture_table.sizes import VOCABULARY, tiny

    assert tiny("hidden_size", 4096) == 64
    assert tiny("n_head", 32) == tiny("num_local_experts", 128) == 4
    assert tiny("sliding_window", None) is None
    assert tiny("num_shared_experts", 0) == 0
    assert tiny("head_dim", None) == 16
    assert tiny("image_token_id", 262_144) == VOCABULARY - 1
    assert tiny("rms_norm_eps", 1e-6) == 1e-6


def test_a_row_has_its_reasons_by_engine(table: ModuleType, tmp_path: Path) -> None:
    torch = table.rows.Rows(
        "torch", "torch 2", {"lfm2": result("captures", "keeps a | state"), "gpt2": result("works")}
    )
    mlx = table.rows.Rows(
        "mlx", "mlx 1", {"lfm2": result("captures", "keeps a | state"), "plamo": result("FAILED", "off")}
    )
    page = table.page.write(torch, mlx, tmp_path / "page.md").read_text()
    assert "torch (torch 2): 1 works, 1 captures." in page
    assert "| gpt2 | works |  |  |" in page
    assert r"| lfm2 | captures | captures | keeps a \| state |" in page
    assert "| plamo |  | FAILED | off |" in page


def result(kind: str, note: str = "") -> dict[str, Any]:
    return {"result": kind, "note": note, "seconds": 1.0}


def test_rows_of_the_same_versions_are_kept(table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.rows, "FOLDER", tmp_path)
    monkeypatch.setattr(table.rows, "installed", lambda engine: "torch 2")
    table.rows.resume("torch", again=False).keep("gpt2", result("works"))
    assert table.rows.resume("torch", again=False).rows == {"gpt2": result("works")}
    assert table.rows.resume("torch", again=True).rows == {}
    monkeypatch.setattr(table.rows, "installed", lambda engine: "torch 3")
    assert table.rows.resume("torch", again=False).rows == {}


def test_a_check_that_crashes_hangs_or_raises_is_a_row_like_any_other(table: ModuleType) -> None:
    from architecture_table import zygote

    def crash(job: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def hang(job: dict[str, Any]) -> dict[str, Any]:
        time.sleep(60)
        return {}

    def fail(job: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("no such thing\nand more")

    rows = [zygote._in_a_copy(check, {"seconds": 0.2 if check is hang else 30}) for check in (crash, hang, fail)]
    assert [row["result"] for row in rows] == ["FAILED"] * 3
    assert [row["note"] for row in rows] == [
        "ended the process (SIGKILL)",
        "took more than 0.2 s",
        "ValueError: no such thing",
    ]


@pytest.fixture
def check(table: ModuleType, tmp_path: Path) -> Iterator[Any]:
    """Check one architecture with an engine, as the command does: (result, note)."""
    processes: dict[str, Any] = {}
    tokenizer = table._tokenizer(tmp_path / "tokenizer")

    def run(name: str, engine: str) -> tuple[str, str]:
        for needed in {"torch", engine}:
            if needed not in processes:
                processes[needed] = table.Zygote(needed)
        folder = tmp_path / f"{name}-{engine}"
        folder.mkdir()
        job = {"name": name, "folder": str(folder), "tokenizer": str(tokenizer), "seconds": 60, "trace": False}
        row = table._check(processes, [engine], name in table.transformers_names(), job)[engine]
        return row["result"], row["note"]

    yield run
    for process in processes.values():
        process.__exit__(None, None, None)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_a_handful_of_rows_on_torch(check: Any) -> None:
    assert check("granite", "torch") == ("works", "")
    assert check("qwen3_moe", "torch") == ("works", "")
    assert check("gemma4_text", "torch") == ("works", "")  # its layers have heads of unequal size
    assert check("doge", "torch")[0] == "refused"  # a token's residual depends on the length of the batch
    kind, note = check("lfm2", "torch")
    assert kind == "captures"
    assert note == "keeps a recurrent state (conv) that this engine cannot resume row by row"
    assert check("mamba", "torch")[0] == "captures"
    assert check("qwen3_next", "torch")[0] == "captures"


@pytest.mark.mlx
@pytest.mark.skipif(os.environ.get("LOCALPROBE_TEST_MLX") != "1", reason="needs MLX: LOCALPROBE_TEST_MLX=1")
def test_folders_of_transformers_give_the_same_residuals_on_mlx(check: Any) -> None:
    for name in ("qwen3_moe", "mixtral", "exaone4", "cohere2", "mellum", "gpt_oss", "deepseek_v2", "minicpm3", "glm"):
        assert check(name, "mlx") == ("works", "")
    assert check("lfm2", "mlx")[0] == check("jamba", "mlx")[0] == "captures"
    assert check("plamo", "mlx") == ("works", "")
    assert check("olmo", "mlx")[0] == "refused"
