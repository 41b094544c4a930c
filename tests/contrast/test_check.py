"""Findings about contrast sets, each with its lines."""

from __future__ import annotations

import json
import random

import pytest

from localprobe.contrast.check import Checked, check
from localprobe.contrast.findings import Finding
from localprobe.contrast.pairs import Pair, split
from localprobe.errors import DataError

_WORDS = [f"w{i}" for i in range(400)]


def sound(count: int = 60, *, seed: int = 0, scenarios: int = 5) -> list[Pair]:
    """Pairs of random words, in which nothing tells the poles apart."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(_WORDS, k=draw.randint(35, 45))) for _ in range(2 * count)]
    return [Pair(texts[2 * i], texts[2 * i + 1], f"s{i % scenarios}", line=i + 1) for i in range(count)]


def changed(pairs: list[Pair], line: int, positive: str | None = None, negative: str | None = None) -> list[Pair]:
    """The pairs with the texts of one line replaced."""
    old = pairs[line - 1]
    new = Pair(positive or old.positive, negative or old.negative, old.scenario, line=line)
    return [*pairs[: line - 1], new, *pairs[line:]]


def of(checked: Checked, kind: str) -> Finding:
    [found] = [each for each in checked.findings if each.kind == kind]
    return found


def test_a_sound_set_has_no_findings() -> None:
    checked = check(sound())
    assert checked.findings == ()
    assert (checked.pairs, checked.test_pairs, checked.scenarios["s0"]) == (60, 18, 12)
    assert 0.35 < checked.length_auroc < 0.65
    assert 0.3 < checked.words_auroc < 0.7
    assert checked.usable
    assert checked.judgement == "Usable: nothing was found that would make a probe look better than it is."


def test_duplicates_and_near_duplicates_are_grouped_by_text() -> None:
    pairs = sound()
    near = pairs[6].negative.split()
    near[3] = "other"
    pairs = changed(pairs, 20, positive=pairs[1].positive.upper())
    pairs = changed(pairs, 30, positive=pairs[1].positive + "!")
    pairs = changed(pairs, 40, negative=" ".join(near))
    checked = check(pairs)
    assert of(checked, "duplicates").groups == ((2, 20, 30),)
    assert of(checked, "near-duplicates").groups == ((7, 40),)
    assert of(checked, "near-duplicates").severity == "warning"
    assert of(checked, "near-duplicates").lines == (7, 40)


def test_the_same_text_on_both_sides_of_the_default_split() -> None:
    pairs = sound()
    train, test = split(pairs)
    pairs = changed(pairs, test[0].line, positive=train[0].positive)
    found = of(check(pairs), "text in both splits")
    assert found.severity == "warning"
    assert found.lines == tuple(sorted([train[0].line, test[0].line]))


def test_the_same_text_in_a_test_file_is_an_error_with_the_lines_of_both() -> None:
    pairs, test = sound(), sound(20, seed=1)
    near = pairs[8].positive.split()
    near[5] = "other"
    test = changed(changed(test, 4, negative=pairs[10].negative), 9, positive=" ".join(near))
    checked = check(pairs, test)
    exact, close = of(checked, "text in both splits"), of(checked, "near text in both splits")
    assert (exact.severity, exact.lines, exact.test_lines) == ("error", (11,), (4,))
    assert (close.severity, close.lines, close.test_lines) == ("warning", (9,), (9,))
    assert not checked.usable
    assert not [each for each in checked.findings if "duplicates" in each.kind]  # within the file there is none
    assert checked.test_pairs == 20


def test_one_text_in_both_poles_is_an_error() -> None:
    pairs = changed(sound(), 5, positive="Stay with him, and wait.", negative="Stay with him, and wait.")
    pairs = changed(pairs, 12, negative=pairs[30].positive)
    checked = check(pairs)
    assert of(checked, "identical poles").lines == (5,)
    assert of(checked, "text in both poles").groups == ((12, 31),)
    assert [finding.severity for finding in checked.findings].count("error") == 2
    assert checked.judgement.startswith("Not usable as it stands (identical poles, text in both poles)")


def test_length_that_tells_the_poles_apart() -> None:
    pairs = [Pair(p.positive + " and so on and on", p.negative, p.scenario, line=p.line) for p in sound()]
    pairs = changed(pairs, 33, positive=pairs[32].positive + " z" * 30)
    found = of(checked := check(pairs), "length imbalance")
    assert found.message.startswith("positive texts are longer (mean words 45 to 40)")
    assert 33 in found.lines
    assert len(found.lines) == 10
    assert checked.length_auroc > 0.8
    swapped = check([Pair(p.negative, p.positive, p.scenario, line=p.line) for p in pairs])
    assert of(swapped, "length imbalance").message.startswith("negative texts are longer")


def test_a_word_that_gives_a_pole_away() -> None:
    pairs = sound()
    for line in range(1, 51):
        pairs = changed(pairs, line, positive=pairs[line - 1].positive.replace(" ", " sorry ", 1))
    pairs = changed(pairs, 60, negative=pairs[59].negative + " sorry")
    checked = check(pairs)
    found = of(checked, "give-away word")
    assert found.message == (
        "'sorry' is in 50 positive and 1 negative texts: that word alone has AUROC 0.91"  # 0.5 + (50 - 1) / 60 / 2
    )
    assert found.lines == tuple(range(1, 51))
    assert (checked.give_aways[0].word, checked.give_aways[0].positive) == ("sorry", 50)
    assert of(checked, "words alone").severity == "note"
    assert checked.words_auroc > 0.8  # tf-idf would not see it


def test_punctuation_can_give_a_pole_away_too() -> None:
    pairs = [Pair(p.positive, p.negative + "?", p.scenario, line=p.line) for p in sound()]
    assert "'?' is in 0 positive and 60 negative texts" in of(check(pairs), "give-away word").message


def test_many_words_that_do_it_together() -> None:
    draw = random.Random(3)
    kind, hard = [f"k{i}" for i in range(12)], [f"h{i}" for i in range(12)]
    pairs = [
        Pair(
            " ".join([p.positive, *draw.sample(kind, 4), *draw.sample(hard, 1)]),
            " ".join([p.negative, *draw.sample(hard, 4), *draw.sample(kind, 1)]),
            p.scenario,
            line=p.line,
        )
        for p in sound(120)
    ]
    checked = check(pairs)
    assert not [each for each in checked.findings if each.kind == "give-away word"]
    assert of(checked, "words alone").severity in ("note", "warning")


def test_swapped_keywords_and_reordered_words() -> None:
    pairs = sound()
    pairs = changed(pairs, 3, positive="I help the man at the door.", negative="I ignore the man at the door.")
    pairs = changed(pairs, 4, positive="The man helps the dog.", negative="The dog helps the man!")
    checked = check(pairs)
    assert of(checked, "swapped keyword").lines == (3,)
    assert "'help' / 'ignore'" in of(checked, "swapped keyword").message
    assert (of(checked, "same words").lines, of(checked, "same words").severity) == ((4,), "note")


def test_refusals_and_next_to_empty_texts() -> None:
    pairs = changed(sound(), 7, negative="I'm sorry, but I can't help with that request.")
    pairs = changed(pairs, 9, positive="Ok.")
    found = {each.message.split(":")[0]: each.lines for each in check(pairs).findings if each.kind == "no answer"}
    assert found == {"the negative text is a refusal": (7,), "the positive text is only 1 word": (9,)}


def test_few_pairs_say_what_chance_reaches() -> None:
    assert of(check(sound(20)), "few pairs").severity == "warning"
    found = of(check(sound(40)), "few pairs")
    assert found.severity == "note"
    assert "of which 12 test the probe" in found.message
    assert "chance alone reaches AUROC 0.70" in found.message  # 0.5 + 1.645 sqrt(25 / 12) / 12


def test_scenarios_with_few_pairs_or_only_one() -> None:
    pairs = sound(60)
    pairs = [*pairs[:58], *(Pair(p.positive, p.negative, "rare", line=p.line) for p in pairs[58:])]
    found = of(check(pairs), "few in scenario")
    assert (found.severity, found.lines) == ("note", (59, 60))
    assert "rare (2)" in found.message
    assert "no scenario is named" in of(check([Pair(p.positive, p.negative) for p in sound()]), "one scenario").message


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_are_refused(count: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        check(sound(count))


def test_two_pairs_are_the_fewest() -> None:
    assert check(sound(2)).pairs == 2


def test_json_holds_all_of_it() -> None:
    checked = check(changed(sound(), 5, positive="One text here.", negative="One text here."))
    told = json.loads(json.dumps(checked.as_json()))
    assert told["usable"] is False
    assert told["findings"][0]["lines"] == [5]
    assert told["findings"][0]["severity"] == "error"
    assert told["scenarios"] == {f"s{i}": 12 for i in range(5)}


def test_marks_of_chat_templates_in_texts_are_named_with_their_lines() -> None:
    marks = ("<|im_start|>user", "[INST] hi", "<start_of_turn>model", "</s>", "a <b> | c")
    pairs = [Pair(f"{mark} yes {i}", f"no {i * 7}", line=i) for i, mark in enumerate(marks, 1)]
    (found,) = (finding for finding in check(pairs).findings if finding.kind == "special tokens")
    assert (found.severity, found.lines) == ("warning", (1, 2, 3, 4))
    assert "<|im_start|>, [INST], <start_of_turn>, ..." in found.message


def test_single_words_are_compared_together_with_their_prompts() -> None:
    prompts = [f"{' '.join(_WORDS[9 * i : 9 * i + 9])}?" for i in range(40)]
    letters = [("(A)", "(B)"), ("(B)", "(A)")] * 20
    pairs = [Pair(*letters[i], line=i + 1, metadata={"prompt": prompt}) for i, prompt in enumerate(prompts)]
    checked = check(pairs)
    assert of(checked, "answers in a word").lines == tuple(range(1, 41))
    kinds = {finding.kind for finding in checked.findings}
    assert kinds.isdisjoint({"text in both poles", "duplicates", "near-duplicates", "no answer"})
