"""Thresholds calibrated on the shipped texts, on texts that nobody tuned them on."""

from __future__ import annotations

from pathlib import Path

import pytest

from localprobe.contrast.pairs import PAIR_SETS, TEXT_SETS, read_pairs, read_texts
from localprobe.model import Model
from localprobe.probing import scored
from localprobe.probing.calibration import BINS, About, measured
from localprobe.probing.fit import fit
from localprobe.stats.intervals import wilson
from localprobe.steering.knob import watch

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]

CONCEPTS = ("certainty", "empathy", "formality", "optimism")
HELD_OUT = Path(__file__).parents[1] / "data" / "held_out_neutral.jsonl"
FPR = 0.01
ABOUT = About("texts", "everyday", "", "", "", "", "")


@pytest.fixture(scope="module")
def scores(llama_model: Model) -> tuple[scored.Scores, scored.Scores]:
    """Scores of the shipped and of the held-out texts by the four probes at their best layers."""
    vectors = [
        fit(llama_model, read_pairs(PAIR_SETS.path(name)), concept=name, validate=False).vector for name in CONCEPTS
    ]
    watches = [watch(vector, vector.layer()) for vector in vectors]
    sets = (read_texts(TEXT_SETS.path("everyday")), read_texts(HELD_OUT))
    shipped, held_out = (scored.of_texts(llama_model, texts, watches, lambda amount: None) for texts in sets)
    return shipped, held_out


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_threshold_keeps_its_rate_on_fresh_texts(concept: str, scores: tuple[scored.Scores, scored.Scores]) -> None:
    shipped, fresh = ([text[CONCEPTS.index(concept)] for text in texts] for texts in scores)
    (token, text), notices = measured(shipped, range(len(shipped)), FPR, ABOUT)
    assert notices == ()
    fired = sum((each > token.at()).sum() for each in fresh) / sum(map(len, fresh))
    assert 0.003 <= fired <= 0.02
    above = [(len(each), bool(each.mean() > text.at(len(each)))) for each in fresh if len(each)]
    for least, most in ((1, None), *BINS):
        flags = [flag for length, flag in above if least <= length <= (most or length)]
        low, high = wilson(sum(flags) / len(flags), len(flags))
        assert low <= FPR <= high, (least, most, sum(flags), len(flags))
