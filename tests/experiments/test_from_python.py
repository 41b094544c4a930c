"""Sweeps over a model and a vector in memory: recorded, resumable, and named by what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from localprobe.cli.sweep_table import show
from localprobe.engine import Sampler
from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.experiments.cells import CellAnswer, Cells
from localprobe.experiments.experiment import PromptChoice
from localprobe.experiments.from_python import sweep
from localprobe.experiments.sweep_report import SweepReport
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.report import write
from localprobe.store.runs import Runs
from localprobe.vectors.vector import Direction, Origin, Vector

HELLO = "Hello, what now?"


@pytest.fixture
def model() -> Iterator[Model]:
    with Model(FakeEngine()) as model:
        yield model


def vector(concept: str = "empathy", seed: int = 0, width: int = 32) -> Vector:
    random = np.random.default_rng(seed)
    directions = {layer: Direction(random.standard_normal(width).astype(np.float32)) for layer in (2, 3)}
    return Vector(concept, Origin("fake"), directions, 2)


def small(model: Model, steers: Any, runs: Runs, **options: Any) -> SweepReport:
    """One prompt at three doses, two answers each."""
    given = {"prompts": [HELLO], "doses": [0.5, 0, -0.5], "samples": 2, "tokens": 8, "runs": runs, **options}
    return sweep(model, steers, **given)


def texts(report: SweepReport) -> dict[str, str]:
    return {answer["key"]: answer["text"] for answer in report.answers()}


def test_the_model_that_is_given_is_steered_and_stays_open(model: Model, runs: Runs) -> None:
    report = small(model, vector(), runs)
    assert repr(report) == f"<SweepReport 'empathy' on fake: 6 of 6 answers, run {report.run}>"
    (series,) = report.result.models[0].series
    assert [(point.dose, point.samples) for point in series.curves[0].points] == [(-0.5, 2), (0.0, 2), (0.5, 2)]
    assert series.layers[0].layer == 2
    assert {answer["scenario"] for answer in report.answers()} == {HELLO}
    assert model.answer(HELLO, tokens=3).text


def test_it_is_recorded_as_the_sweeps_of_the_command_line_are(model: Model, runs: Runs, tmp_path: Any) -> None:
    report = small(model, vector(), runs)
    run = runs.get("last")
    assert (run.id, run.kind, run.name) == (report.run, "sweep", "empathy: fake on fake")
    write([run], tmp_path / "report.html")
    assert HELLO in (tmp_path / "report.html").read_text()


def test_the_same_call_generates_nothing_twice(model: Model, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = small(model, vector(), runs)
    monkeypatch.setattr(FakeEngine, "open", None)
    again = small(model, vector(), runs, doses=np.array([-0.5, -0.0, 0.5]))
    assert again.run == first.run
    assert texts(again) == texts(first)


def test_ctrl_c_keeps_what_is_done_and_the_same_call_resumes(
    model: Model, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cells = Cells.write
    whole = texts(small(model, vector(), Runs(runs.path.with_name("whole.sqlite")), samples=10))

    def interrupted(self: Cells, answers: list[CellAnswer]) -> int:
        write_cells(self, answers)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Cells, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            small(model, vector(), runs, samples=10)
    assert 0 < runs.get("last").result["cells"]["done"] < 30
    assert texts(small(model, vector(), runs, samples=10)) == whole


def test_another_vector_of_the_same_name_is_another_run_with_answers_of_its_own(model: Model, runs: Runs) -> None:
    one, other = small(model, vector(), runs), small(model, vector(seed=1), runs)
    assert one.run != other.run
    assert len(texts(one).keys() & texts(other).keys()) == 2  # the unsteered ones


def test_prompts_are_texts_scenarios_or_choices(model: Model, runs: Runs) -> None:
    raw = PromptChoice("start", "Start", "Once upon a time", raw=True)
    report = small(model, vector(), runs, prompts=[HELLO, raw])
    assert {answer["scenario"] for answer in report.answers()} == {HELLO, "start"}
    with pytest.raises(UsageError, match=r"prompt the_listener: .* tokens, and fake holds 512"):
        small(model, vector(), runs, prompts=["the_listener"])


def test_layers_are_numbers_depths_or_the_vectors_own(model: Model, runs: Runs) -> None:
    report = small(model, vector(), runs, layers=["best", 0.6], alphas=[0, 5], doses=None)
    assert [at.layer for at in report.result.models[0].series[0].layers] == [2, 3]
    assert report.result.unit == "alpha"
    assert small(model, vector(), runs, layers=3).result.models[0].series[0].layers[0].layer == 3


def test_every_arm_can_be_asked_for(model: Model, runs: Runs) -> None:
    report = small(model, vector(), runs, arms=["system", "vector", "random"])
    assert report.result.arms == ("vector", "random", "system")
    assert report.result.models[0].prompts[0].positive is not None


def test_without_word_lists_nothing_is_counted_and_the_rest_is_measured(
    model: Model, runs: Runs, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = small(model, vector("patience"), runs)
    assert report.result.counted is False
    assert report.result.models[0].series == ()
    answers = report.answers()
    assert {answer["expresses"] for answer in answers} == {None}
    assert all(answer["readings"] and answer["nll"] is not None for answer in answers)
    page = write([runs.get("last")], tmp_path / "report.html") or (tmp_path / "report.html").read_text()
    assert "No word lists of &#39;patience&#39;" in page
    show(runs.get("last"))
    assert "No word lists of 'patience'" in capsys.readouterr().out
    counted = small(model, vector("patience"), runs, concept="empathy", name="patience")
    assert counted.result.counted
    assert counted.result.models[0].series


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"doses": None}, "give either `doses` or `alphas`, such as"),
        ({"alphas": [0, 1]}, "give `doses` or `alphas`, not both"),
        ({"doses": [-0.5, 0.5]}, "`doses` have no 0: every effect is measured against unsteered answers; add 0"),
        ({"doses": [0, float("inf")]}, "`doses` are [0.0, inf]: give finite numbers"),
        ({"prompts": []}, "`prompts` is empty"),
        ({"prompts": [" "]}, "`prompts` holds an empty text"),
        ({"prompts": [HELLO, HELLO]}, "`prompts` holds 'Hello, what now?' twice"),
        ({"prompts": ["the_listner"]}, "no scenario 'the_listner': did you mean 'the_listener'?"),
        ({"samples": 0}, "`samples` must be at least 1, not 0"),
        ({"tokens": 0}, "`tokens` must be at least 1, not 0"),
        ({"positions": "answer"}, "'answer' names no positions: choose all, prompt, response"),
        ({"arms": []}, "`arms` is empty: choose of vector, random, system, both"),
        ({"arms": ["vectors"]}, "`arms` is vectors: choose of"),
        ({"layers": 9}, "layers: 9 is out of range: fake has layers 0 to 5"),
    ],
)
def test_a_wrong_argument_is_one_line(model: Model, runs: Runs, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalprobeError) as error:
        small(model, vector(), runs, **options)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_a_vector_of_another_model_is_refused(model: Model, runs: Runs) -> None:
    with pytest.raises(VectorError, match="has width 8, but fake has 32: it was made for other"):
        small(model, replace(vector(width=8), origin=Origin("other")), runs)


def test_how_a_model_draws_its_tokens_is_part_of_what_is_asked(model: Model, runs: Runs) -> None:
    one, other = (small(model, vector(), runs, sampler=Sampler(temperature=each)) for each in (0.7, 1.0))
    assert one.run != other.run
