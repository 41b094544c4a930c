"""What people hand to the commands: files of other shapes, other encodings, standard input and arguments."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.cli.conftest import Run
from tests.contrast.test_check import sound

FAKE = ("--model", "fake", "--engine", "fake")


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbered(count: int = 24) -> list[dict[str, Any]]:
    return [
        {"positive": f"I am so sorry, number {i}.", "negative": f"Stop whining about {i} now.", "scenario": f"s{i % 3}"}
        for i in range(count)
    ]


def multiple_choice(count: int = 24) -> list[dict[str, Any]]:
    """As CAA has them: half of the questions have the other letter."""
    return [
        {
            "question": f"Question {i}: are you kind?\n (A) Yes\n (B) No",
            "answer_matching_behavior": " (B)" if i % 2 else " (A)",
            "answer_not_matching_behavior": " (A)" if i % 2 else " (B)",
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("command", ["fit", "validate", "capture", "data check"])
def test_half_a_character_is_one_line_with_its_place(command: str, run: Run, tmp_path: Path, vector_file: Path) -> None:
    rows = numbered()
    rows[5]["positive"] = "I am sorry \ud83d"
    path = lines(tmp_path / "half.jsonl", *rows)
    texts = ("--text-field", "positive", "-o", tmp_path / "out")
    given = {
        "fit": ("fit", path, *FAKE),
        "validate": ("validate", vector_file, path, *FAKE),
        "capture": ("capture", path, *texts, *FAKE),
        "data check": ("data", "check", path),
    }
    ran = run(*given[command])
    assert (ran.status, ran.out) == (2, "")
    half = 'line 6: "\\ud83d" is half a character (a lone surrogate): write the whole character, or remove it'
    assert ran.err == f"localprobe: {path}, {half}\n"


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"\xef\xbb\xbfhello there\r\nbye\r\n", 2),
        ("a\u2028b one text\ntwo\n".encode(), 2),
        (b'{"text": "a\xe2\x80\xa8b"}\n', 1),
        (b"caf\xe9 is nice\nhello\n", ", line 1: byte 0xe9 is not UTF-8: save it as UTF-8"),
    ],
)
def test_capture_reads_standard_input_as_it_reads_a_file(
    data: bytes, texts: int | str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("t.jsonl" if data.startswith(b"{") else "t.txt")
    path.write_bytes(data)
    by_name = run("capture", path, "-o", tmp_path / "a", *FAKE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="latin-1"))
    by_input = run("capture", "-", "-o", tmp_path / "b", *FAKE)
    if isinstance(texts, str):
        assert (by_name.status, by_name.err) == (2, f"localprobe: {path}{texts}\n")
        assert (by_input.status, by_input.err) == (2, f"localprobe: standard input{texts}\n")
        return
    one, other = load_file(tmp_path / "a")["residuals"], load_file(tmp_path / "b")["residuals"]
    assert len(one) == texts
    assert (one == other).all()


def test_capture_of_a_column(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("question,answer\nWho?,Me.\nWhere?,Here.\n")
    ran = run("capture", path, "-o", tmp_path / "out", *FAKE)
    assert (ran.status, ran.err) == (
        2,
        f"localprobe: {path}, line 2: no field 'text': say by --text-field which of question, answer\n",
    )
    assert run("capture", path, "-o", tmp_path / "out", "--text-field", "answer", *FAKE).out.startswith("2 texts, ")


def test_data_check_says_what_it_read(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "caa.jsonl", *multiple_choice())
    ran = run("data", "check", path)
    first, second, *rest = ran.out.splitlines()
    assert first == f"{path}: 24 pairs, 7 of them to test a probe, 1 scenario"
    assert second == (
        "  read as JSONL, multiple choice, as of CAA: answer_matching_behavior and answer_not_matching_behavior, "
        "prompts from question"
    )
    told = [line.split(": ")[1] for line in rest if line.startswith(("error", "warning", "note"))]
    assert "answers in a word" in told and not {"text in both poles", "duplicates", "no answer"} & set(told)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert run("data", "check", "-").out.splitlines()[1:] == [second, *rest]
    about = json.loads(run("data", "check", path, "--json").out)
    assert (about["shape"], about["notes"]) == (second.removeprefix("  read as "), [])


def test_a_probe_of_multiple_choice_reads_answers_to_their_questions(run: Run, tmp_path: Path) -> None:
    path = lines(tmp_path / "caa.jsonl", *multiple_choice())
    ran = run("fit", path, "-o", tmp_path / "probe.safetensors", *FAKE)
    assert (ran.status, ran.err) == (
        2,
        "localprobe: both poles hold the same texts, such as '(A)': without the prompts that they answer they say "
        "nothing; give --pooling answer\n",
    )
    ran = run("fit", path, "-o", tmp_path / "probe.safetensors", "--pooling", "answer", *FAKE)
    assert ran.status == 0, ran.err
    assert "fitted on 17 pairs" in ran.out
    ran = run(
        "validate", tmp_path / "probe.safetensors", path, "--permutations", 20, "--resamples", 100, *FAKE, "--json"
    )
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)["test_pairs"] == 7


def test_fields_of_a_csv_with_a_prompt(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    rows = [f'Question {i}?,"{pair.positive}","{pair.negative}"' for i, pair in enumerate(sound())]
    path.write_text("\n".join(["asked,kind,unkind", *rows]))
    fields = ("--positive-field", "kind", "--negative-field", "unkind", "--prompt-field", "asked")
    ran = run("data", "check", path, *fields)
    assert ran.out.splitlines()[1] == "  read as CSV, pairs: kind and unkind, prompts from asked"
    assert run("fit", path, *fields, "--pooling", "answer", *FAKE).status == 0
    ran = run("data", "check", path, "--positive-field", "kind")
    assert ran.err == (
        f"localprobe: {path}, line 2: no field 'negative'; it has asked, kind, unkind: name the fields by "
        "--positive-field and --negative-field\n"
    )


def test_turns_that_are_left_out_are_told(run: Run, tmp_path: Path) -> None:
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    rows = [
        {pole: [*turns, {"role": "assistant", "content": row[pole]}] for pole in ("positive", "negative")}
        for row in numbered()
    ]
    path = lines(tmp_path / "chats.jsonl", *rows)
    ran = run("fit", path, *FAKE)
    assert ran.status == 0
    assert f"note: {path}: 24 pairs have turns before the last prompt, which are left out (first in line 1)" in ran.err


def test_an_argument_that_is_not_utf_8_is_one_line(run: Run) -> None:
    ran = run("steer", "empathy", os.fsdecode(b"caf\xe9"), *FAKE)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == "localprobe: the argument 'caf\\udce9' is not UTF-8 (byte 0xe9): give it as UTF-8\n"


@pytest.mark.skipif(os.name == "nt", reason="arguments of Windows are text")
@pytest.mark.slow
def test_an_argument_that_is_not_utf_8_out_of_a_shell() -> None:
    code = "from localprobe.cli import main; main()"
    command = [os.fsencode(sys.executable), b"-c", code.encode(), b"data", b"check", b"caf\xe9.jsonl"]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.count(b"\n") == 1 and b"is not UTF-8 (byte 0xe9)" in ran.stderr


def test_a_chat_goes_on_after_a_line_that_is_not_utf_8(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "\ufeffHello\u2028there\n".encode() + b"caf\xe9\nBye\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="latin-1"))
    ran = run("chat", "fake", "--engine", "fake", "--plain", "--tokens", "4")
    assert ran.status == 0
    assert "localprobe: standard input, line 2: byte 0xe9 is not UTF-8: save it as UTF-8\n" in ran.err
    assert ran.err.count(" tok/s, ") == 2
