"""`localprobe audit`."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from localprobe.experiments.outcomes import Sample
from tests.cli.conftest import Run
from tests.experiments.planted import samples_of

# At layer 5, of 4 samples each: effects -1/4, 0, +1/2, 0 on Food; none on Listener, whose baseline is 1. So of 8 cells
# the paper counts 3 + 2 = 5, strictly it is 2, and 1 + 2 = 3 of the paper's are null effects.
FOOD = {-10.0: (0, 4), -5.0: (1, 4), 0.0: (1, 4), 5.0: (3, 4), 10.0: (1, 4)}
FULL = dict.fromkeys(FOOD, (4, 4))
LOOP = "I keep on and on along the road that leads there, and " + "so " * 20


def synthetic() -> list[Sample]:
    food = samples_of(FOOD, model="tiny", layer=5, scenario="Food")
    return [*food, *samples_of(FULL, model="tiny", layer=5, scenario="Listener")]


def written(path: Path, samples: list[Sample], rest: str = "", **called: str) -> Path:
    records = [{called.get(name, name): value for name, value in asdict(sample).items()} for sample in samples]
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + rest)
    return path


def figures(run: Run, *args: object) -> dict[str, Any]:
    ran = run("audit", *args, "--json")
    assert (ran.status, ran.err) == (0, "")
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_json_by_hand(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "g.jsonl", synthetic())
    found = figures(run, path)
    assert (found["file"], found["concept"]) == (str(path), "empathy")
    tiny = found["models"]["tiny"]
    success = tiny["success"]
    assert (success["cells"], success["null_effects"]) == (8, 3)
    assert (success["paper"]["share"], success["strict"]["share"]) == (0.625, 0.25)
    assert {each["alpha"]: each["coherent"]["share"] for each in tiny["conditions"]} == dict.fromkeys(FOOD, 1.0)
    listener = tiny["scenarios"]["Listener"]["success"]
    assert (listener["paper"]["share"], listener["strict"]["share"]) == (0.5, 0)
    assert tiny["layers"]["5"]["success"]["cells"] == 8
    totals = found["totals"]["success"]
    assert (totals["cells"], totals["paper"]["share"], totals["null_effects"]) == (8, 0.625, 3)


def test_a_table_and_plain_sentences(run: Run, tmp_path: Path) -> None:
    broken = [Sample("tiny", 5, "Food", 10, ""), Sample("tiny", 5, "Food", 10, LOOP)]
    ran = run("audit", written(tmp_path / "g.jsonl", [*synthetic(), *broken]))
    assert (ran.status, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines()]
    assert rows[0] == ["tiny"]
    assert ["5", "Listener", "1.00", "50.0%", "0.0%", "2", "100%", "0%", "-10..10"] in rows
    assert ["-10", "8", "0.50", "100%", "0%", "0"] in rows
    assert ["10", "10", "0.50", "90%", "20%", "1"] in rows
    text = " ".join(ran.out.split())
    assert "2 of 42 answers are degenerate; the paper's rule calls 1 of them coherent." in text
    assert "4 of the paper's" not in text
    assert "whatever the model does" in text


def test_models_come_in_blocks_and_together_at_the_end(run: Run, tmp_path: Path) -> None:
    other = samples_of({0.0: (0, 2), 5.0: (2, 2)}, model="[bold]o\x1b[31m", layer=1, scenario="Food")
    ran = run("audit", written(tmp_path / "g.jsonl", [*synthetic(), *other]))
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines.index("[bold]o␛[31m") < lines.index("tiny")
    assert "\x1b" not in ran.out
    all_of_them = next(line.split() for line in lines if line.startswith("all "))
    assert all_of_them[:3] == ["all", "9", "66.7%"]


def test_fields_of_other_names(run: Run, tmp_path: Path) -> None:
    called = {"model": "name", "layer": "block", "scenario": "prompt", "alpha": "coefficient", "text": "output"}
    path = written(tmp_path / "g.jsonl", synthetic(), **called)
    options = [part for field, name in called.items() for part in (f"--{field}-field", name)]
    assert figures(run, path, *options)["models"]["tiny"]["success"]["paper"]["share"] == 0.625
    ran = run("audit", path)
    assert ran.status == 2
    assert "line 1: no field 'alpha'; it has name, block, prompt, coefficient, output" in ran.err
    assert "--alpha-field" in ran.err


def test_other_concepts_and_lists_of_users(run: Run, tmp_path: Path) -> None:
    samples = [Sample("m", 1, "s", 0, "Perhaps."), Sample("m", 1, "s", 5, "Definitely.")]
    path = written(tmp_path / "g.jsonl", samples)
    (tmp_path / "words.json").write_text('{"positive": ["perhaps"], "negative": ["definitely"]}')
    assert figures(run, path)["models"]["m"]["success"]["strict"]["share"] == 0
    assert figures(run, path, "--concept", "certainty")["models"]["m"]["success"]["strict"]["share"] == 1
    theirs = figures(run, path, "--word-lists", tmp_path / "words.json")
    assert theirs["models"]["m"]["response"]["slope"]["value"] == pytest.approx(-0.2)
    assert theirs["concept"] is None
    assert theirs["word_lists"] == {"positive": ["perhaps"], "negative": ["definitely"]}


def test_stdin(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = written(tmp_path / "g.jsonl", synthetic()).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert figures(run, "-")["totals"]["success"]["cells"] == 8


def test_a_torn_last_line_is_said_and_the_rest_counts(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "g.jsonl", synthetic(), rest='{"model": "tiny", "lay')
    ran = run("audit", path, "--json")
    assert ran.status == 0
    assert json.loads(ran.out)["totals"]["samples"] == 40
    assert ran.err == f"warning: {path}, line 41: the last line is incomplete and was ignored\n"


def test_a_model_without_steered_answers_is_said(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "g.jsonl", [*synthetic(), Sample("plain", 1, "Food", 0, "Hello.")])
    ran = run("audit", path, "--json")
    assert list(json.loads(ran.out)["models"]) == ["tiny"]
    assert ran.err == "warning: plain has only unsteered answers (alpha 0) and was left out\n"


GOOD = '{"model": "m", "layer": 1, "scenario": "s", "alpha": 0, "text": ""}\n'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "holds no samples: write one JSON object per line"),
        ('{"model"', "holds no samples but an incomplete line"),
        (GOOD + "{\n" + GOOD, "line 2: not JSON"),
        (GOOD + '{"model": "m", "layer": 1, "scenario": "s", "alpha": 5}\n', "line 2: no field 'text'; it has model"),
        (GOOD.replace("0,", '"0",'), "line 1: alpha is '0', not a number"),
        (GOOD, "no sample has an alpha other than 0"),
        (GOOD.replace("0,", "5,"), "no baseline (alpha 0) for model 'm', layer 1, scenario 's'"),
        (
            GOOD + GOOD.replace("0,", "5,").replace('"s"', '"t"'),
            "no baseline (alpha 0) for model 'm', layer 1, scenario",
        ),
        (None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(run: Run, tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "g.jsonl").write_text(content)
    ran = run("audit", tmp_path / "g.jsonl")
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert ran.err.startswith("localprobe: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--concept", "honesty"), "no set of word lists is named 'honesty': there are certainty, empathy, "),
        (("--word-lists", "none.json"), "cannot read none.json: No such file"),
        (("--concept", "empathy", "--word-lists", "none.json"), "--concept and --word-lists both name word lists"),
    ],
)
def test_word_lists_that_are_not_there(run: Run, tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    ran = run("audit", written(tmp_path / "g.jsonl", synthetic()), *options)
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
