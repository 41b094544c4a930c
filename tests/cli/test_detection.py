"""`localprobe compare`, `correlate`, `reproduce` and `report`, on the fake engine."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from localprobe.cli.options import parsed
from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.engine import LoadOptions
from localprobe.errors import UsageError
from localprobe.probing.detection import Comparison
from localprobe.store.json_values import from_json
from localprobe.store.runs import Runs
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow

QUICK = ("--permutations", 20, "--resamples", 100)
TWO = ("fake@fake=safety-trained", "fake@fake=uncensored")
PAPER = (
    *("--positive-field", "empathic_text", "--negative-field", "non_empathic_text"),
    *("--scenario-field", "scenario_id"),
)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Somebody's pairs in the paper's field names, told apart by how they are written."""
    path = tmp_path / "theirs.jsonl"
    lines = []
    for pair in read_pairs(PAIR_SETS.path("empathy"))[::3]:
        texts = {"empathic_text": pair.positive[:60].upper(), "non_empathic_text": pair.negative[:60].lower()}
        lines.append(json.dumps({**texts, "scenario_id": pair.scenario}))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Texts that shout the more, the higher they are rated."""
    path = tmp_path / "rated.jsonl"
    lines = []
    for i in range(12):
        words = f"text number {i} of some that were rated by hand".split()
        loud = " ".join(word.upper() if j < 5 * (i % 3) else word for j, word in enumerate(words))
        lines.append(json.dumps({"text": loud, "score": i % 3, "scenario": "a"}))
    path.write_text("\n".join(lines))
    return path


def test_models_on_the_same_pairs_with_their_labels_and_how_far_they_agree(run: Run, theirs: Path) -> None:
    ran = run("compare", theirs, *TWO, *PAPER, *QUICK, "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    assert found["config"]["pooling"] == "mean-without-first"
    assert (found["config"]["permutations"], found["config"]["resamples"]) == (20, 100)
    assert [model["label"] for model in found["models"]] == ["safety-trained", "uncensored"]
    assert found["models"][0]["probe"]["layers"] == found["models"][1]["probe"]["layers"]
    (agreement,) = found["agreement"]
    assert agreement["scores"]["pearson"]["value"] == pytest.approx(1)
    assert agreement["scores"]["within_poles"]["value"] == pytest.approx(1)
    assert agreement["directions"] == pytest.approx([1] * 6)
    kept = Runs().get(found.pop("run"))
    assert (kept.kind, kept.result) == ("compare", found)


def test_an_explicit_test_file_is_what_is_measured_on(run: Run, theirs: Path, tmp_path: Path) -> None:
    lines = theirs.read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(lines[::2]))
    (tmp_path / "test.jsonl").write_text("\n".join(lines[1::2]))
    ran = run("compare", tmp_path / "train.jsonl", "fake", "--test", tmp_path / "test.jsonl", *PAPER, *QUICK, "--json")
    assert ran.status == 0, ran.err
    (found,) = json.loads(ran.out)["models"]
    assert (found["probe"]["train_pairs"], found["probe"]["test_pairs"]) == (10, 10)
    ran = run("compare", theirs, "fake", "--test", tmp_path / "test.jsonl", *PAPER, *QUICK)
    assert ran.status == 2
    assert "is a training pair too" in ran.err


def test_one_command_gives_the_papers_tables_figures_and_probes(
    run: Run, theirs: Path, rated: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ran = run("reproduce", *TWO, "--pairs", theirs, "--ratings", rated, *PAPER, *QUICK, "-o", out, "--steering", "none")
    assert ran.status == 0, ran.err
    page = (out / "report.html").read_text()
    for part in ("Table 1.", "Table 2.", "Table 3.", *(f"the paper&#39;s Figure {i}" for i in (1, 2, 4, 5))):
        assert part in page, part
    tables = {path.name.split("-", 1)[1] for path in (out / "tables").iterdir()}
    assert {"table-2.csv", "table-3.csv", "correlation.csv", "table-1-fake-fake.csv"} <= tables
    assert [path.name for path in (out / "probes").iterdir()] == ["fake-fake.safetensors"]
    (row, _) = csv.DictReader(next((out / "tables").glob("*-correlation.csv")).open())
    assert float(row["Pearson r low"]) <= float(row["Pearson r"]) <= float(row["Pearson r high"])
    assert "no relation" in ran.out or "r = " in ran.out


SMALL = """
doses = [-0.3, 0, 0.3]
layers = ["best"]
arms = ["vector", "system"]
samples = 2
tokens = 6
measures = false

