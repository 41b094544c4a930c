"""`localprobe.pairs`: the shapes of files, out of Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import localprobe as lp
from localprobe.contrast.pairs import Pair, prompt_of
from localprobe.errors import DataError


@pytest.mark.parametrize(
    "source",
    [
        [("a", "c"), ("b", "d")],
        {"positive": ["a", "b"], "negative": ["c", "d"]},
        [{"chosen": "a", "rejected": "c"}, {"chosen": "b", "rejected": "d"}],
        [{"positive": "a", "negative": "c"}, ("b", "d")],
        [Pair("a", "c"), ("b", "d")],
        pd.DataFrame({"positive": ["a", "b"], "negative": ["c", "d"]}),
        ((text, other) for text, other in (("a", "c"), ("b", "d"))),
    ],
)
def test_pairs_of_any_shape(source: Any) -> None:
    pairs = lp.pairs(source)
    assert [(pair.positive, pair.negative) for pair in pairs] == [("a", "c"), ("b", "d")]
    assert pairs.concept == "concept"


def test_a_frame_with_prompts_and_missing_values() -> None:
    frame = pd.DataFrame({"asked": ["One?", "Two?"], "yes": ["a", "b"], "no": ["c", "d"], "scenario": ["s", np.nan]})
    pairs = lp.pairs(frame, positive_field="yes", negative_field="no", prompt_field="asked", concept="yes")
    assert [prompt_of(pair) for pair in pairs] == ["One?", "Two?"]
    assert [pair.scenario for pair in pairs] == ["s", ""]
    again = lp.pairs(pairs.to_frame())
    assert again.hash == pairs.hash and [prompt_of(pair) for pair in again] == ["One?", "Two?"]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ([], "there are no pairs"),
        ([("a", "b", "c")], r"pair 1 is \('a', 'b', 'c'\): give \(positive, negative\)"),
        ([("a", "b"), ("c", None)], "the pairs, pair 2: negative is null, not a text"),
        ([("a", "b"), ("c", "\ud83d")], r'the pairs, pair 2: negative holds "\\ud83d", half a character'),
        (pd.DataFrame({"positive": ["a", np.nan], "negative": ["b", "c"]}), "row 2: positive is null, not a text"),
        (3, "the pairs are 3: give a name, a path"),
    ],
)
def test_what_is_no_pair(source: Any, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        lp.pairs(source)
