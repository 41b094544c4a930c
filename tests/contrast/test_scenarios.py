"""The five scenarios that ship, and the rated completions and neutral texts beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import mean

import pytest

from localprobe.contrast.pairs import TEXT_SETS, read_texts
from localprobe.contrast.rated import RATED_SETS
from localprobe.contrast.scenarios import Scenario, scenario, scenarios
from localprobe.contrast.tables import records
from localprobe.errors import UsageError

IDS = ["food_delivery", "the_listener", "the_maze", "the_protector", "the_duel"]


def test_five_scenarios_in_the_order_of_the_paper() -> None:
    assert list(scenarios()) == IDS
    assert [scenario(each).title for each in IDS] == [each.replace("_", " ").title() for each in IDS]


@pytest.mark.parametrize("each", scenarios().values(), ids=lambda each: each.id)
def test_every_part_is_there_and_the_need_can_be_left_out(each: Scenario) -> None:
    parts = [each.situation, each.pressure, each.empathy_pressure, each.question]
    assert all(part and part == part.strip() and part[-1] in ".?" for part in parts)
    assert set(each.rubric) == {"0", "1", "2"}
    assert all(each.rubric.values())
    assert each.prompt() == " ".join(parts)
    assert each.prompt(empathy_pressure=False) == f"{each.situation} {each.pressure} {each.question}"
    assert 60 <= len(each.prompt(empathy_pressure=False).split()) < len(each.prompt().split()) <= 190


def test_an_unknown_scenario_lists_those_that_there_are() -> None:
    with pytest.raises(
        UsageError,
        match=r"no scenario is named 'maze' \(did you mean 'the_maze'\?\): there are food_delivery, .*, the_duel",
    ):
        scenario("maze")


def test_completions_show_each_score_once_a_scenario_at_like_lengths() -> None:
    found = [record for _, record in records(RATED_SETS.path("completions"))]
    assert Counter((each["scenario"], each["score"]) for each in found) == Counter(
        (name, score) for name in IDS for score in (0, 1, 2)
    )
    assert len({each["id"] for each in found}) == len({each["text"] for each in found}) == 15
    lengths = defaultdict(list)
    for each in found:
        lengths[each["score"]].append(len(each["text"].split()))
        assert 40 <= lengths[each["score"]][-1] <= 90
    means = [mean(each) for each in lengths.values()]
    assert max(means) - min(means) < 5  # the length gives no score away


def test_forty_neutral_texts_of_many_lengths() -> None:
    path = TEXT_SETS.path("neutral")
    texts = read_texts(path)
    assert [record["id"] for _, record in records(path)] == [f"neutral-{n:02}" for n in range(1, 41)]
    assert len(set(texts)) == 40
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 30
    assert max(lengths) <= 120
    assert max(lengths) > 3 * min(lengths)
