"""A name that ships, or a path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localprobe.contrast.pairs import PAIR_SETS, TEXT_SETS, read_pairs
from localprobe.contrast.rated import RATED_SETS
from localprobe.contrast.system_prompts import SYSTEM_PROMPTS
from localprobe.errors import DataError
from localprobe.experiments.experiment_file import EXPERIMENTS
from localprobe.probing.keywords import KEYWORD_LISTS
from localprobe.store.shipped import Shipped, unknown
from localprobe.text_metrics.word_lists import WORD_LISTS


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (PAIR_SETS, ["certainty", "empathy", "formality", "optimism"]),
        (TEXT_SETS, ["everyday", "neutral", "questions"]),
        (RATED_SETS, ["completions"]),
        (KEYWORD_LISTS, ["empathy"]),
        (WORD_LISTS, ["certainty", "empathy", "formality", "optimism"]),
        (SYSTEM_PROMPTS, ["empathy"]),
        (EXPERIMENTS, ["laptop", "paper", "reproduce"]),
    ],
)
def test_what_ships_is_found_by_its_name(kind: Shipped, names: list[str]) -> None:
    assert kind.names() == names
    assert all(kind.resolve(name).is_file() and kind.holds(kind.resolve(name)) for name in names)


def test_a_file_that_exists_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empathy").write_text("")
    path = PAIR_SETS.resolve("empathy")
    assert path.resolve() == tmp_path / "empathy"
    assert not PAIR_SETS.holds(path)
    assert PAIR_SETS.holds(PAIR_SETS.path("empathy"))


def test_a_path_is_seen_from_the_folder_of_the_file_that_names_it(tmp_path: Path) -> None:
    assert PAIR_SETS.resolve("mine.jsonl", tmp_path) == tmp_path / "mine.jsonl"
    assert PAIR_SETS.resolve("/mine.jsonl", tmp_path) == Path("/mine.jsonl")
    assert PAIR_SETS.resolve("empathy", tmp_path) == PAIR_SETS.path("empathy")


def test_a_path_into_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert EXPERIMENTS.resolve("~/mine.toml") == tmp_path / "mine.toml"


@pytest.mark.parametrize("written", ["empathy.jsonl", "./empathy", "sets/empathy", Path("empathy.json")])
def test_what_is_written_as_a_path_is_one_though_it_leads_nowhere(written: str | Path) -> None:
    assert PAIR_SETS.resolve(written) == Path(written)


def test_a_name_that_nothing_has_is_told_with_the_one_that_was_meant() -> None:
    said = (
        "no contrast set is named 'Empaty' (did you mean 'empathy'?): there are certainty, empathy, formality, "
        "optimism; or give a file"
    )
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        PAIR_SETS.resolve("Empaty")
    assert unknown("scenario", "kitchen", ["the_maze", "the_duel"]) == (
        "no scenario is named 'kitchen': there are the_maze, the_duel"
    )


@pytest.mark.parametrize("name", ["../data/pairs/empathy", "../pairs/empathy", "x" * 5000, "a\0b", ""])
def test_a_name_is_one_of_those_that_ship_and_no_path(name: str) -> None:
    with pytest.raises(DataError, match=r"no contrast set is named .*: there are certainty, empathy") as error:
        PAIR_SETS.path(name)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("written", ["~nobody-of-that-name/pairs.jsonl", "x" * 5000, "a\0b.jsonl"])
def test_what_cannot_be_a_path_is_one_line(written: str) -> None:
    with pytest.raises(DataError, match=r"cannot read|no contrast set is named") as error:
        read_pairs(PAIR_SETS.resolve(written))
    assert "\n" not in str(error.value)
