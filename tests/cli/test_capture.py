"""`localprobe capture`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from localprobe.cli.layers import parse
from localprobe.errors import UsageError
from tests.cli.conftest import Run

FAKE = ("--model", "fake", "--engine", "fake")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("First text.\nA second, longer text.\n")
    return path


def test_residuals_of_every_text_are_written(run: Run, texts: Path, tmp_path: Path) -> None:
    ran = run("capture", texts, "-o", tmp_path / "out.safetensors", *FAKE, "--layers", "1,3-4")
    assert ran.status == 0
    assert ran.out.startswith("2 texts, 35 tokens, 3 layers (")
    assert load_file(tmp_path / "out.safetensors")["residuals"].shape == (2, 3, 32)


def test_json_for_scripts(run: Run, texts: Path, tmp_path: Path) -> None:
    ran = run("capture", texts, "-o", tmp_path / "out", *FAKE, "--json", "--limit", 5, "--pooling", "last")
    done = json.loads(ran.out)
    assert (done["texts"], done["tokens"], done["cut"], done["layers"]) == (2, 10, 2, [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--layers", "9"], "layer 9 is out of range: fake has layers 0 to 5"),
        (["--layers", "eight"], "layers 'eight': write them as 8,12,16"),
        (["--context", "16"], "text 2 has 23 tokens, and fake holds 16"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    run: Run, texts: Path, tmp_path: Path, args: list[str], complaint: str
) -> None:
    ran = run("capture", texts, "-o", tmp_path / "out", *FAKE, *args)
    assert ran.status == 2
    assert complaint in ran.err
    assert list(tmp_path.iterdir()) == [texts]


def test_an_empty_text_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "good"}\n{"text": "  "}\n')
    ran = run("capture", tmp_path / "t.jsonl", "-o", tmp_path / "out", *FAKE)
    assert ran.status == 2
    assert "empty" in ran.err
    assert not (tmp_path / "out").exists()


def test_no_such_file(run: Run, tmp_path: Path) -> None:
    ran = run("capture", tmp_path / "none.txt", "-o", tmp_path / "out", *FAKE)
    assert ran.status == 2
    assert "none.txt" in ran.err


def test_layers_as_people_write_them() -> None:
    assert parse(None) is None
    assert parse("8, 12,16") == [8, 12, 16]
    assert parse("8-11,10,-1") == [8, 9, 10, 11, -1]
    for wrong in ("", "a", "9-8", "1;2"):
        with pytest.raises(UsageError):
            parse(wrong)


def test_special_tokens_are_characters_with_a_warning_or_tokens_if_asked_for(run: Run, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "Plain."}\n{"text": "<|im_start|>user\\nHi<|im_end|>"}\n')
    ran = run("capture", texts, "-o", tmp_path / "out", *FAKE, "--json")
    assert json.loads(ran.out)["tokens"] == 7 + 30
    assert ran.err.splitlines()[-1] == (
        "warning: <|im_start|>, <|im_end|> in line 2 are read as characters: "
        "give --special-tokens to read special tokens as tokens"
    )
    ran = run("capture", texts, "-o", tmp_path / "out", *FAKE, "--json", "--special-tokens")
    assert json.loads(ran.out)["tokens"] == 7 + 10
    assert "warning" not in ran.err
