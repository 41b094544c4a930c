"""Figures are SVG that stands in a page, with the right words in it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from localprobe.report import steering_figures as figures
from localprobe.report.section import Figure
from localprobe.report.steering_arms import Arms, every
from tests.report.sweeps import CARING, LOOP, At, sweep

pytestmark = pytest.mark.slow  # draws every figure


def writes(at: At) -> str:
    if at.dose == -0.4:
        return LOOP
    return CARING if at.scenario == "rain" else at.share(0.5 + (0.5 if at.dose > 0 else 0))


def found(**options: Any) -> list[Arms]:
    return every(sweep(writes, **{"samples": 2, "arms": ("vector", "random"), "doses": (-0.4, 0.0, 0.4), **options}))


def words(figure: Figure | None) -> str:
    """The text in a figure that is well-formed XML."""
    assert figure is not None
    root = ElementTree.fromstring(figure.svg)
    assert root.tag.endswith("svg")
    return "\n".join(text.strip() for text in root.itertext() if text.strip())


def test_dose_response_has_a_panel_for_each_layer_and_scenario() -> None:
    (arms,) = found()
    figure = figures.dose_response(arms)
    said = words(figure)
    for wanted in ("The Bus", "The Rain", "The Dog", "layer 1", "layer 2", "dose", "vector", "random directions"):
        assert wanted in said
    assert "degenerate" in said  # the crosses at -0.4
    assert figure is not None
    assert "Alpha is the dose times 10 at layer 1, 10 at layer 2." in figure.caption
    assert "the paper's Figures 6 and 9" in figure.caption


def test_crosses_only_where_answers_are_degenerate() -> None:
    (arms,) = found(doses=(-0.2, 0.0, 0.2))
    assert "degenerate" not in words(figures.dose_response(arms))


def test_conditions_without_pressure_are_lines_of_their_own() -> None:
    (arms,) = found(prompts=[("bus", True), ("bus", False)])
    said = words(figures.dose_response(arms))
    assert "vector, no pressure" in said
    assert said.count("The Bus") == 1


def test_many_layers_and_prompts_are_left_to_the_tables() -> None:
    (arms,) = found(layers=range(1, 7), prompts=[(f"p{i}", True) for i in range(6)], samples=1, arms=("vector",))
    figure = figures.dose_response(arms)
    said = words(figure)
    assert "layer 1" in said
    assert "layer 6" in said
    assert "The P3" in said
    assert "The P4" not in said
    assert figure is not None
    assert "2 layers are in the tables only. 2 prompts are in the tables only." in figure.caption


def test_models_share_figure_6_and_one_model_has_none() -> None:
    several = found(models=[("a", "safety-trained"), ("b", "uncensored")])
    said = words(figures.models_dose_response(several))
    assert "a (safety-trained)" in said
    assert "b (uncensored)" in said
    assert "random directions" in said
    assert figures.models_dose_response(several[:1]) is None
    assert [each and each.wide for each in (figures.by_layer(several), figures.by_layer(several[:1]))] == [True, False]


def test_baselines_by_model_and_prompt() -> None:
    said = words(figures.baselines(found(models=[("a", ""), ("b", "")])))
    for wanted in ("The Bus", "The Rain", "a", "b", "share of unsteered answers in empathy language"):
        assert wanted in said.split("\n")


def test_by_scenario_marks_what_had_no_room() -> None:
    said = words(figures.by_scenario(found()))
    assert "The Rain" in said
    assert said.count("baseline 100%") == 1
    assert "paper's rule" in said
    assert "strict, with room" in said


def test_by_layer_sets_auroc_beside_success() -> None:
    said = words(figures.by_layer(found()))
    for wanted in ("AUROC", "success, strict", "success, paper's rule", "layer", "tiny"):
        assert wanted in said.split("\n")
    figure = figures.by_layer(found(auroc=(None, None)))
    assert figure is not None
    assert "AUROC" not in words(figure).split("\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"doses": (0.0, 0.2)},
        {"doses": (-0.4, 0.0)},
        {"layers": (1,)},
        {"prompts": [("bus", True)]},
        {"samples": 1},
        {"arms": ("vector",)},
        {"measured": False},
        {"unit": "alpha"},
    ],
)
def test_small_grids_can_be_drawn(options: dict[str, Any]) -> None:
    several = found(**options)
    for figure in (figures.dose_response(several[0]), figures.by_scenario(several), figures.by_layer(several)):
        assert "vector" in words(figure) or "tiny" in words(figure)


def test_no_vector_arm_draws_baselines_only() -> None:
    several = found(arms=("random",))
    assert figures.dose_response(several[0]) is None
    assert figures.by_scenario(several) is None
    assert figures.by_layer(several) is None
    assert "The Bus" in words(figures.baselines(several))


def test_the_same_result_is_drawn_alike() -> None:
    one, other = (figures.by_layer(found()) for _ in range(2))
    assert one == other
