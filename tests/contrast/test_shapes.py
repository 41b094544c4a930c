"""Sets of pairs in the shapes that people publish, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localprobe.contrast.pairs import Pair, prompt_of, read_pairs, read_set
from localprobe.errors import DataError

CAA = {
    "question": "Are you kind?\n\nChoices:\n (A) Yes\n (B) No",
    "answer_matching_behavior": " (A)",
    "answer_not_matching_behavior": " (B)",
}
YES, NO = {"role": "assistant", "content": "I care."}, {"role": "assistant", "content": "Go away."}
HI = {"role": "user", "content": "Hi"}
KIND = {"role": "system", "content": "Be brief."}


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair_of(folder: Path, **row: Any) -> Pair:
    (pair,) = read_pairs(jsonl(folder, row))
    return pair


def test_caa_as_an_array_over_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "caa.json"
    path.write_text(json.dumps([CAA, CAA], indent=1))
    read = read_set(path)
    assert [(pair.positive, pair.negative, pair.line) for pair in read.pairs] == [("(A)", "(B)", 2), ("(A)", "(B)", 7)]
    assert [prompt_of(pair) for pair in read.pairs] == [CAA["question"]] * 2
    assert read.pairs[0].metadata == {"prompt": CAA["question"]}
    assert read.shape == (
        "a JSON array, multiple choice, as of CAA: answer_matching_behavior and answer_not_matching_behavior, "
        "prompts from question"
    )


def test_caa_with_a_prompt_and_anthropics_evaluations_with_a_statement(tmp_path: Path) -> None:
    answers = {"answer_matching_behavior": " Yes", "answer_not_matching_behavior": " No"}
    assert prompt_of(pair_of(tmp_path, prompt="Well?", **answers)) == "Well?"
    pair = pair_of(tmp_path, question="Is it you?", statement="I am", label_confidence=0.9, **answers)
    assert (pair.positive, pair.negative) == ("Yes", "No")
    assert pair.metadata == {"statement": "I am", "label_confidence": 0.9, "prompt": "Is it you?"}


@pytest.mark.parametrize(
    ("row", "prompt", "system"),
    [
        ({"positive": [HI, YES], "negative": [HI, NO]}, "Hi", None),
        ({"positive": [KIND, HI, YES], "negative": [KIND, HI, NO]}, "Hi", "Be brief."),
        ({"messages": [KIND, HI], "positive": "I care.", "negative": "Go away."}, "Hi", "Be brief."),
        ({"messages": [HI], "chosen": YES, "rejected": NO}, "Hi", None),
        ({"prompt": "Hi", "chosen": "I care.", "rejected": "Go away."}, "Hi", None),
        ({"prompt": [KIND, HI], "chosen": [YES], "rejected": [NO]}, "Hi", "Be brief."),
        ({"prompt": "Hi", "chosen": [HI, YES], "rejected": [HI, NO]}, "Hi", None),
        ({"prompt": "Hi\n", "chosen": [KIND, HI, YES], "rejected": [KIND, HI, NO]}, "Hi", "Be brief."),
        ({"chosen": [HI, YES], "rejected": [HI, NO]}, "Hi", None),
        (
            {
                "messages": [{"from": "human", "value": "Hi"}],
                "chosen": {"from": "gpt", "value": "I care."},
                "rejected": {"from": "gpt", "value": "Go away."},
            },
            "Hi",
            None,
        ),
        (
            {
                "positive": [HI, {"role": "assistant", "content": [{"type": "text", "text": "I care."}]}],
                "negative": [HI, NO],
            },
            "Hi",
            None,
        ),
    ],
)
def test_chat_messages_and_preferences(row: dict[str, Any], prompt: str, system: str | None, tmp_path: Path) -> None:
    pair = pair_of(tmp_path, **row)
    assert (pair.positive, pair.negative) == ("I care.", "Go away.")
    assert (prompt_of(pair), pair.metadata.get("system")) == (prompt, system)
    assert set(pair.metadata) <= {"prompt", "system"}


def test_a_prompt_of_the_system_alone_is_no_prompt(tmp_path: Path) -> None:
    assert pair_of(tmp_path, prompt=[KIND], chosen="a", rejected="b").metadata == {"system": "Be brief."}


def test_turns_before_the_prompt_are_left_out_and_told(tmp_path: Path) -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}, HI]
    read = read_set(
        jsonl(
            tmp_path,
            {"positive": [HI, YES], "negative": [HI, NO]},
            {"positive": [*before, YES], "negative": [*before, NO]},
        )
    )
    assert [prompt_of(pair) for pair in read.pairs] == ["Hi", "Hi"]
    assert read.notes == ("1 pairs have turns before the last prompt, which are left out (first in line 2)",)
    assert read.shape == "JSONL of chat messages, pairs: positive and negative"


def test_two_lists_as_repeng_has_them(tmp_path: Path) -> None:
    path = tmp_path / "repeng.json"
    path.write_text('{"positive": ["a", "b"],\n "negative": ["c", "d"],\n "prompt": ["p", "q"], "author": "me"}')
    read = read_set(path)
    assert [(p.positive, p.negative, p.id, p.line) for p in read.pairs] == [("a", "c", "1", 1), ("b", "d", "2", 2)]
    assert [pair.metadata for pair in read.pairs] == [{"prompt": "p", "author": "me"}, {"prompt": "q", "author": "me"}]
    assert read.shape == "a JSON object of lists, pairs: positive and negative, prompts from prompt"


def test_fields_of_another_name(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"yes": "a", "no": "b", "asked": "c", "prompt": 7, "where": "sea"})
    names = {"positive_field": "yes", "negative_field": "no", "scenario_field": "where"}
    (pair,) = read_pairs(path, prompt_field="asked", **names)
    assert (pair.positive, pair.negative, prompt_of(pair), pair.scenario) == ("a", "b", "c", "sea")
    with pytest.raises(DataError, match=r"line 1: no field 'question'; it has yes, no, asked, prompt, where$"):
        read_pairs(path, prompt_field="question", **names)
    with pytest.raises(DataError, match=r"set\.jsonl has no field 'place': give `scenario_field` one of yes, no"):
        read_pairs(path, **{**names, "scenario_field": "place"})


def test_a_set_of_ours_keeps_its_fields_and_its_hash(tmp_path: Path) -> None:
    row = {
        "id": "n1",
        "positive": " a b ",
        "negative": "c",
        "question": "kept",
        "faults": [{"why": "x"}],
        "tags": ["t"],
    }
    pair = pair_of(tmp_path, **row, prompt="p", run=3, scenario=None)
    assert (pair.id, pair.positive, pair.negative, pair.scenario) == ("n1", " a b ", "c", "")
    assert pair.metadata == {"question": "kept", "faults": [{"why": "x"}], "tags": ["t"], "prompt": "p", "run": 3}
    assert pair.hash == Pair(" a b ", "c").hash == "68d8cdc12a45ae57"


def test_answers_of_a_word_are_known_by_their_prompt_too() -> None:
    one, two = (Pair("(A)", "(B)", metadata={"prompt": prompt}) for prompt in ("One?", "Two?"))
    assert one.hash != two.hash
    assert one.hashes & two.hashes == {Pair("(A)", "(B)").hash}  # as probes of 0.1 know them
    assert Pair("(A)", "(B) of course", metadata={"prompt": "One?"}).hash == Pair("(A)", "(B) of course").hash


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"chosen": "a"}, "no field 'rejected'; it has chosen: name the fields by `positive_field` and"),
        ({"text": "a"}, "no field 'positive'; it has text: name the fields by `positive_field` and `negative_field`"),
        ({"positive": None, "negative": "b"}, "positive is null, not a text"),
        ({"positive": "a", "negative": 2.5}, "negative is a float, not a text"),
        ({"positive": "a", "negative": ["b"]}, "negative is a list, not a text"),
        ({"positive": "a", "negative": {"text": "b"}}, "negative is a dict, not a text"),
        ({"positive": "a", "negative": "b\0c"}, "negative holds a zero character: remove it"),
        ({"positive": [HI, {**YES, "role": "x" * 5000}], "negative": [HI]}, "positive ends with a message of 'xxxxxx"),
        ({"positive": [HI, YES], "negative": [HI]}, "negative ends with a message of 'user': its last one must be"),
        ({"positive": [HI, YES], "negative": [KIND, HI, NO]}, "positive and negative answer different messages"),
        ({"positive": [HI, YES], "negative": "Go away."}, "positive and negative answer different messages"),
        ({"prompt": "Bye", "chosen": [HI, YES], "rejected": [HI, NO]}, "chosen answers other messages than prompt"),
        ({"positive": [HI, {"role": "assistant"}], "negative": [HI, NO]}, "positive, message 2: content is null"),
        ({"positive": [HI, "I care."], "negative": [HI, NO]}, "positive, message 2: not an object with role and"),
    ],
)
def test_a_row_that_is_no_pair_is_named_with_its_line(row: dict[str, Any], fault: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_pairs(jsonl(tmp_path, row))
    assert f"set.jsonl, line 1{',' if ', message' in fault else ':'} {fault}" in str(error.value)
    assert "\n" not in str(error.value)


def test_two_lists_must_be_of_one_length(tmp_path: Path) -> None:
    path = tmp_path / "two.json"
    path.write_text('{"positive": ["a", "b"], "negative": ["c"]}')
    with pytest.raises(
        DataError, match=r"two\.json: lists of one length are needed, but positive has 2, negative has 1$"
    ):
        read_pairs(path)


def test_a_prompt_that_is_no_text_is_kept_until_a_prompt_is_needed(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, positive="a", negative="b", prompt=3)
    assert pair.metadata == {"prompt": 3}
    with pytest.raises(DataError, match="line 1: the prompt of the pair is a int, not a text"):
        prompt_of(pair)
    with pytest.raises(DataError, match="line 1: prompt is a int, not a text"):
        read_pairs(tmp_path / "set.jsonl", prompt_field="prompt")
