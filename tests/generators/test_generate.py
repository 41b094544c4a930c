"""Generating pairs: rotation, provenance, refusals, and going on after a stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localprobe.contrast.pairs import prompt_of, read_pairs
from localprobe.contrast.scenarios import Scenario
from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, SystemPrompts, read_system_prompts
from localprobe.errors import DataError, LocalprobeError, UsageError
from localprobe.fake import FakeEngine
from localprobe.generators.generate import GeneratedPair, Generation, Recipe, planned_pairs
from localprobe.generators.generator import Completion, LocalModel, TextRequest
from localprobe.model import Model
from localprobe.version import __version__
from tests.generators.openai_server import serving, story

PROMPTS = SystemPrompts("Care.", "Win.", "Write it.")
SCENARIOS = tuple(Scenario(name, "", f"At the {name}.", "", "", "And?", {}) for name in ("bus", "dog", "gate"))


class Scripted:
    """A generator that answers by a function, and counts."""

    def __init__(self, name: str = "scripted", reply: Any = None, *, in_memory: bool = False) -> None:
        self.name, self.in_memory = name, in_memory
        self.reply = reply or (lambda ask: f"{ask.system} I look at what there is and do it, number {ask.seed}.")
        self.asks: list[TextRequest] = []
        self.rests = 0

    def ready(self) -> None:
        pass

    def answer(self, asks: Sequence[TextRequest]) -> list[Completion]:
        self.asks += asks
        return [Completion(self.reply(ask), "stop", "m", 10) for ask in asks]

    def provenance(self) -> dict[str, Any]:
        return {"where": "here"}

    def rest(self) -> None:
        self.rests += 1


def recipe(runs: int = 2, **how: Any) -> Recipe:
    return Recipe(**{"scenarios": SCENARIOS, "prompts": PROMPTS, "runs": runs, **how})


def run(output: Path, *generators: Any, of: Recipe | None = None, **how: Any) -> list[GeneratedPair]:
    with Generation(of or recipe(), generators, output, notify=quiet, **how) as generation:
        return list(generation)


def quiet(line: str) -> None:
    """Tell nobody."""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_generators_take_turns_over_scenarios_and_runs() -> None:
    a, b = Scripted("a"), Scripted("b")
    made = [(cell.run, cell.scenario, cell.generator.name) for cell in planned_pairs(recipe(), [a, b])]
    assert made == [
        (0, "bus", "a"),
        (0, "dog", "b"),
        (0, "gate", "a"),
        (1, "bus", "b"),
        (1, "dog", "a"),
        (1, "gate", "b"),
    ]


def test_local_models_come_last_one_after_another(tmp_path: Path) -> None:
    a, b, c = Scripted("a", in_memory=True), Scripted("b"), Scripted("c", in_memory=True)
    names = [cell.generator.name for cell in planned_pairs(recipe(4), [a, b, c])]
    assert names == ["b"] * 4 + ["a"] * 4 + ["c"] * 4
    run(tmp_path / "out.jsonl", a, b, c)
    assert (a.rests, b.rests, c.rests) == (2, 1, 1)  # a rests before c begins, and all at the end


def test_a_line_has_the_pair_and_where_it_comes_from(tmp_path: Path) -> None:
    generator = Scripted()
    run(tmp_path / "out.jsonl", generator, of=recipe(1, scenarios=SCENARIOS[:1], seed=3, temperature=0.9, tokens=50))
    [line] = lines(tmp_path / "out.jsonl")
    positive, negative = generator.asks
    assert (positive.system, negative.system) == ("Care.", "Win.")
    assert positive.prompt == negative.prompt == "At the bus. And?\n\nWrite it."
    assert (positive.temperature, positive.tokens) == (0.9, 50)
    assert line["positive"] == f"Care. I look at what there is and do it, number {positive.seed}."
    assert line["negative"].startswith("Win. ")
    expected = {
        "scenario": "bus",
        "generator": "scripted",
        "model": "m",
        "where": "here",
        "run": 0,
        "system_prompts": PROMPTS.hash,
        "prompt": positive.prompt,
        "temperature": 0.9,
        "tokens": 50,
        "seed": 3,
        "seeds": {"positive": positive.seed, "negative": negative.seed},
        "finish": {"positive": "stop", "negative": "stop"},
        "faults": [],
        "localprobe": __version__,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["started"] <= line["finished"]
    [pair] = read_pairs(tmp_path / "out.jsonl")
    assert (pair.scenario, pair.metadata["generator"]) == ("bus", "scripted")
    assert prompt_of(pair) == positive.prompt  # what pooling `answer` reads the texts as answers to


def test_a_pair_of_a_domain_belongs_to_that_and_names_its_situation(tmp_path: Path) -> None:
    scenarios = [replace(scenario, domain="town") for scenario in SCENARIOS]
    run(tmp_path / "out.jsonl", Scripted(), of=recipe(1, scenarios=scenarios, most=2))
    made = [(line["scenario"], line["situation"], line["id"][:4]) for line in lines(tmp_path / "out.jsonl")]
    assert made == [("town", "bus", "bus-"), ("town", "dog", "dog-")]


def test_a_model_that_is_lent_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(FakeEngine(context=4096))
    closed: list[Model] = []
    monkeypatch.setattr(Model, "close", closed.append)
    generator = LocalModel.of(model)
    generator.ready()
    [completion] = generator.answer([TextRequest("Care.", "At the bus.", 1, tokens=5)])
    generator.rest()
    assert (generator.name, completion.model, closed) == ("local:fake@fake", "fake", [])


def test_what_the_file_holds_is_not_asked_again(tmp_path: Path) -> None:
    output, generator = tmp_path / "out.jsonl", Scripted()
    run(output, generator)
    whole = output.read_bytes()
    again = Scripted()
    assert run(output, again) == []
    assert again.asks == []
    assert output.read_bytes() == whole
    more = run(output, again, of=recipe(3))
    assert [outcome.record["run"] for outcome in more] == [2, 2, 2]
    assert output.read_bytes().startswith(whole)


def test_other_settings_are_other_pairs(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    run(output, Scripted(), of=recipe(1))
    for other in (
        recipe(1, seed=1),
        recipe(1, temperature=0.1),
        recipe(1, tokens=9),
        recipe(1, prompts=SystemPrompts("Care!", "Win.", "Write it.")),
        recipe(1, scenarios=[Scenario("bus", "", "At another bus.", "", "", "", {})]),
    ):
        with Generation(other, [Scripted()], output) as generation:
            assert (len(generation.pending), generation.already) == (len(other.scenarios), 0)
            assert generation.others == 3


def test_refusals_are_asked_again_with_another_seed_and_only_for_that_pole(tmp_path: Path) -> None:
    def reply(ask: TextRequest) -> str:
        if ask.system == "Win." and len([a for a in generator.asks if a.system == "Win."]) < 3:
            return "I'm sorry, but I can't help with that."
        return f"{ask.system} I look at what there is and do what I think of it, {ask.seed}."

    generator = Scripted(reply=reply)
    [outcome] = run(tmp_path / "out.jsonl", generator, of=recipe(1, scenarios=SCENARIOS[:1]))
    assert outcome.accepted
    assert [ask.system for ask in generator.asks] == ["Care.", "Win.", "Win.", "Win."]
    seeds = [ask.seed for ask in generator.asks]
    assert len(set(seeds)) == 4
    [line] = lines(tmp_path / "out.jsonl")
    assert line["seeds"] == {"positive": seeds[0], "negative": seeds[3]}
    assert line["faults"] == [{"pole": "negative", "seed": seed, "why": "a refusal"} for seed in seeds[1:3]]
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()


def test_what_stays_refused_goes_to_a_side_file_and_is_not_asked_again(tmp_path: Path) -> None:
    output, side = tmp_path / "out.jsonl", tmp_path / "out.jsonl.rejected.jsonl"

    def reply(ask: TextRequest) -> str:
        return (
            ""
            if "dog" in ask.prompt and ask.system == "Care."
            else f"{ask.system} I do what there is to do here and now, {ask.seed}."
        )

    done = run(output, Scripted(reply=reply), of=recipe(1), retries=3)
    assert [outcome.accepted for outcome in done] == [True, False, True]
    assert [line["scenario"] for line in lines(output)] == ["bus", "gate"]
    [rejected] = lines(side)
    assert rejected["scenario"] == "dog"
    assert [(each["pole"], each["why"], each["text"]) for each in rejected["faults"]] == [("positive", "empty", "")] * 4
    assert "positive" not in rejected
    with Generation(recipe(1), [again := Scripted()], output, notify=quiet) as generation:
        assert (generation.already, generation.refused_before) == (2, 1)
        assert list(generation) == []
    side.unlink()
    assert len(run(output, again, of=recipe(1))) == 1


def test_at_temperature_0_another_seed_is_not_tried(tmp_path: Path) -> None:
    generator = Scripted(reply=lambda ask: "")
    run(tmp_path / "out.jsonl", generator, of=recipe(1, scenarios=SCENARIOS[:1], temperature=0.0), retries=5)
    assert len(generator.asks) == 2


def test_poles_that_come_out_the_same_are_no_pair(tmp_path: Path) -> None:
    generator = Scripted(reply=lambda ask: "I do what there is to do and I go on, whoever asks.")
    [outcome] = run(tmp_path / "out.jsonl", generator, of=recipe(1, scenarios=SCENARIOS[:1]))
    assert {each["why"] for each in outcome.record["faults"]} == {"the same text"}
    assert not (tmp_path / "out.jsonl").exists()


def test_an_error_loses_the_pair_in_flight_and_no_more(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"

    def reply(ask: TextRequest) -> str:
        if len(generator.asks) > 6:
            raise LocalprobeError("the server has gone")
        return f"{ask.system} I do what there is to do and I go on, {ask.seed}."

    generator = Scripted(reply=reply)
    with pytest.raises(LocalprobeError, match="gone"):
        run(output, generator)
    assert len(lines(output)) == 3
    torn = output.read_bytes()
    output.write_bytes(torn[:-40])  # as if the third line had been cut by a crash as well
    told: list[str] = []
    with Generation(recipe(), [again := Scripted()], output, notify=told.append) as generation:
        assert (generation.already, len(generation.pending)) == (2, 4)
        assert len(list(generation)) == 4
    assert "incomplete" in told[0]
    run(tmp_path / "whole.jsonl", Scripted())
    assert {line["key"] for line in lines(output)} == {line["key"] for line in lines(tmp_path / "whole.jsonl")}
    # The pair that was lost is made from the same seeds as it would have been.
    assert again.asks[0].seed == lines(tmp_path / "whole.jsonl")[2]["seeds"]["positive"]


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with Generation(recipe(), [Scripted()], output), pytest.raises(LocalprobeError, match="another process is writing"):
        Generation(recipe(), [Scripted()], output)
    with Generation(recipe(), [Scripted()], output) as free:
        assert len(free.pending) == 6


def test_a_file_that_is_no_jsonl_stays_as_it_is(tmp_path: Path) -> None:
    output = tmp_path / "notes.txt"
    output.write_text("my notes")
    with pytest.raises(DataError, match="line 1: not JSON"):
        run(output, Scripted())
    assert output.read_text() == "my notes"


def test_killed_and_started_again(tmp_path: Path) -> None:
    """The real thing: a process that asks a real server is killed outright, and a second one goes on."""
    scenarios = tmp_path / "s.json"
    scenarios.write_text(json.dumps([{"id": f"s{i}", "situation": f"Situation {i}."} for i in range(8)]))
    output = tmp_path / "out.jsonl"

    def slowly(request: dict[str, Any]) -> Any:
        time.sleep(0.05)
        return story(request)

    with serving(slowly) as server:
        command = [
            sys.executable,
            "-c",
            "from localprobe.cli import main; main()",
            "data",
            "generate",
            "-o",
            str(output),
        ]
        command += ["-g", f"a@{server.url}", "-g", f"b@{server.url}", "--scenarios", str(scenarios), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        while not output.exists() or output.read_bytes().count(b"\n") < 3:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        safe = output.read_bytes()
        before = len(server.asked)
        told = subprocess.run(command, capture_output=True, check=True, timeout=120)
    report = json.loads(told.stdout)
    whole = safe[: safe.rfind(b"\n") + 1].count(b"\n")
    assert (report["already"], report["written"]) == (whole, 8 - whole)
    assert len(server.asked) - before == 2 * (8 - whole)
    assert sorted(line["scenario"] for line in lines(output)) == [f"s{i}" for i in range(8)]
    assert {line["generator"] for line in lines(output)} == {f"a@{server.url}", f"b@{server.url}"}


def test_a_local_model_on_an_engine_of_ours() -> None:
    generator = LocalModel("fake", "fake")
    generator.ready()
    asks = [
        TextRequest(system, "At the bus.", seed, 1.0, 20) for system, seed in (("Care.", 1), ("Win.", 2), ("Win.", 2))
    ]
    answers = generator.answer(asks)
    assert answers[1] == answers[2] != answers[0]
    assert (answers[0].model, answers[0].tokens, answers[0].finish) == ("fake", 20, "length")
    assert generator.answer(asks[2:]) == answers[2:]  # the same seed, in another batch
    assert generator.provenance()["engine"] == "fake"
    assert generator.name == "local:fake@fake"
    generator.rest()
    assert generator.answer(asks[:1]) == answers[:1]  # it loads again


def test_a_local_model_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    first = Scripted()
    with pytest.raises(LocalprobeError, match="no model is named 'nothere'"):
        run(tmp_path / "out.jsonl", first, LocalModel("nothere"))
    assert first.asks == []
    assert not (tmp_path / "out.jsonl").exists()


def test_a_base_model_cannot_be_told_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    engine.info = replace(engine.info, chat_template=None)
    monkeypatch.setattr(Model, "load", lambda *args, **how: Model(engine))
    with pytest.raises(UsageError, match="base model"):
        LocalModel("fake").answer([TextRequest("Care.", "At the bus.", 1)])


def test_system_prompts_that_ship_and_a_users_own(tmp_path: Path) -> None:
    ours = read_system_prompts(SYSTEM_PROMPTS.path("empathy"))
    assert abs(len(ours.positive.split()) - len(ours.negative.split())) <= 5
    path = tmp_path / "p.json"
    path.write_text('{"positive": " Be warm. ", "negative": "Be cold."}')
    assert read_system_prompts(path) == SystemPrompts("Be warm.", "Be cold.")
    assert read_system_prompts(path).hash != ours.hash
    for content, complaint in [
        ('{"positive": "a"}', "no text 'negative'; it has positive"),
        ('{"positive": "a", "negative": "a "}', "the same prompt"),
        ("[]", "a JSON list"),
        ("{", "not JSON"),
    ]:
        path.write_text(content)
        with pytest.raises(DataError, match=complaint):
            read_system_prompts(path)
