"""What a report says of ablations and steering expressions: a difference only where its interval excludes 0."""

from __future__ import annotations

from typing import Any

import pytest

from localprobe.experiments.result import SweepResult
from localprobe.report import steering, steering_ablation_tables
from localprobe.report import steering_tables as tables
from localprobe.report.section import Section
from localprobe.report.steering_arms import Arms, every
from localprobe.report.steering_verdict import SteeringVerdict, steering_verdict
from localprobe.report.table import Measured, Table
from tests.report.sweeps import LOOP, STUTTER, At, Writes, sweep

pytestmark = pytest.mark.slow  # resamples a whole sweep for each sentence

BOTH = ("vector", "random", "ablate", "random-ablate")
EXPRESSION = "ablate care to mean; cap care [-1, fpr 0.05]"
WORDS = "the share of answers in empathy language"


def specific(at: At) -> str:
    """The direction's ablation takes the share from 80 % to 20 %; random ones leave it."""
    return at.share(0.8 - 0.6 * at.ablated if at.arm == "ablate" else 0.8)


def alike(at: At) -> str:
    return at.share(0.8 - 0.6 * at.ablated)


def random_does_more(at: At) -> str:
    return at.share(0.8 - 0.6 * at.ablated if at.arm == "random-ablate" else 0.8)


def nothing(at: At) -> str:
    return at.share(0.5)


def breaks_at_all(at: At) -> str:
    return STUTTER if at.ablated == 1 else at.share(0.5)


def expression_works(at: At) -> str:
    return LOOP if at.steering and at.sample == 0 else at.share(0.1 if at.steering else 0.8)


def arms_of(writes: Writes, **options: Any) -> Arms:
    (found,) = every(sweep(writes, **{"arms": BOTH, **options}))
    return found


def verdict(writes: Writes, **options: Any) -> SteeringVerdict:
    return steering_verdict(arms_of(writes, **options))


def column(table: Table, name: str) -> list[Any]:
    at = table.columns.index(name)
    return [row[at].value if isinstance(row[at], Measured) else row[at] for row in table.rows]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("writes", "sentence"),
    [
        (specific, "It changes the answers more than ablating random directions does (-60 points"),
        (alike, "No difference is shown between ablating it and ablating random directions (+0 points"),
        (nothing, "No difference is shown between ablating it and ablating random directions (+0 points"),
        (random_does_more, "Ablating random directions changes the answers more than ablating it (+60 points"),
    ],
)
def test_whether_it_does_more_than_random_directions(writes: Writes, sentence: str) -> None:
    assert verdict(writes).ablation[1].startswith(sentence)


def test_without_random_directions_nothing_is_claimed() -> None:
    assert "no random direction was ablated beside it" in verdict(specific, arms=("ablate",)).ablation[1]


@pytest.mark.parametrize(
    ("writes", "sentence"),
    [
        (specific, f"Ablating the direction at every layer lowers {WORDS}: it goes from 80% to 20% (-60 points"),
        (nothing, f"Ablating the direction at every layer is not shown to change {WORDS}: it goes from 50% to 50%"),
    ],
)
def test_what_an_ablation_changes(writes: Writes, sentence: str) -> None:
    assert verdict(writes).ablation[0].startswith(sentence)


def test_a_part_of_the_direction_is_called_a_part() -> None:
    found = verdict(specific, shares=(0.25, 0.5)).ablation
    assert found[0].startswith("Ablating 50% of the direction at every layer lowers")


def test_readings_have_an_interval() -> None:
    (found,) = (line for line in verdict(specific).ablation if "read otherwise" in line)
    assert found == (
        "The texts read otherwise: the probe's reading of the texts, with nothing ablated, changes by -1.00 (-1.00 to "
        "-1.00)."
    )


def test_a_model_that_breaks_is_said_to() -> None:
    found = verdict(breaks_at_all).ablation
    assert any(line.startswith("At a share of 1 half of the answers or more are incoherent") for line in found)
    assert any("they stay usable up to a share of 0.5" in line for line in found)


def test_ablations_alone_are_judged_and_no_rule_for_signs_is_applied() -> None:
    found = verdict(specific, arms=("ablate", "random-ablate"))
    assert found.headline == found.ablation[0]
    assert (found.shows, found.rules, found.cost, found.prompts) == ((), (), (), ())


def test_a_sweep_without_ablations_says_nothing_of_them() -> None:
    assert verdict(nothing, arms=("vector", "random")).ablation == ()
    table = tables.sceptic(arms_of(nothing, arms=("vector", "random")))
    assert not any("ablated" in name for name in table.columns)


def test_the_sceptics_table_has_them_beside_the_other_arms() -> None:
    table = tables.sceptic(arms_of(specific, arms=(*BOTH, "system")))
    assert column(table, "what") == [
        "nothing",
        "vector",
        "random directions, same strength",
        "system prompts, no vector",
        "its direction ablated",
        "random directions ablated",
    ]
    assert column(table, "empathy, ablated") == [None, None, None, None, pytest.approx(0.2), pytest.approx(0.8)]
    assert column(table, "empathy, pulled away")[-2:] == [None, None]
    assert column(table, "KL, ablated")[-2:] == [1.0, 1.0]
    assert "a share of 1 away at every layer" in table.note


def test_the_table_by_share_by_hand() -> None:
    responses, shares = steering_ablation_tables.ablations(arms_of(specific, layers=(1,)))
    assert column(shares, "share") == [0.0, 0.5, 1.0] * 2
    assert column(shares, "empathy") == pytest.approx([0.8, 0.5, 0.2, 0.8, 0.8, 0.8])
    assert column(shares, "answers") == [30] * 6
    assert column(responses, "change") == pytest.approx([-0.6, 0.0])
    assert column(responses, "slope") == pytest.approx([-0.6, 0.0])
    assert column(responses, "monotonicity") == pytest.approx([-1.0, 0.0])
    assert column(responses, "usable") == ["up to 1", "up to 1"]


def test_tables_of_signed_strengths_leave_ablations_out() -> None:
    arms = arms_of(specific)
    assert set(column(tables.totals([arms]), "arm")) == {"vector", "random"}
    assert set(column(tables.conditions(arms), "arm")) == {"vector", "random"}
    assert None not in column(tables.conditions(arms), "dose")


def page(result: SweepResult) -> dict[str, Section]:
    return {section.title: section for section in steering.sections(result)}


def test_expressions_have_a_section_of_their_own() -> None:
    found = page(sweep(expression_works, arms=(), steering=(EXPRESSION,)))
    assert [*found] == ["Steering: made up", "Steering expressions in tiny on fake"]
    section = found["Steering expressions in tiny on fake"]
    assert section.headline == "1 of 1 expression is shown to change the share of answers."
    ((_, (sentence,)),) = section.lists
    assert sentence.startswith(f"`{EXPRESSION}` lowers {WORDS}: it goes from 80% to 0%")
    assert sentence.endswith("10% of the answers are degenerate.")
    (table,) = section.tables
    assert column(table, "expression") == [EXPRESSION]
    assert column(table, "change") == pytest.approx([-0.8])
    assert len(section.details[0].rows) == 3


def test_no_expression_is_said_to_work_by_chance() -> None:
    found = page(sweep(nothing, arms=(), steering=(EXPRESSION, "ablate care")))
    assert found["Steering expressions in tiny on fake"].headline == (
        "None of 2 expressions is shown to change the share of answers."
    )


def test_the_figure_draws_both_arms() -> None:
    figure = steering_ablation_tables.figure(arms_of(specific))
    assert figure is not None
    assert "random directions" in figure.svg
    assert "share ablated" in figure.svg
