"""`localprobe lens`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors import files as vector_files
from tests.cli.conftest import Run

FAKE = ("--engine", "fake")


def test_each_token_is_a_row_with_its_score_and_what_each_layer_says(run: Run, vector_file: Path) -> None:
    ran = run("lens", "fake", "Is it", "--vector", vector_file, "--layers", "0,5", *FAKE)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split("  ")[:1] == [" token"]
    assert "kindness, layer 2" in lines[0]
    assert [line.split()[0] for line in lines[1:7]] == ["<|bos|>", "I", "s", "␣", "i", "t"]
    found = Model(FakeEngine()).lens("Is it", vector=vector_files.load(vector_file), layers=[0, 5])
    assert found.scores is not None
    assert lines[2].split()[1] == f"{found.scores.values[1]:+.2f}"
    assert lines[2].split()[2] == found.texts[int(found.top[0, 1, 0])]


def test_json_has_every_layer_and_the_top_tokens(run: Run) -> None:
    told = json.loads(run("lens", "fake", "Is it", "--top", 2, "--json", *FAKE).out)
    assert told["layers"] == [0, 1, 2, 3, 4, 5]
    assert {len(row["next"]) for token in told["tokens"] for row in token["lens"]} == {2}


def test_a_page_is_written(run: Run, tmp_path: Path) -> None:
    ran = run("lens", "fake", "<script>", "-o", tmp_path / "page.html", *FAKE)
    assert (ran.status, ran.out) == (0, "")
    assert f"9 tokens, 6 layers -> {tmp_path}/page.html" in ran.err
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert page.count("<tr>") == 1 + 9


def test_a_chat_is_read_in_the_template(run: Run) -> None:
    told = json.loads(run("lens", "fake", "Hi", "--chat", "--layers", "5", "--json", *FAKE).out)
    assert [token["text"] for token in told["tokens"]][:3] == ["<|bos|>", "<|im_start|>", "u"]


def test_a_long_text_is_cut_with_a_warning(run: Run) -> None:
    ran = run("lens", "fake", "a" * 200, "--layers", "5", *FAKE)
    assert ran.status == 0
    assert (
        ran.err == "warning: the text is longer than 128 tokens, and the lens reads the first 128: --limit reads more\n"
    )
    ran = run("lens", "fake", "a" * 200, "--layers", "5", "--limit", 150, "--json", *FAKE)
    assert (ran.err, len(json.loads(ran.out)["tokens"])) == ("", 150)


def test_what_a_terminal_would_obey_is_made_visible(run: Run) -> None:
    ran = run("lens", "fake", "a\x1b]0;x\x07", "--layers", "5", *FAKE)
    assert "\x1b" not in ran.out
    assert "␛" in ran.out


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--layers", "6"], "layer 6 is out of range: fake has layers 0 to 5"),
        (["--layer", "3"], "--layer is where a --vector scores: give one, or name the --layers to read"),
        (["--vector", "nowhere"], "no vector 'nowhere'"),
        (["--top", "300"], "--top 300 is not between 1 and the vocabulary of 260"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(run: Run, args: list[str], complaint: str) -> None:
    ran = run("lens", "fake", "Is it", *args, *FAKE)
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert len(ran.err.splitlines()) == 1
