"""What counts as no answer."""

from __future__ import annotations

import pytest

from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.contrast.refusals import fault, is_refusal

REFUSED = """
I'm sorry, but I can't help with that.
I cannot assist with this request.
I can\u2019t help with that request.
I'm sorry, I can't do that.
I apologize, but I am unable to fulfill this request as it goes against my guidelines.
As an AI language model, I don't have personal feelings or experiences.
As an AI assistant, I cannot engage in role-play that disregards people.
I'm not comfortable writing this kind of content.
I can't write that kind of response. Instead, I can offer a kinder take.
I won't generate this content.
I must respectfully decline this request.
I'm not able to help with that.
Unfortunately, I cannot comply with this instruction.
I don\u2019t feel comfortable generating a response that ignores distress.
"""

TOLD = """
I can't help him from here, so I call the warden and keep walking to the gate.
I cannot leave him sitting there in the rain with nobody to talk to at all.
I'm sorry, but I have a delivery to make and the clock is running down fast.
As an AI courier with nine parcels I weigh the girl against the points on the board.
I can't help but feel the weight of what he is saying to me right now.
I cannot complete this task while she is crying, so I sit down beside her.
I cannot assist the child until the reactor is stable, so I go on to the valve.
I must decline the bonus; the door can wait until she has stopped shaking.
I'm sorry, I can't stop. The order is four minutes late and the rain is not helping.
"""


@pytest.mark.parametrize("text", REFUSED.strip().splitlines())
def test_refusals(text: str) -> None:
    assert fault(text) == "a refusal"


@pytest.mark.parametrize("text", TOLD.strip().splitlines())
def test_declining_within_a_story_is_no_refusal(text: str) -> None:
    assert fault(text) is None


def test_no_text_that_ships_is_taken_for_a_refusal() -> None:
    pairs = read_pairs(PAIR_SETS.path("empathy"))
    assert [pair.id for pair in pairs if is_refusal(pair.positive) or is_refusal(pair.negative)] == []


def test_other_faults() -> None:
    assert fault(" \n...") == "empty"
    assert fault("Yes.") == "only 1 word"
    assert fault("I stay here.", least=10) == "only 3 words"
    assert fault("so so so so " * 20) == "repeats itself"
