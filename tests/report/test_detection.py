"""Reports of probes: what stands on the page for each kind of run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe import report
from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.contrast.rated import Rated
from localprobe.errors import DataError, UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.detection import Comparison, RatedProbe, Ratings, compare, detect
from localprobe.report import detection
from localprobe.report.section import Section
from localprobe.store.json_values import to_json
from localprobe.store.runs import Run
from localprobe.vectors.vector import Origin

pytestmark = pytest.mark.slow  # each test makes whole pages

CONFIG = ProbeConfig(pooling="mean", resamples=100, permutations=20, random_directions=20)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Two loads of the fake model, labelled, on texts that shout; one against ratings too."""
    pairs = [
        replace(pair, positive=pair.positive[:40].upper(), negative=pair.negative[:40].lower())
        for pair in read_pairs(PAIR_SETS.path("empathy"))[::3]
    ]
    rated = [Rated(f"{'SOME' if i % 3 else 'some'} rated text {i}", i % 3, "a", f"r{i}") for i in range(12)]
    models = [
        detect(Model(FakeEngine(seed=seed)), pairs, CONFIG, concept="empathy", label=label, rated=texts)
        for seed, label, texts in ((0, "tame", rated), (1, "wild", []))
    ]
    return compare("empathy", CONFIG, models, pairs="mine.jsonl")


def run(kind: str, result: object) -> Run:
    about = {"command": "localprobe ...", "hashes": {"pairs mine.jsonl": "abc"}}
    return Run("abcd1234", kind, "empathy on fake (fake)", "2026-01-01T00:00:00+00:00", about, to_json(result))


def lines(section: Section) -> dict[str, tuple[str, ...]]:
    return {title: tuple(texts) for title, texts in section.lists}


def test_several_models_stand_side_by_side_before_each_of_them(comparison: Comparison) -> None:
    together, rated, first, second = report.sections(run("compare", comparison))
    assert lines(together) == {model.label: (f"fake (fake): {model.probe.verdict}",) for model in comparison.models}
    assert [table.title.split(".")[0] for table in together.tables] == ["Table 2", "Agreement of scores"]
    assert rated.title == "Rated behaviour"
    assert [section.title for section in (first, second)] == ["empathy in fake (fake)"] * 2


def test_the_verdict_of_a_model_comes_first_with_what_it_was_measured_by(comparison: Comparison) -> None:
    probe = comparison.models[0].probe
    assert probe.validation is not None and probe.verdict is not None
    section = detection.one(probe, "fake")
    assert section.headline == probe.verdict.headline
    told = lines(section)
    assert told["It shows"] == probe.verdict.shows
    assert told["It does not show"] == probe.verdict.does_not_show
    assert told["Method"][0] == f"mean-difference, fitted on {probe.train_pairs} pairs, measured on 6 others."
    assert f"p = {probe.validation.permutation.p:.2g}" in told["Method"][1]
    assert "mean-without-first" in told["Method"][2]  # which the paper's pooling is set against
    assert [figure.name.split("-fake")[0] for figure in section.figures] == [
        *("figure-1", "scores", "figure-2", "figure-3"),
    ]


def test_table_1_has_the_papers_depths_and_both_choices_of_a_layer(comparison: Comparison) -> None:
    probe = comparison.models[0].probe
    layers = sorted({1, 2, 3, 4, probe.layer, probe.best.layer})
    section = detection.one(probe, "fake")
    assert [str(row[0]).rstrip("*+") for row in section.tables[0].rows] == [str(layer) for layer in layers]
    assert len(section.details[0].rows) == 6
    assert {str(row[0]) for row in section.details[0].rows if "*" in str(row[0])} == {
        f"{probe.layer}*{'+' if probe.layer == probe.best.layer else ''}"
    }


def test_of_arrays_every_layer_is_shown_and_no_baseline_of_texts(comparison: Comparison) -> None:
    whole = comparison.models[0].probe
    assert whole.validation is not None
    validation = replace(whole.validation, baselines=None, lexical=None, neutral=None)
    probe = replace(whole, measured_on=None, origin=Origin(""), validation=validation)
    section = detection.one(probe, "arrays")
    assert len(section.tables[0].rows) == 6
    assert "baselines-arrays" not in [table.name for table in section.tables]
    assert report.page([run("validate", probe)])


@pytest.mark.parametrize("kind", ["validate", "compare", "correlate", "reproduce"])
def test_each_kind_of_run_makes_a_page_that_says_how_to_repeat_it(comparison: Comparison, kind: str) -> None:
    model = comparison.models[0]
    assert model.behaviour is not None
    rated = RatedProbe("empathy on fake (fake)", "p.safetensors", model.measured_on, model.behaviour)
    results: dict[str, tuple[object, int]] = {
        "validate": (model.probe, 1),
        "compare": (comparison, 2),
        "correlate": (Ratings("rated.jsonl", (rated,)), 1),
        "reproduce": ({"ratings": "rated.jsonl", "detection": to_json(comparison)}, 2),
    }
    result, loads = results[kind]
    page = report.page([run(kind, result)])
    assert page.count("<dt>weights of fake</dt>") == loads
    assert f"{model.measured_on.weights} (fake, cpu, float32; numpy" in page
    assert "<dt>SHA-256 of pairs mine.jsonl</dt>" in page


def test_a_run_that_has_nothing_to_show_or_cannot_be_read_is_named(comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="run abcd1234 is a fit: a report shows validate"):
        report.sections(run("fit", comparison.models[0].probe))
    with pytest.raises(DataError, match="cannot show run abcd1234"):
        report.sections(run("compare", {"models": []}))
