"""`localprobe steer`."""

from __future__ import annotations

import json
import warnings
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
        "operator": "add",
        "steering": "",
        "layers": [4],
        "gates": [],
    }
    assert told["gates"] == told["alerts"] == []
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
        ([], "give one strength, either --dose or --alpha\n"),
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


def test_an_expression_stands_for_vector_and_strength(run: Run, vector_file: Path) -> None:
    by_options = json.loads(
        run("steer", vector_file, "Hello", "--dose", 0.2, *FAKE, "--json", "--positions", "response").out
    )
    by_words = json.loads(run("steer", f'0.2 "{vector_file}" response', "Hello", *FAKE, "--json").out)
    assert by_words["ids"] == by_options["ids"]
    assert (
        by_words["knobs"][0]["steering"] == f'0.2 "{vector_file}" response' or "/" in by_words["knobs"][0]["steering"]
    )
    repeated = json.loads(run("steer", "Hello", "--steer", f'0.2 "{vector_file}" response', *FAKE, "--json").out)
    assert repeated["ids"] == by_options["ids"]


def test_an_ablation_acts_at_every_layer_and_is_described(run: Run, vector_file: Path) -> None:
    ran = run("steer", f'ablate 0.5 "{vector_file}"', "Hello", *FAKE, "--tokens", 4)
    assert "kindness at layers 0 to 5: 50 % ablated, its direction at layer 2, positions all" in ran.err
    capped = run("steer", f'cap "{vector_file}" [-1, 2] @4 last 2', "Hello", *FAKE, "--tokens", 4)
    assert "kindness at layer 4: held within [-1, 2], positions last 2" in capped.err


def test_gates_and_alerts_are_told_with_their_tokens(run: Run, vector_file: Path) -> None:
    expression = f'0.3 "{vector_file}" when "{vector_file}" > 0 until -1'
    told = json.loads(
        run("steer", expression, "Hello", *FAKE, "--tokens", 40, "--watch", f'"{vector_file}" > 0.5', "--json").out
    )
    assert [gate["open"] for gate in told["gates"]] == [number % 2 == 0 for number in range(len(told["gates"]))]
    assert told["gates"]
    assert all(alert["score"] > 0.5 for alert in told["alerts"])
    assert told["alerts"]
    shown = run("steer", expression, "Hello", *FAKE, "--tokens", 40, "--watch", f'"{vector_file}" > 0.5').err
    assert f"[from token {told['gates'][0]['token']}: when " in shown
    assert "fires (+" in shown


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("ablate nosuch", "column 8: no vector 'nosuch'"),
        ("0.2 FILE @9", "column 5: layer 9 is out of range: fake has layers 0 to 5"),
        ("cap FILE [2, 1]", "no score is from 2 to 1: write the lower bound first"),
        ("1e999 FILE", "column 1: "),
        ("0.2 FILE when OTHER > 1", "was made for gone, not for fake: its scores mean nothing here"),
        ("0.2 FILE when FILE > fpr 0.01", "has no threshold for fpr 0.01 at layer 2: run localprobe calibrate"),
        ('0.2 FILE on "cat"', "the prompt does not contain 'cat'"),
    ],
)
def test_a_fault_in_an_expression_is_one_line(
    run: Run, vector_file: Path, tmp_path: Path, expression: str, complaint: str
) -> None:
    other = Vector("other", Origin("gone", "0" * 64), {0: Direction(np.ones(32, np.float32))}, 0)
    vector_files.save(other, tmp_path / "other")
    text = expression.replace("FILE", f'"{vector_file}"').replace("OTHER", f'"{tmp_path / "other"}"')
    if "column" in complaint:  # columns count in what was written
        complaint = complaint.split(": ", 1)[1] or ""
    ran = run("steer", text, "Hello", *FAKE, "--tokens", 2)
    assert ran.status == 2
    assert complaint in ran.err
    assert "localprobe: " in ran.err.splitlines()[-1]


def test_options_of_a_vector_do_not_go_with_an_expression(run: Run, vector_file: Path) -> None:
    ran = run("steer", f'0.2 "{vector_file}"', "Hello", *FAKE, "--layer", 3)
    assert (ran.status, "--layer is for a vector: write it into the steering expression" in ran.err) == (2, True)
    assert "give what to steer with, and a prompt" in run("steer", vector_file, *FAKE).err


def test_generate_answers_unsteered_and_watches(run: Run, vector_file: Path) -> None:
    told = json.loads(run("generate", "Hello", *FAKE, "--json", "--seed", 3).out)
    assert told["ids"] == Model(FakeEngine()).answer("Hello", seed=3).ids.tolist()
    assert (told["knobs"], told["scores"], told["alerts"]) == ([], None, [])
    watched = json.loads(run("generate", "Hello", *FAKE, "--json", "--seed", 3, "--watch", f'"{vector_file}" < 0').out)
    assert watched["ids"] == told["ids"]
    assert [alert["token"] for alert in watched["alerts"]] == [
        i for i, score in enumerate(watched["scores"]) if score < 0
    ]


def test_an_argument_may_begin_with_a_negative_number(run: Run, vector_file: Path) -> None:
    ran = run("steer", f"-.1 {vector_file}", "-5 degrees is cold", *FAKE, "--tokens", 4, "--json")
    told = json.loads(ran.out)
    assert told["prompt"] == "-5 degrees is cold"
    assert told["knobs"][0]["dose"] == pytest.approx(-0.1)
    ran = run("generate", "-5 degrees", "--steer", f"-0.1 {vector_file}", *FAKE, "--tokens", 4, "--json")
    assert (json.loads(ran.out)["prompt"], ran.status) == ("-5 degrees", 0)


def test_positions_that_a_prompt_lacks_are_told_of(run: Run, vector_file: Path) -> None:
    ran = run("generate", "Hello", "--steer", f"0.2 {vector_file} positions 900:910", *FAKE, "--tokens", 4)
    assert "warning: positions 900:910 hold no token of a prompt of " in ran.err
    assert "), positions 900:910, fake on fake]" in ran.err


@pytest.mark.parametrize("expression", ["# a comment\n0.2 FILE", "Ablate FILE"])
def test_what_begins_as_an_expression_is_read_as_one(run: Run, vector_file: Path, expression: str) -> None:
    ran = run("steer", expression.replace("FILE", f'"{vector_file}"'), "Hello", *FAKE, "--tokens", 2)
    assert "strength" not in ran.err
    assert ran.status == 0 or "column 1: 'Ablate' begins no term" in ran.err


@pytest.mark.parametrize("expression", ["alpha 1e300 FILE", "ablate FILE to 1e39"])
def test_a_strength_beyond_float32_is_one_line(run: Run, vector_file: Path, expression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        ran = run("steer", expression.replace("FILE", f'"{vector_file}"'), "Hello", *FAKE, "--tokens", 2)
    assert ran.status == 2
    assert ran.err.splitlines()[-1].startswith("localprobe: the ")