[[models]]
name = "smollm2-135m"

[[vectors]]
fit = "empathy"

[[prompts]]
id = "door"
text = "What do you do?"
"""


def test_the_steering_half_goes_with_the_models_and_pairs_that_are_given(
    run: Run, theirs: Path, rated: Path, tmp_path: Path
) -> None:
    grid, prompts, out = tmp_path / "small.toml", tmp_path / "prompts.json", tmp_path / "out"
    grid.write_text(SMALL)
    prompts.write_text(json.dumps({"positive": "Be kind.", "negative": "Be quick."}))
    asked = ("--pairs", theirs, "--ratings", rated, "--steering", grid, "--system-prompts", prompts, "-o", out)
    ran = run("reproduce", "fake@fake=made up", *asked, *PAPER, *QUICK, "--pooling", "mean-without-first", "--json")
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)
    steering = found["steering"]
    assert steering["cells"]["done"] == steering["cells"]["expected"] == 2 * (1 + 2 + 2)
    (model,) = steering["models"]
    assert (model["model"], model["label"]) == ("fake", "made up")
    layer = model["series"][0]["layers"][0]["layer"]
    assert layer == found["detection"]["models"][0]["probe"]["layer"]  # the same probe, and the layer that it chose
    assert Runs().get(steering["run"]).about["experiment"]["system"]["positive"] == "Be kind."
    page = (out / "report.html").read_text()
    assert "Table 1." in page
    assert "Table 4." in page
    assert len(read_pairs(out / "pairs.jsonl")) == 20


def test_ratings_against_a_probe_of_its_own_model(run: Run, theirs: Path, rated: Path, tmp_path: Path) -> None:
    probe = tmp_path / "p.safetensors"
    run("fit", theirs, "-o", probe, *PAPER, "--model", "fake", "--concept", "shouting")
    ran = run("correlate", probe, "--ratings", rated, "--json")  # the model is the probe's own
    assert ran.status == 0, ran.err
    found = json.loads(ran.out)["models"][0]["behaviour"]
    assert found["n"] == 12
    assert found["pearson"]["value"] > 0.7
    assert found["binary"]["left_out"] == 4
    table = run("correlate", probe, "--ratings", rated)
    assert "shouting on fake" in table.out
    page = tmp_path / "page.html"
    assert run("report", "last", "-o", page).status == 0
    assert "Table 3." in page.read_text()
    assert "weights of fake" in page.read_text()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"text": "a", "score": 1}'] * 4, "all 4 ratings are 1: constants have no correlation"),
        (['{"text": "a", "score": 1}', '{"text": "b", "score": "high"}'], "line 2: score is 'high', not a number"),
        (['{"text": "a"}'], "line 1: no field 'score'; it has text"),
        (['{"text": "", "score": 1}'], "line 1: text is empty"),
        (['{"text": "a", "score": 1}', '{"text": "b"'], "line 2: not JSON"),
        ([""], "holds no rated texts"),
        (['{"text": "a", "score": 1}', '{"text": "b", "score": 2}'], "2 rated texts: a correlation takes at least 4"),
    ],
)
def test_ratings_that_cannot_be_used(run: Run, theirs: Path, tmp_path: Path, lines: list[str], says: str) -> None:
    probe, ratings = tmp_path / "p.safetensors", tmp_path / "r.jsonl"
    run("fit", theirs, "-o", probe, *PAPER, "--model", "fake")
    ratings.write_text("\n".join(lines))
    ran = run("correlate", probe, "--ratings", ratings)
    assert ran.status == 2
    assert says in ran.err
    assert ran.err.strip().count("\n") == 0


def test_a_report_of_several_runs_with_their_tables(run: Run, theirs: Path, tmp_path: Path) -> None:
    probe = tmp_path / "p.safetensors"
    run("fit", theirs, "-o", probe, *PAPER, "--model", "fake", "--concept", "<i>shouting</i>")
    validated = json.loads(run("validate", probe, theirs, *PAPER, *QUICK, "--json").out)
    compared = json.loads(run("compare", theirs, *TWO, *PAPER, *QUICK, "--json").out)
    page = tmp_path / "page.html"
    ran = run("report", validated["run"], compared["run"], "-o", page, "--csv", tmp_path / "tables")
    assert ran.status == 0, ran.err
    text = page.read_text()
    assert validated["validation"]["verdict"]["headline"].split(":")[0].replace("'", "&#39;") in text
    assert "localprobe validate" in text  # the command to repeat
    assert "<i>shouting" not in text  # what a user wrote is not read as HTML
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")
    assert text.count("weights of fake") == 3  # the validation's, and those of both models compared
    assert len(list((tmp_path / "tables").iterdir())) >= 8
    ran = run("report", validated["run"], "--json")
    assert json.loads(ran.out)[0]["result"]["layers"] == validated["layers"]


def test_a_run_that_is_not_there_or_has_nothing_to_show(run: Run, theirs: Path, tmp_path: Path) -> None:
    assert "no run 'zzzz'" in run("report", "zzzz").err
    fitted = json.loads(run("fit", theirs, "-o", tmp_path / "p", *PAPER, "--model", "fake", "--json").out)
    ran = run("report", fitted["run"], "-o", tmp_path / "page.html")
    assert ran.status == 2
    assert "is a fit: a report shows validate" in ran.err


def test_keywords_that_are_given_are_used_for_the_ablation(run: Run, theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("the\ta\n")
    ran = run("compare", theirs, "fake", "--keywords", tmp_path / "words.tsv", *PAPER, *QUICK, "--json")
    assert ran.status == 0, ran.err
    (model,) = json.loads(ran.out)["models"]
    assert model["probe"]["validation"]["lexical"]["keywords"] == 1
    assert json.loads(ran.out)["concept"] == "theirs"  # the file's name


def test_what_was_done_stays_when_a_later_model_fails(run: Run, theirs: Path) -> None:
    ran = run("compare", theirs, "fake", "no-such-model", *PAPER, *QUICK)
    assert ran.status == 2
    assert "no-such-model" in ran.err
    (model,) = from_json(Comparison, Runs().get("last").result).models
    assert model.name == "fake (fake)"


@pytest.mark.parametrize(
    ("text", "model", "engine", "label"),
    [
        ("smollm2-135m", "smollm2-135m", None, ""),
        ("smollm2-135m@llama", "smollm2-135m", "llama", ""),
        ("org/name:file.gguf@torch=safety-trained", "org/name:file.gguf", "torch", "safety-trained"),
        ("phi-3-mini=a b", "phi-3-mini", None, "a b"),
    ],
)
def test_a_model_with_its_engine_and_label(text: str, model: str, engine: str | None, label: str) -> None:
    found = parsed(text, None, LoadOptions())
    assert (found.chosen.name, found.chosen.engine, found.label) == (model, engine, label)


def test_a_file_with_signs_in_its_name_is_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "a=b@c.gguf"
    path.touch()
    assert parsed(str(path), "llama", LoadOptions()).chosen.name == str(path)
    with pytest.raises(UsageError, match="names no model"):
        parsed("=label", None, LoadOptions())
