"""`localprobe steer`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.cli.conftest import Run

FAKE = ("--model", "fake", "--engine", "fake")


def test_an_answer_is_streamed_with_its_strength_and_score(run: Run, vector_file: Path) -> None:
    ran = run("steer", vector_file, "Hello", "--dose", 0.25, *FAKE, "--tokens", 8)
    assert ran.status == 0
    assert "kindness at layer 2: dose +0.250 (alpha +" in ran.err
    assert "probe " in ran.err
    assert "tokens, " in ran.err
    assert ran.out.strip()


def test_json_tells_everything(run: Run, vector_file: Path) -> None:
    ran = run("steer", vector_file, "Hello", "--alpha", 3, "--layer", 4, *FAKE, "--tokens", 8, "--json", "--seed", 7)
    told = json.loads(ran.out)
    assert told["knobs"][0] | {"dose": None} == {
        "concept": "kindness",
        "layer": 4,
        "alpha": 3.0,
        "dose": None,
        "positions": "all",
    }
    assert told["knobs"][0]["dose"] > 0
    assert len(told["scores"]) == len(told["ids"])
    assert told["mean_score"] == pytest.approx(np.mean(told["scores"]))


def test_an_answer_that_the_model_ends_has_a_score_for_every_id(run: Run, vector_file: Path) -> None:
    ran = run("steer", vector_file, "Hello", "--alpha", 1, *FAKE, "--tokens", 400, "--json", "--temperature", 1.5)
    told = json.loads(ran.out)
    assert told["finished"] == "end"
    assert len(told["scores"]) == len(told["ids"]) > 0
    assert not set(told["ids"]) & {257, 259}


def test_it_is_the_answer_of_the_api(run: Run, vector_file: Path) -> None:
    told = json.loads(run("steer", vector_file, "Hello", "--dose", 0.2, *FAKE, "--json", "--seed", 7).out)
    answer = Model(FakeEngine()).answer("Hello", steer=vector_files.load(vector_file), dose=0.2, seed=7)
    assert (told["text"], told["ids"]) == (answer.text, answer.ids.tolist())
    assert told["scores"] == pytest.approx(answer.scores.tolist())


def test_without_a_model_the_vectors_own_is_loaded(run: Run, vector_file: Path) -> None:
    ran = run("steer", vector_file, "Hello", "--dose", 0.1, "--tokens", 2)
    assert ran.status == 0, ran.err
    assert "fake on fake]" in ran.err


def test_a_vectors_own_model_that_is_gone_is_one_line(run: Run, tmp_path: Path) -> None:
    lost = Vector("lost", Origin("/nowhere/model.gguf"), {0: Direction(np.ones(8, np.float32))}, 0)
    vector_files.save(lost, tmp_path / "v")
    ran = run("steer", tmp_path / "v", "Hello", "--dose", 0.1)
    assert ran.status == 2
    assert "there is no file or folder /nowhere/model.gguf; the vector says that it was fitted on it" in ran.err


def test_a_vector_of_other_residual_lengths_is_told_of(run: Run, tmp_path: Path) -> None:
    other = Vector("other", Origin("fake"), {0: Direction(np.ones(32, np.float32), scale=1e6)}, 0)
    vector_files.save(other, tmp_path / "v")
    ran = run("steer", tmp_path / "v", "Hello", "--dose", 0.1, *FAKE, "--tokens", 2)
    assert "warning: at layer 0 the residuals of this model have a median length of" in ran.err
    assert "records 1e+06: doses here are of the model's own length" in ran.err


def test_the_same_seed_gives_the_same_answer(run: Run, vector_file: Path) -> None:
    texts = [
        json.loads(run("steer", vector_file, "Hi", "--dose", 0.1, *FAKE, "--tokens", 8, "--json", "--seed", s).out)[
            "text"
        ]
        for s in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "give one strength, either --dose or --alpha"),
        (["--dose", "0.1", "--alpha", "1"], "either --dose or --alpha, not both"),
        (["--dose", "nan"], "strength nan is not a finite number"),
        (["--dose", "0.1", "--layer", "3"], "kindness has no direction at layer 3: it has layers 2, 4"),
        (["--dose", "0.1", "--context", "4"], "the prompt has"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    run: Run, vector_file: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], complaint: str
) -> None:
    monkeypatch.setattr("localprobe.capture.scale.residual_scale", lambda engine: pytest.fail("the scale was measured"))
    ran = run("steer", vector_file, "Hello", *FAKE, *args)
    assert ran.status == 2
    assert ran.out == ""
    assert complaint in ran.err


def test_a_prompt_that_is_too_long_is_refused_before_a_vector_is_fitted(run: Run) -> None:
    ran = run("steer", "empathy", "x" * 600, "--dose", 0.1, *FAKE)
    assert ran.status == 2
    assert "and fake holds 512: shorten it" in ran.err
    assert "fitting" not in ran.err


def test_an_empty_prompt_is_refused(run: Run, vector_file: Path) -> None:
    ran = run("steer", vector_file, "  ", "--dose", 0.1, *FAKE)
    assert ran.status == 2
    assert "the prompt is empty" in ran.err


def test_a_vector_of_another_width_is_refused(run: Run, tmp_path: Path) -> None:
    narrow = Vector("narrow", Origin("gpt2"), {0: Direction(np.ones(8, np.float32))}, 0)
    vector_files.save(narrow, tmp_path / "v")
    ran = run("steer", tmp_path / "v", "Hello", "--dose", 0.1, *FAKE)
    assert ran.status == 2
    assert "width 8, but fake has 32: it was made for gpt2" in ran.err


def test_a_vector_of_another_model_is_a_warning(run: Run, tmp_path: Path) -> None:
    other = Vector("other", Origin("gpt2"), {0: Direction(np.ones(32, np.float32))}, 0)
    vector_files.save(other, tmp_path / "v")
    ran = run("steer", tmp_path / "v", "Hello", "--dose", 0.1, *FAKE, "--tokens", 2)
    assert ran.status == 0
    assert "warning: vector 'other' was made for gpt2, not for fake" in ran.err


def test_ctrl_c_keeps_what_was_said(run: Run, vector_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe.generation.decode import Decoding

    steps = Decoding.step

    def interrupted(self: Decoding):  # type: ignore[no-untyped-def]
        if len(self.answer()) == 4:
            raise KeyboardInterrupt
        return steps(self)

    monkeypatch.setattr(Decoding, "step", interrupted)
    ran = run("steer", vector_file, "Hello", "--dose", 0.1, *FAKE, "--temperature", 0)
    assert ran.out.strip()
    assert "4 tokens" in ran.err
    assert "stopped" in ran.err
