"""Several models on the same pairs, on the fake engine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.chat_template import Marked
from localprobe.contrast.pairs import Pair
from localprobe.contrast.rated import Rated
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.detection import Comparison, Detection, compare, detect, paper_layers, rated_behaviour
from localprobe.probing.report import ProbeReport
from localprobe.store.json_values import from_json, to_json

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)
RATED = [Rated(f"{'SOME' if i % 3 else 'some'} rated text {i}", i % 3, "a", f"r{i}") for i in range(12)]


def renamed(detected: tuple[ProbeReport, Detection], **changes: str) -> tuple[ProbeReport, Detection]:
    """The same as if another model had given it."""
    report, detection = detected
    on = replace(detection.measured_on, **changes)
    return report, replace(detection, probe=replace(detection.probe, measured_on=on))


def test_two_loads_of_one_model_are_compared_direction_by_direction(shouting: list[Pair]) -> None:
    one = detect(Model(FakeEngine()), shouting, QUICK, concept="shouting")
    two = detect(Model(FakeEngine(seed=1)), shouting, QUICK, concept="shouting")
    (same,) = compare("shouting", QUICK, [one, one]).agreement
    assert same.models == ("fake (fake)", "fake (fake)")
    assert same.layers == (one[0].layer, one[0].layer)
    assert same.directions == pytest.approx([1] * 6)
    assert same.scores.pearson.value == pytest.approx(1)
    (different,) = compare("shouting", QUICK, [one, renamed(two, model="another")]).agreement
    assert different.directions is None
    assert different.scores.within_poles.value is not None
    assert different.scores.within_poles.value < 1


def test_a_comparison_reads_back_from_its_json(shouting: list[Pair]) -> None:
    models = [
        detect(Model(FakeEngine()), shouting, QUICK, concept="shouting", label=label, rated=rated)
        for label, rated in (("tame", RATED), ("wild", []))
    ]
    comparison = compare("shouting", QUICK, models, pairs="shouting.jsonl")
    assert [model.titled for model in comparison.models] == ["fake (fake), tame", "fake (fake), wild"]
    assert comparison.models[0].behaviour is not None
    assert comparison.models[1].behaviour is None
    assert from_json(Comparison, to_json(comparison)) == comparison


def test_rated_texts_are_scored_at_the_probes_own_layer_and_threshold(shouting: list[Pair]) -> None:
    model = Model(FakeEngine())
    report, detection = detect(model, shouting, QUICK, concept="shouting", rated=RATED)
    rated = detection.behaviour
    assert rated is not None
    assert (rated.layer, rated.n) == (report.layer, 12)
    assert rated.threshold == report.vector.directions[report.layer].threshold
    assert [(point.id, point.rating) for point in rated.points] == [(text.id, text.score) for text in RATED]
    assert rated_behaviour(model, report.vector, RATED) == rated


def test_special_tokens_of_rated_texts_are_read_as_the_probe_reads_them(shouting: list[Pair]) -> None:
    marked = [replace(text, text=f"<|im_start|>user\n{text.text}<|im_end|>") for text in RATED]
    config = replace(QUICK, special_tokens=True)
    model = Model(FakeEngine())
    report, detection = detect(model, shouting, config, concept="shouting", rated=marked)
    assert detection.behaviour is not None
    first = model.pooled([Marked(marked[0].text)], [report.layer], config.pooling)[0, 0]
    score = float(first @ report.vector.directions[report.layer].vector)
    assert detection.behaviour.points[0].score == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(32, [8, 12, 16, 20, 24, 28]), (28, [8, 12, 16, 20, 24]), (30, [8, 12, 16, 20, 24, 28]), (12, [3, 4, 6, 7, 9])],
)
def test_the_papers_layers_or_the_same_depths(depth: int, layers: list[int]) -> None:
    assert paper_layers(depth, range(depth)) == layers


def test_only_layers_that_were_captured_are_the_papers() -> None:
    assert paper_layers(32, [4, 8, 16]) == [8, 16]
