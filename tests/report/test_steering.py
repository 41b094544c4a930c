"""The steering sections of a page, of whole results and of half ones."""

from __future__ import annotations

from typing import Any

import pytest

from localprobe.experiments.result import SweepResult
from localprobe.report import page, tables
from localprobe.report.steering import sections
from localprobe.store.json_values import to_json
from localprobe.store.runs import Run
from tests.report.sweeps import CARING, LOOP, STUTTER, At, Writes, sweep

pytestmark = pytest.mark.slow


def writes(at: At) -> str:
    if at.arm == "vector" and at.dose == -0.4:
        return LOOP
    return at.share(0.5 + (0.5 if at.arm != "random" and at.dose > 0 else 0))


def run(result: SweepResult, kind: str = "sweep") -> Run:
    return Run("0123abcd", kind, "made up", "2026-11-24", {"command": "localprobe sweep made-up.toml"}, to_json(result))


def test_sections_are_all_models_then_each_vector_and_model() -> None:
    found = sections(sweep(writes, models=[("a", "safety-trained"), ("b", "uncensored"), ("c", "safety-trained")]))
    titles = [section.title for section in found]
    assert titles == ["Steering: made up", "care in a on fake", "care in c on fake", "care in b on fake"]
    first = found[0]
    assert [heading for heading, _ in first.lists] == ["safety-trained", "uncensored", "How"]
    assert [line[:2] for line in first.lists[0][1]] == ["a:", "c:"]
    assert [table.name for table in first.tables] == ["steering-totals", "table-4"]
    assert [figure.name for figure in first.figures] == ["figure-6", "figure-7", "figure-8", "figure-9"]


def test_a_model_has_its_verdict_first() -> None:
    one = sections(sweep(writes))[1]
    assert one.headline.startswith("It steers")
    assert [heading for heading, _ in one.lists] == [
        "It shows",
        "It does not show",
        "At what cost",
        "By the paper's rule, and strictly",
        "What does it do that a system prompt does not?",
    ]
    assert [table.name.removesuffix("-tiny-fake-care") for table in one.tables] == [
        "doses",
        "sceptic",
        "system-prompts",
    ]
    assert [table.name.removesuffix("-tiny-fake-care") for table in one.details] == [
        "doses-of-other-arms",
        "conditions",
    ]


def test_terms_of_the_sweep() -> None:
    (_, how) = sections(sweep(writes))[0].lists[-1]
    assert how == (
        "10 answers of at most 40 tokens a condition, temperature 0.7, top_p 1, seed 0; steered at all positions; "
        "arms: vector, random, system, both.",
    )


def test_samples_at_each_strength_say_what_is_wrong() -> None:
    found = sections(sweep(writes, arms=("vector", "system")))[1].samples
    own = [each for each in found if "The Bus" in each.under and "prompt" not in each.under]
    assert [each.under for each in own] == [
        "The Bus · layer 1 · dose -0.40 (alpha -4)",
        "The Bus · layer 1 · dose -0.20 (alpha -2)",
        "The Bus · layer 1 · unsteered",
        "The Bus · layer 1 · dose +0.20 (alpha +2)",
        "The Bus · layer 1 · dose +0.40 (alpha +4)",
    ]
    assert own[0].text == LOOP
    assert own[0].remark.startswith("degenerate: one phrase over and over")
    assert own[0].remark.endswith("though coherent by the paper's rule")
    assert (own[3].text, own[3].remark) == (CARING, "empathy language")
    assert [each.under for each in found][-2:] == [
        "The Bus · negative system prompt, no vector",
        "The Bus · positive system prompt, no vector",
    ]


def test_samples_of_other_arms_are_fewer_and_named() -> None:
    found = sections(sweep(writes))[1].samples
    assert sum("a random direction" in each.under for each in found) == 4  # one prompt, its strengths
    assert sum("with the positive system prompt" in each.under for each in found) == 4


def missing(kind: str) -> Writes:
    """Answers with something missing."""

    def some(at: At) -> str | None:
        gone = {
            "half of the layers": at.layer == 2,
            "the baselines": at.arm == "baseline",
            "one baseline": at.arm == "baseline" and at.scenario == "bus",
            "most of the samples": at.sample > 0,
            "one way": at.dose < 0,
            "the vector": at.arm == "vector",
            "the random arm": at.arm == "random",
            "the positive system prompt": at.pole == "positive",
            "all but the baselines": at.arm != "baseline",
            "everything": True,
        }
        return None if gone[kind] else writes(at)

    return some


@pytest.mark.parametrize(
    "kind",
    [
        "half of the layers",
        "the baselines",
        "one baseline",
        "most of the samples",
        "one way",
        "the vector",
        "the random arm",
        "the positive system prompt",
        "all but the baselines",
        "everything",
    ],
)
def test_half_a_run_is_a_page_that_says_so(kind: str) -> None:
    result = sweep(missing(kind), samples=2, doses=(-0.4, 0.0, 0.4), prompts=[("bus", True), ("rain", True)])
    made = page([run(result)])
    assert f"Not finished: {result.cells.missing:,} of {result.cells.expected:,} answers are not yet generated." in made
    names = [table.name for table in tables([run(result)])]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "options",
    [
        {"doses": (0.0, 0.4)},
        {"doses": (-0.4, 0.0)},
        {"layers": (2,)},
        {"samples": 1},
        {"measured": False},
        {"unit": "alpha"},
        {"prompts": [("bus", True), ("bus", False)]},
        {"models": [("a", ""), ("b", "uncensored")]},
    ],
)
def test_every_small_grid_is_a_page(options: dict[str, Any]) -> None:
    result = sweep(writes, **{"samples": 2, "doses": (-0.4, 0.0, 0.4), "prompts": [("bus", True)], **options})
    made = page([run(result)])
    assert "Table 4. Steering success by layer and scenario" in made
    assert "Not finished" not in made


def test_no_coherent_answer_at_all() -> None:
    result = sweep(lambda at: STUTTER, samples=2, layers=(1,))
    made = page([run(result)])
    assert "Cannot be judged" in made
    assert "no usable strength" in made


def test_run_that_has_kept_nothing_yet() -> None:
    (only,) = sections(sweep(missing("everything")))
    assert (only.title, only.headline) == ("Steering: made up", "No answer was steered yet.")
    ((_, how),) = only.lists
    assert how[-1].startswith("Not finished: 1,050 of 1,050 answers are not yet generated.")


def test_unmeasured_answers_are_counted() -> None:
    (_, how) = sections(sweep(writes, samples=1, measured=False))[0].lists[-1]
    assert how[-1] == "Perplexity, KL and readings of 105 answers were not measured."


def test_text_of_a_model_cannot_break_the_page() -> None:
    result = sweep(lambda at: "<script>alert(1)</script> </blockquote>" if at.dose else CARING, samples=1, layers=(1,))
    made = page([run(result)])
    assert "<script>" not in made
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in made
