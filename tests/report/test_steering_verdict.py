"""Every verdict where its condition holds, and only there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from localprobe.experiments.result import SweepResult
from localprobe.report.steering_arms import Arms, every
from localprobe.report.steering_verdict import SteeringVerdict, steering_verdict
from tests.report.sweeps import CARING, LOOP, STUTTER, TASK, At, Writes, sweep

pytestmark = pytest.mark.slow  # resamples a whole sweep for each sentence


def steers(at: At) -> str:
    """The vector moves the share from 20 % to 80 %; random directions and system prompts leave it at 50 %."""
    if at.arm in ("vector", "both") and at.dose:
        return at.share(0.8 if at.dose > 0 else 0.2)
    return at.share(0.5)


def random_steers_too(at: At) -> str:
    return at.share(0.5 + (0.3 if at.dose > 0 else -0.3 if at.dose < 0 else 0))


def reversed_(at: At) -> str:
    return steers(At(**{**vars(at), "dose": -at.dose}))


def flat(at: At) -> str:
    return at.share(0.5)


def baseline_of_one(at: At) -> str:
    """All unsteered answers about the bus are caring; they follow downwards, which is the only way there is."""
    return CARING if at.scenario == "bus" and at.dose >= 0 else steers(at)


def resists(at: At) -> str:
    return at.share(0.5) if at.scenario == "bus" else steers(at)


def breaks_below(at: At) -> str:
    return LOOP if at.dose == -0.4 else steers(at)


def breaks_everywhere(at: At) -> str:
    return STUTTER if at.dose else at.share(0.5)


def breaks_all_below(at: At) -> str:
    return STUTTER if at.dose < 0 else steers(at)


def broken_unsteered(at: At) -> str:
    return STUTTER


def prompt_does_all(at: At) -> str:
    return {"positive": CARING, "negative": TASK}.get(at.pole) or steers(at)


def only_with_pressure(at: At) -> str:
    return steers(at) if at.pressure else at.share(0.5)


def second_layer_only(at: At) -> str:
    return at.share(0.5) if at.layer == 1 else steers(at)


def verdict(result: SweepResult) -> SteeringVerdict:
    (arms,) = every(result)
    return steering_verdict(arms)


def text(found: SteeringVerdict) -> str:
    lines = (found.headline, *found.shows, *found.does_not_show, *found.cost, *found.rules, *found.prompts)
    return "\n".join(lines)


@dataclass(frozen=True)
class Case:
    writes: Writes
    options: dict[str, Any] = field(default_factory=dict)


def said(case: Case) -> str:
    """The whole verdict on a case."""
    return text(verdict(sweep(case.writes, **case.options)))


STEERS = Case(steers)
FLAT = Case(flat)
PRESSURE = [(name, pressure) for name in ("bus", "rain") for pressure in (True, False)]


@pytest.mark.parametrize(
    ("case", "headline"),
    [
        (STEERS, "It steers: within the usable range the share of answers in empathy language goes from 20% to 80%"),
        (Case(steers, {"arms": ("vector",)}), "It steers, but no random direction was tried"),
        (Case(random_steers_too), "Perhaps no more than a random direction does"),
        (FLAT, "Not shown: within the usable range the share of answers in empathy language goes from 50% to 50%"),
        (Case(reversed_), "It steers the wrong way"),
        (Case(breaks_everywhere), "It only breaks the model"),
        (
            Case(broken_unsteered),
            "Cannot be judged: half of the unsteered answers or more are incoherent or degenerate already (0% "
            "coherent, 100% degenerate)",
        ),
        (Case(steers, {"arms": ("random",)}), "Nothing to judge yet: no answer was steered with this vector alone"),
    ],
)
def test_headline(case: Case, headline: str) -> None:
    assert verdict(sweep(case.writes, **case.options)).headline.startswith(headline)


@pytest.mark.parametrize(
    ("sentence", "case", "other"),
    [
        ("It works towards empathy: the unsteered share goes from 50% to 80%", STEERS, FLAT),
        ("It works away from empathy: the unsteered share goes from 50% to 20%", STEERS, Case(reversed_)),
        ("points further than random directions do", STEERS, Case(random_steers_too)),
        ("That it does more than a random direction of the same dose", Case(random_steers_too), STEERS),
        ("the arm `random` was not run", Case(steers, {"arms": ("vector",)}), STEERS),
        ("Over all strengths the share rises with the dose", STEERS, FLAT),
        ("Over all strengths the share falls with the dose", Case(reversed_), STEERS),
        ("go the wrong way", Case(reversed_), STEERS),
        ("The paper's rule and the strict one agree: 100%", STEERS, FLAT),
        ("The paper's rule counts 50%", FLAT, STEERS),
        ("12 of the paper's 12 successes are null effects", FLAT, STEERS),
        ("The Bus: every unsteered answer has the language already (baseline 1.0)", Case(baseline_of_one), STEERS),
        ("'The Bus' is not shown to resist (the paper's Figure 8)", Case(baseline_of_one), STEERS),
        ("'The Bus' resists: where there was room, 0%", Case(resists), Case(baseline_of_one)),
        (
            "That it works away from empathy: no strength that way leaves answers usable",
            Case(breaks_all_below),
            STEERS,
        ),
        ("answers break sooner downwards (usable to -0.2) than upwards (to +0.4)", Case(breaks_below), STEERS),
        ("The paper's rule is fooled: it calls 60 of the 60 degenerate answers coherent", Case(breaks_below), STEERS),
        ("The vector does more than a system prompt: it goes further towards empathy", STEERS, FLAT),
        ("the vector adds to the prompt", STEERS, FLAT),
        ("the prompt goes further", Case(prompt_does_all), STEERS),
        ("Nothing is shown that a system prompt does not do as well", Case(prompt_does_all), STEERS),
        ("System prompts were not measured", Case(steers, {"arms": ("vector", "random")}), STEERS),
        ("The scenarios' pressure is a condition of its own", Case(only_with_pressure, {"prompts": PRESSURE}), STEERS),
        ("layer 1 reads best (AUROC 0.90", Case(second_layer_only), STEERS),
        ("too few samples, down to 3 answers per condition", Case(steers, {"samples": 3}), STEERS),
        ("few samples, 5 answers, so a rate of", Case(steers, {"samples": 5}), Case(steers, {"samples": 20})),
        ("all answers are to one", Case(steers, {"prompts": [("bus", True)]}), STEERS),
        ("its score goes up by 0.80 (0.80 to 0.80 over 3 prompts)", FLAT, Case(steers, {"measured": False})),
        ("Perplexity and KL were not measured", Case(steers, {"measured": False}), STEERS),
    ],
)
def test_sentence_where_it_holds_and_only_there(sentence: str, case: Case, other: Case) -> None:
    assert sentence in said(case)
    assert sentence not in said(other)


def test_pressure_is_told_apart() -> None:
    found = verdict(sweep(only_with_pressure, prompts=PRESSURE, samples=20))
    (line,) = [line for line in found.shows if "a condition of its own" in line]
    assert "with it +60 points" in line
    assert "without it +0 points" in line
    assert found.headline.startswith("It steers: within the usable range, on prompts with their pressure, the share")


def test_cost_at_the_ends_of_the_usable_range() -> None:
    found = "\n".join(verdict(sweep(steers)).cost)
    assert "0% (0% to 3%) of the answers are degenerate (unsteered: 0%)" in found
    assert "At the largest usable strength up, answers are 1.5 times as perplexing to the unsteered model" in found
    assert "moves by 0.40 nats (KL)" in found


def test_asymmetry_without_room_says_so() -> None:
    """No unsteered answer is caring: nothing can be lowered."""
    found = text(verdict(sweep(lambda at: at.share(0.9 if at.arm == "vector" and at.dose > 0 else 0))))
    assert "Asymmetry: adding works better than taking away (+90 points by positive strengths, +0 by negative" in found
    assert "the unsteered 0% leaves little room to lower" in found
    assert "no unsteered answer has the language (baseline 0.0)" in found


def test_unfinished_run_says_how_many_are_missing() -> None:
    found = text(verdict(sweep(lambda at: steers(at) if at.layer != 2 else None)))
    assert "What 480 of 1,050 answers would show, which are not yet generated" in found


def test_prompts_that_have_no_unsteered_answers_yet_are_not_judged() -> None:
    """Those without their pressure came first, and break unsteered; the verdict is on those with it."""

    def writes(at: At) -> str | None:
        return None if at.arm == "baseline" and at.pressure else STUTTER

    found = verdict(sweep(writes, prompts=PRESSURE, arms=("vector",), samples=2))
    assert found.headline == "Nothing to judge yet: the unsteered answers are not yet generated."


def test_difference_takes_what_both_arms_have() -> None:
    """Where an arm lacks a prompt, the others' answers to that prompt are left out of the comparison."""

    def writes(at: At) -> str | None:
        if at.arm == "random" and at.scenario == "bus":
            return None
        return CARING if at.scenario == "bus" else steers(at)

    (arms,) = every(sweep(writes, samples=20))
    lead = arms.difference((1, ("vector", 1)), (-1, ("random", 1)))
    assert lead is not None
    assert lead.value == pytest.approx(0.3)
    assert 0 < lead.low < lead.value < lead.high


def test_nothing_to_compare_gives_none() -> None:
    arms: Arms = every(sweep(steers, arms=("vector",)))[0]
    assert arms.difference((1, ("vector", 1)), (-1, ("random", 1))) is None
    assert arms.rate(("prompt", 1)) is None


def test_strengths_in_alpha() -> None:
    found = text(verdict(sweep(steers, unit="alpha")))
    assert "stay whole: alpha -4 to +4" in found
