"""The judge: what it is asked, how its reply is read, and that nothing is judged twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from localprobe.errors import LocalprobeError
from localprobe.experiments import judge, sweep
from localprobe.experiments.cells import Cells
from localprobe.experiments.experiment import Experiment
from localprobe.experiments.experiment_file import read_experiment
from localprobe.generators.generator import Completion, TextRequest
from localprobe.store.runs import Runs
from tests.experiments.conftest import Write, loaded


class Judge:
    """Says a score for each ask; fails when it is told to."""

    name, in_memory = "judge", False

    def __init__(self, replies: Sequence[str], fail_after: int = 1000) -> None:
        self.replies, self.fail_after = replies, fail_after
        self.asks: list[TextRequest] = []

    def ready(self) -> None: ...

    def rest(self) -> None: ...

    def provenance(self) -> dict[str, Any]:
        return {}

    def answer(self, asks: Sequence[TextRequest]) -> list[Completion]:
        if len(self.asks) >= self.fail_after:
            raise LocalprobeError("judge: cannot connect")
        self.asks += asks
        return [Completion(self.replies[len(self.asks) % len(self.replies)], "stop", "qwen") for _ in asks]


@pytest.fixture
def judged(write: Write, tmp_path: Any) -> Experiment:
    (tmp_path / "mine.json").write_text(
        '[{"id": "queue", "situation": "You queue.", "rubric": {"0": "pushes", "1": "waits", "2": "lets pass"}}]'
    )
    path = write('scenarios = ["mine.json"]')
    path.write_text(path.read_text() + '\n[judge]\ngenerator = "ollama:qwen"\n')
    return read_experiment(path)


def use(monkeypatch: pytest.MonkeyPatch, one: Judge) -> Judge:
    monkeypatch.setattr(judge, "generators", lambda *_, **__: [one])
    return one


def test_answers_are_judged_by_their_rubric(judged: Experiment, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = use(monkeypatch, Judge(["2\nIt lets her pass.", "Score: 1", "I cannot say", "7"]))
    run = sweep.run(judged, runs, load=loaded)
    answers = [each for each in Cells(runs, run.id).read() if each.judgement]
    assert {answer.cell.scenario for answer in answers} == {"queue"}  # the other prompts have no rubric
    assert len(answers) == 10
    assert {answer.judgement.score for answer in answers if answer.judgement} <= {0, 1, 2, None}
    assert {1, 2, None} <= {answer.judgement.score for answer in answers if answer.judgement}
    ask = asked.asks[0]
    assert "You queue." in ask.prompt
    assert "2: lets pass" in ask.prompt
    assert ask.temperature == 0
    curve = next(c for c in run.result["models"][0]["series"][0]["curves"] if c["scenario"] == "queue")
    assert any(point["judge"] for point in curve["points"])


def test_a_judge_that_fails_loses_nothing_and_is_asked_for_the_rest_later(
    judged: Experiment, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = use(monkeypatch, Judge(["2"], fail_after=3))
    with pytest.raises(LocalprobeError, match="cannot connect"):
        sweep.run(judged, runs, load=loaded)
    assert runs.get(judged.run).result["cells"]["judged"] >= 3
    second = use(monkeypatch, Judge(["2"]))
    assert sweep.run(judged, runs, load=loaded).result["cells"]["judged"] == 10
    assert len(first.asks) + len(second.asks) <= 10


def test_an_empty_answer_gets_the_lowest_score_unasked(judged: Experiment) -> None:
    one = Judge(["2"])
    prompt = next(prompt for prompt in judged.prompts if prompt.rubric)
    assert judge._judged(one, prompt, "  \n").score == 0
    assert one.asks == []
