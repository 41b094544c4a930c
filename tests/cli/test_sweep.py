"""`localprobe sweep`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localprobe.experiments.cells import Cells
from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment
from localprobe.model import Model
from localprobe.store.runs import Runs
from tests.cli.conftest import Run

TOML = """
doses = [-0.5, 0, 0.5]
layers = [2]
arms = ["vector", "system"]
samples = 2
tokens = 8
[[models]]
name = "fake"
[[vectors]]
file = "kindness.safetensors"
[[prompts]]
id = "hello"
text = "Hello"
"""


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    yield tmp_path / "data"


@pytest.fixture
def toml(vector_file: Path) -> Path:
    path = vector_file.with_name("small.toml")
    path.write_text(TOML)
    return path


def test_a_sweep_prints_its_dose_response_and_where_its_run_is(run: Run, toml: Path) -> None:
    ran = run("sweep", toml)
    assert ran.status == 0
    assert "small: 10 of 10 cells" in ran.out
    assert "kindness at layer 2" in ran.out
    assert "What does it do that a prompt does not?" in ran.out
    assert "by the paper's rule" in ran.out
    found = Runs().get("last")
    assert f"run {found.id}: localprobe report {found.id}" in ran.err


def test_ablations_and_expressions_are_printed_and_exported(run: Run, toml: Path) -> None:
    more = """
        arms = ["vector", "ablate", "random-ablate"]
        shares = [0.5, 1.0]
        steering = ["cap kindness [-1, 2]"]
        """
    toml.write_text(more + TOML.replace('arms = ["vector", "system"]\n', ""))
    ran = run("sweep", toml)
    assert "small: 16 of 16 cells" in ran.out
    assert "kindness: its direction of layer 2 ablated at every layer" in ran.out
    assert "random ablated, share 1" in ran.out
    assert "ablating it and ablating random directions" in ran.out
    assert "Steering expressions" in ran.out
    assert "cap kindness [-1, 2]" in ran.out
    exported = [json.loads(line) for line in run("runs", "export", "last", "--arm", "steering").out.splitlines()]
    assert {(line["arm"], line["steering"], line["alpha"]) for line in exported} == {
        ("baseline", "", 0.0),
        ("steering", "cap kindness [-1, 2]", None),
    }


def test_json_is_the_result(run: Run, toml: Path) -> None:
    told = json.loads(run("sweep", toml, "--json").out)
    assert told == {"run": told["run"], **Runs().get(told["run"]).result}
    assert told["cells"] == {"expected": 10, "done": 10, "measured": 10, "judged": 0}
    (series,) = told["models"][0]["series"]
    assert [point["dose"] for point in series["curves"][0]["points"]] == [-0.5, 0.0, 0.5]


def test_init_writes_a_commented_experiment_that_can_be_read(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    ran = run("sweep", path, "--init")
    assert f"wrote {path}; next: localprobe sweep {path} --dry-run" in ran.out
    assert read_experiment(path).models[0].name == "smollm2-135m"
    assert path.read_text().count("#") > 20
    again = run("sweep", path, "--init")
    assert again.status == 2
    assert "exists already: give another name" in again.err


def test_a_dry_run_counts_and_says_where_its_rate_is_from(run: Run, toml: Path) -> None:
    ran = run("sweep", toml, "--dry-run")
    assert "fake: 10 cells; at most 80 tokens to generate, about " in ran.out
    assert "(measured just now)" in ran.out
    assert Runs().all() == []
    run("sweep", toml)
    after = run("sweep", toml, "--dry-run")
    assert "10 cells, 10 of them done; at most 0 tokens" in after.out
    assert f"(the rate of run {Runs().get('last').id})" in after.out
    told = json.loads(run("sweep", toml, "--dry-run", "--json").out)
    assert (told["cells"], told["models"][0]["done"], told["seconds"]) == (10, 10, 0)


def test_shards_into_stores_of_their_own_are_joined(run: Run, toml: Path, tmp_path: Path) -> None:
    stores = [tmp_path / f"{i}.sqlite" for i in (1, 2)]
    for i, store in enumerate(stores, 1):
        ran = run("sweep", toml, "--shard", f"{i}/2", "--store", store)
        assert "are not yet generated" in ran.out
    joined = tmp_path / "joined.sqlite"
    ran = run("runs", "merge", *stores, "-o", joined)
    assert "10 of 10 cells" in ran.out
    whole = json.loads(run("sweep", toml, "--json").out)
    told = json.loads(run("runs", "show", "last", "--store", joined, "--json").out)
    assert told["result"]["models"][0]["series"] == whole["models"][0]["series"]


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(run: Run, toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, writes = Cells.write, []

    def interrupted(self: Cells, answers: list[object]) -> int:
        if writes:
            raise KeyboardInterrupt
        writes.append(answers)
        return write(self, answers)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Cells, "write", interrupted)
        ran = run("sweep", toml, "--rows", 2)
    assert ran.status == 130
    name = Runs().get("last").id
    assert ran.err == (f"localprobe: stopped; finished answers are in run {name}: re-run the command to resume it\n")
    done = Runs().get("last").result["cells"]["done"]
    assert 0 < done < 10
    assert json.loads(run("sweep", toml, "--json").out)["cells"]["done"] == 10


def test_without_models_a_vectors_own_model_is_steered(run: Run, toml: Path) -> None:
    toml.write_text(TOML.replace('[[models]]\nname = "fake"\n', ""))
    assert "small: 10 of 10 cells" in run("sweep", toml).out
    assert Runs().get("last").about["models"][0]["model"] == "fake"


def test_a_vector_of_another_model_is_refused_before_anything_is_loaded(
    run: Run, toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text(TOML.replace('"fake"', '"qwen2.5-7b"'))
    monkeypatch.setattr(Model, "load", None)
    for options in ((), ("--dry-run",)):
        ran = run("sweep", toml, *options)
        assert ran.status == 2
        assert "vector 'kindness' has width 32, but qwen2.5-7b has 3584: it was made for fake" in ran.err


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[-0.5, 0, 0.5]", "[-0.5, 0.5]", "`doses` have no 0: every effect is measured against unsteered answers"),
        ("[[prompts]]", 'scenarios = ["gone"]\n[[prompts]]', "unknown key 'scenarios'"),
        ('id = "hello"', "", "prompts 1: id is missing"),
        ('"fake"', '"fakes"', "no model is named 'fakes' (did you mean 'fake'?)"),
        ("layers = [2]", "layers = [9]", "layers: 9 is out of range: fake has layers 0 to 5"),
        ("layers = [2]", "layers = [3]", "kindness has no direction at layer 3: it has layers 2, 4"),
        ('text = "Hello"', f'text = "{"Hello " * 200}"', "tokens, and fake holds 512"),
        ("kindness.safetensors", "gone.safetensors", "vectors 1: file: cannot read"),
    ],
)
def test_bad_input_is_one_line(run: Run, toml: Path, old: str, new: str, complaint: str) -> None:
    toml.write_text(TOML.replace(old, new))
    ran = run("sweep", toml)
    assert ran.status == 2
    assert ran.out == ""
    assert complaint in ran.err
    assert ran.err.count("\n") == 1


def test_an_unknown_scenario_lists_those_that_ship(run: Run, toml: Path) -> None:
    toml.write_text('scenarios = ["the_listner"]\n' + TOML)
    ran = run("sweep", toml)
    assert ran.status == 2
    assert "no scenario is named 'the_listner' (did you mean 'the_listener'?): there are food_delivery" in ran.err


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(run: Run, toml: Path, shard: str) -> None:
    ran = run("sweep", toml, "--shard", shard)
    assert ran.status == 2
    assert "write part i of n as 1/3, 2/3 or 3/3" in ran.err


def test_no_experiment_is_a_usage_error(run: Run) -> None:
    ran = run("sweep")
    assert ran.status == 2
    assert "name an experiment" in ran.err


def test_a_store_of_a_newer_localprobe_is_left_alone(run: Run, toml: Path, tmp_path: Path) -> None:
    import sqlite3

    store = tmp_path / "newer.sqlite"
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA user_version = 99")
    ran = run("sweep", toml, "--store", store)
    assert ran.status == 2
    assert "newer localprobe" in ran.err


def test_experiments_that_ship_have_names(run: Run) -> None:
    ran = run("sweep", "no_such")
    assert ran.status == 2
    assert "no experiment is named 'no_such'" in ran.err
    assert EXPERIMENTS.path("laptop").is_file()
