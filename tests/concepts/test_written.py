"""Pairs of a concept: resumed, filtered to those asked for, checked, and refused where too few are sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localprobe.concepts.concept import Concept
from localprobe.concepts.written import Written, write
from localprobe.contrast.scenario_file import SITUATIONS, read_scenarios
from localprobe.errors import DataError
from localprobe.generators.generator import TextRequest
from tests.concepts.planted import Planted

LOUD = Concept("loud", "soft")


def written(output: Path, generator: Planted, pairs: int = 10, temperature: float = 0.7) -> Written:
    recipe = LOUD.recipe(read_scenarios(SITUATIONS.path("varied")), pairs, temperature, 50, 0)
    return write(LOUD, recipe, [generator], output)


def test_pairs_carry_their_domain_and_prompt_and_a_check(tmp_path: Path) -> None:
    made = written(tmp_path / "p.jsonl", Planted(), 20)
    assert (len(made.pairs), made.written, made.already, made.rejected, made.dropped) == (20, 20, 0, 0, ())
    assert set(made.pairs.scenarios) == {"everyday", "work", "family", "technical", "creative"}
    assert made.pairs[0].metadata["situation"] == "everyday-1"
    assert str(made.pairs[0].metadata["prompt"]).startswith("The bread I bake every Sunday")
    assert made.checked.pairs == 20
    assert made.notices() == []


def test_what_a_stopped_run_wrote_is_not_asked_for_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "p.jsonl", Planted(stop_after=8))
    again = Planted()
    made = written(tmp_path / "p.jsonl", again)
    assert (made.written, made.already, len(again.asks)) == (6, 4, 12)
    whole = written(tmp_path / "whole.jsonl", Planted())
    assert [pair.positive for pair in made.pairs] == [pair.positive for pair in whole.pairs]


def test_lines_of_other_settings_stay_in_the_file_and_are_not_used(tmp_path: Path) -> None:
    output = tmp_path / "p.jsonl"
    written(output, Planted(), temperature=0.2)
    made = written(output, Planted())
    assert (len(made.pairs), len(output.read_text().splitlines())) == (10, 20)
    assert {pair.metadata["temperature"] for pair in made.pairs} == {0.7}


class Copying(Planted):
    """Writes one text for the positive pole of one situation and for the negative pole of another, `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def text(self, ask: TextRequest) -> str:
        loud = "manner: loud." in ask.system
        order = [situation.situation for situation in read_scenarios(SITUATIONS.path("varied"))]
        place = next(i for i, situation in enumerate(order) if ask.prompt.startswith(situation))
        if place < 2 * self._times and loud == (place % 2 == 0):
            return f"the very same words stand here in both of the poles, number {place // 2}"
        return super().text(ask)


def test_a_few_lines_with_errors_are_left_out_and_named(tmp_path: Path) -> None:
    made = written(tmp_path / "p.jsonl", Copying(1), 20)
    assert (made.dropped, len(made.pairs), made.checked.usable) == ((1, 2), 18, True)
    assert made.notices() == ["lines 1, 2 are not used: a text stands in both poles"]


def test_many_lines_with_errors_stop_the_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 20 pairs cannot be used \(text in both poles\): see `localprobe data"):
        written(tmp_path / "p.jsonl", Copying(3), 20)


def test_too_few_accepted_pairs_stop_the_work(tmp_path: Path) -> None:
    class Refusing(Planted):
        def text(self, ask: TextRequest) -> str:
            return "" if "board" in ask.prompt or "I" in ask.prompt else super().text(ask)

    with pytest.raises(DataError, match=r"only 4 of 10 pairs can be used.*p\.jsonl\.rejected\.jsonl"):
        written(tmp_path / "p.jsonl", Refusing())


def test_texts_that_name_the_concept_are_said(tmp_path: Path) -> None:
    class Naming(Planted):
        def text(self, ask: TextRequest) -> str:
            return super().text(ask) + (" soft" if "manner: soft." in ask.system else "")

    made = written(tmp_path / "p.jsonl", Naming())
    assert made.named == (0, 10)
    [notice] = made.notices()
    assert notice.startswith("the words themselves occur in 0 positive and 10 negative texts")
    printed: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    assert printed["texts_with_the_word"] == [0, 10]
    assert "give-away word" in {finding["kind"] for finding in printed["check"]["findings"]}
