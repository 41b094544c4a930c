"""Experiments in TOML: what they may say, and that every mistake is one line with its key."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from localprobe.contrast.scenarios import scenario
from localprobe.engine import Sampler
from localprobe.errors import DataError, LocalprobeError
from localprobe.experiments.experiment import Strengths, vector_hash
from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment
from localprobe.experiments.grid import count
from localprobe.vectors import files
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.experiments.conftest import Write


def test_what_is_left_out_has_a_usual_value(write: Write) -> None:
    found = read_experiment(write(without="samples = 2"))
    assert found.strengths == Strengths("dose", (-0.5, 0.0, 0.5))
    assert (found.name, found.concept, found.samples, found.positions, found.seed) == (
        "experiment",
        "empathy",
        5,
        "all",
        0,
    )
    assert found.arms == ("vector",)
    assert found.sampler == Sampler(temperature=0.7)
    assert "help" in found.words.positive


def test_a_scenario_is_asked_with_and_without_its_pressure(write: Write) -> None:
    found = read_experiment(write('scenarios = ["the_listener"]', "empathy_pressure = [false, true]"))
    with_it, without = found.prompts[:2]
    assert with_it.text == scenario("the_listener").prompt()
    assert without.text == scenario("the_listener").prompt(empathy_pressure=False)
    assert (with_it.pressure, without.pressure) == (True, False)
    assert set(with_it.rubric) == {"0", "1", "2"}


def test_scenarios_of_a_file_stand_beside_those_that_ship(write: Write, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text('[{"id": "queue", "situation": "You stand in a queue."}]')
    found = read_experiment(write('scenarios = ["the_maze", "mine.json"]', "empathy_pressure = [true, false]"))
    # One without pressure is asked once: there is nothing to leave out.
    assert [(each.id, each.pressure) for each in found.prompts[:3]] == [
        ("the_maze", True),
        ("the_maze", False),
        ("queue", True),
    ]
    assert found.prompts[2].text == "You stand in a queue."


def test_a_model_may_have_strengths_and_layers_of_its_own(write: Write) -> None:
    path = write(without='name = "fake"')
    path.write_text(
        path.read_text().replace("[[models]]", '[[models]]\nname = "fake"\nalphas = [0, 3]\nlayers = "best"')
    )
    (model,) = read_experiment(path).models
    assert model.strengths == Strengths("alpha", (0.0, 3.0))
    assert model.layers == ("best",)


@pytest.mark.parametrize(
    ("table", "line", "complaint"),
    [
        ("models", 'template_args = ["thinking"]', "models 1: template_args: template argument 'thinking': write NAME"),
        ("vectors", 'pooling = "answer"\nspecial_tokens = true', "vectors 1: special_tokens: `special_tokens` is for"),
    ],
)
def test_a_mistake_in_a_table_names_the_table(write: Write, table: str, line: str, complaint: str) -> None:
    path = write()
    path.write_text(path.read_text().replace(f"[[{table}]]", f"[[{table}]]\n{line}"))
    with pytest.raises(DataError, match=re.escape(f"{path}, {complaint}")):
        read_experiment(path)


def test_a_run_is_named_by_what_is_asked_and_not_by_where_its_files_lie(write: Write, tmp_path: Path) -> None:
    path = write()
    here = read_experiment(path)
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("experiment.toml", "pairs.jsonl"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    assert read_experiment(other / "experiment.toml").run == here.run
    with (other / "pairs.jsonl").open("a") as file:
        file.write('{"positive": "a b", "negative": "c d"}\n')
    assert read_experiment(other / "experiment.toml").run != here.run
    assert read_experiment(write("seed = 1")).run != here.run
    assert read_experiment(write("measures = false")).run == here.run


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["doses = [-0.5, 0.5]"], "`doses` have no 0: every effect is measured against unsteered answers; add 0"),
        (["doses = []"], "doses: [] is not a list with something in it"),
        (["doses = [0, nan]"], "`doses` are [0.0, nan]: give finite numbers"),
        (['doses = [0, "1"]'], "doses: '1' is not a number"),
        (["doses = [0, 1e999]"], "doses"),
        (["samples = 1" + "0" * 12], "samples: 1000000000000 is not a whole number of 1 or more, at most 1000000"),
        (["seed = 1" + "0" * 30], "seed: 1" + "0" * 30 + " is no number that can be used"),
        (['word_lists = "~nobody-of-that-name/words.json"'], "No such file or directory"),
        (['word_lists = "../word_lists/empathy"'], "cannot read"),
        (['concept = "../word_lists/empathy"'], "no set of word lists is named '../word_lists/empathy'"),
        (["alphas = [0, 1]"], "give `doses` or `alphas`, not both"),
        (["layers = [2.5]"], "layers: 2.5 is not a layer: write 12, a depth between 0.0 and 1.0"),
        (['layers = "middle"'], "layers: 'middle' is not a layer"),
        (['arms = ["vectors"]'], "arms: 'vectors' is not one of both, random, system, vector"),
        (["samples = 0"], "samples: 0 is not a whole number of 1 or more"),
        (["samples = true"], "samples: True is not a whole number"),
        (["tokens = 1.5"], "tokens: 1.5 is not a whole number"),
        (
            ['positions = "answer"'],
            "positions: \"answer\": column 1: 'answer' names no positions: choose all, prompt, response",
        ),
        (
            ['scenarios = ["the_listner"]'],
            "scenarios: no scenario is named 'the_listner' (did you mean 'the_listener'?): there are food_delivery",
        ),
        (['scenarios = ["gone.json"]'], "cannot read"),
        (['scenarios = ["the_maze", "the_maze"]'], "scenarios: two prompts have the id 'the_maze'"),
        (["empathy_pressure = [1]"], "empathy_pressure: 1 is not true or false"),
        (["empathy_pressure = true"], "empathy_pressure: True is not a list: [true], [false] or [true, false]"),
        (["judge = 3"], "judge: 3 is not a table"),
        (["seed = 2026-11-01"], "seed: datetime.date(2026, 11, 1) is not a whole number of 0 or more"),
        (["temperature = 0.7"], "unknown key 'temperature': it may be one of"),
        (["dose = [0]"], "unknown key 'dose': did you mean 'doses'? It may be one of"),
        (['concept = "joy"'], "no set of word lists is named 'joy'"),
        (['word_lists = "gone.json"'], "cannot read"),
        (['arms = ["system"]', 'system_prompts = "gone.json"'], "cannot read"),
        (["measures = 1"], "measures: 1 is not true or false"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(write: Write, lines: list[str], complaint: str) -> None:
    with pytest.raises(LocalprobeError, match=re.escape(complaint)) as error:
        read_experiment(write(*lines))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "fake"', "", "models 1: name is missing"),
        ('name = "fake"', 'name = "fake"\n[[models]]\nname = "fake"', "models: fake is listed twice"),
        ('name = "fake"', 'name = "fake"\nlabel = 3', "models 1: label: 3 is not a text"),
        ('name = "fake"', 'name = " "', "models 1: name: ' ' is not a text"),
        ('name = "fake"', 'name = "fake"\ndoses = [1]', "models 1: `doses` have no 0: every effect is measured"),
        ('name = "fake"', 'name = "fake"\nthread = 3', "unknown key 'thread': did you mean 'threads'?"),
        ('[[models]]\nname = "fake"', "", "models: missing: name at least one"),
        ('fit = "pairs.jsonl"', "", "vectors 1: give `file` (a vector) or `fit` (pairs to fit one on)"),
        ('fit = "pairs.jsonl"', 'file = "gone"', "vectors 1: file: cannot read"),
        ('fit = "pairs.jsonl"', 'fit = "empathi"', "no contrast set is named 'empathi' (did you mean 'empathy'?)"),
        (
            'fit = "pairs.jsonl"',
            'fit = "pairs.jsonl"\nmodels = ["qwen"]',
            "models: 'qwen' is not a model of this experiment",
        ),
        (
            'fit = "pairs.jsonl"',
            'fit = "pairs.jsonl"\nmethod = "svm"',
            "vectors 1: method: 'svm' is not one of lda, logistic, mean-difference, pca",
        ),
        ('[[vectors]]\nfit = "pairs.jsonl"\nname = "kindness"', "", "vectors: missing: name at least one"),
        ('id = "raw"', 'id = "hello"', "two prompts have the id 'hello'"),
        ("raw = true", 'raw = "yes"', "prompts 2: raw: 'yes' is not true or false"),
        (
            "raw = true",
            "raw = true\n[judge]\ngenerator = 'ollama:x'",
            "judge: no scenario here has a rubric to judge by",
        ),
        (
            "raw = true",
            "raw = true\n[sampling]\ntop_p = 2",
            "[sampling]: top_p: 2 is not a number of 1e-06 or more, at most 1",
        ),
        ("samples = 2", "samples = ", "is not TOML: Invalid value"),
    ],
)
def test_a_mistake_in_a_table_says_which(write: Write, old: str, new: str, complaint: str) -> None:
    path = write()
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LocalprobeError, match=re.escape(complaint)) as error:
        read_experiment(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LocalprobeError, match=r"cannot read .*gone\.toml: No such file"):
        read_experiment(tmp_path / "gone.toml")


def test_system_prompts_alone_need_neither_vectors_nor_doses(write: Write) -> None:
    path = write('arms = ["system"]', without="doses = [-0.5, 0, 0.5]")
    text = path.read_text()
    path.write_text(text[: text.index("[[vectors]]")] + text[text.index("[[prompts]]") :])
    found = read_experiment(path)
    assert found.system is not None
    assert count(found) == [2 * 2 * 3]
    path.write_text(path.read_text().replace('["system"]', '["vector"]'))
    with pytest.raises(LocalprobeError, match="doses: missing: give strengths"):
        read_experiment(path)


def test_without_models_each_vector_goes_with_the_model_that_it_was_made_for(write: Write, tmp_path: Path) -> None:
    for model in ("fake", "smollm2-135m"):
        directions = {2: Direction(np.ones(32, np.float32))}
        files.save(Vector("kindness", Origin(model), directions, 2), tmp_path / f"{model}.safetensors")
    path = write()
    text = path.read_text().replace('[[models]]\nname = "fake"\n', "")
    path.write_text(
        text.replace(
            'fit = "pairs.jsonl"\nname = "kindness"',
            'file = "smollm2-135m.safetensors"\n[[vectors]]\nfile = "fake.safetensors"',
        )
    )
    found = read_experiment(path)
    assert [model.name for model in found.models] == ["smollm2-135m", "fake"]
    assert [each.models for each in found.vectors] == [("smollm2-135m",), ("fake",)]


def test_the_grid_of_the_paper_ships() -> None:
    found = read_experiment(EXPERIMENTS.path("paper"))
    cells = {}
    for model in found.models:
        strengths, layers = model.strengths or found.strengths, model.layers or found.layers
        cells[model.name] = (len(strengths.values) - 1) * len(layers) * 3
    assert cells == {"qwen2.5-7b": 72, "dolphin-llama3.1-8b": 54, "phi-3-mini": 120}
    assert (found.samples, found.tokens, found.sampler.temperature) == (5, 200, 0.7)


def test_the_laptop_experiment_ships_and_is_small() -> None:
    found = read_experiment(EXPERIMENTS.path("laptop"))
    assert len(found.prompts) == 3
    assert len(found.layers) == 2
    assert len(found.strengths.values) == 7
    assert (found.samples, found.tokens) == (5, 80)
    assert sum(count(found)) <= 250


def test_a_name_that_does_not_ship_lists_those_that_do() -> None:
    with pytest.raises(
        LocalprobeError, match="no experiment is named 'big': there are laptop, paper, reproduce; or give a file"
    ):
        EXPERIMENTS.path("big")


def test_a_probe_is_part_of_what_names_a_vector() -> None:
    row = np.arange(1, 5, dtype=np.float32)
    plain, read = (Vector("x", Origin("fake"), {1: Direction(row, probe=probe)}, 1) for probe in (None, row))
    assert vector_hash(plain) != vector_hash(read)
