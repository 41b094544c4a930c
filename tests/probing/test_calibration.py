"""Thresholds with a false-positive rate, on scores drawn from known populations."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.calibration import About, Texts, knots, measured
from localprobe.vectors.calibrated import Calibration

ABOUT = About("texts", "mine.txt", "ab", "empathy", "m", "w", "fake")


def population(texts: int, seed: int, *, least: int = 4, most: int = 200) -> list[FloatArray]:
    """Scores whose texts differ, whose early tokens score higher, and of which a few are attention sinks."""
    rng = np.random.default_rng(seed)
    found = []
    for length in np.exp(rng.uniform(np.log(least), np.log(most), texts)).astype(int):
        scores = 0.5 * rng.normal() + 2 * np.exp(-np.arange(length) / 6) + rng.normal(size=length)
        if rng.random() < 0.002:
            scores[0] = 1000
        found.append(scores.astype(np.float32))
    return found


def calibrated(scores: list[FloatArray], fpr: float) -> dict[str, Calibration]:
    return {each.unit: each for each in measured(scores, range(len(scores)), fpr, ABOUT)[0]}


@pytest.fixture(scope="module")
def others() -> list[FloatArray]:
    """As good as the whole population."""
    return population(6000, seed=1_000)


def rates(found: dict[str, Calibration], texts: list[FloatArray]) -> dict[str, float]:
    """The true false-positive rates."""
    tokens, text = found["token"].at(), found["text"]
    above = [scores.mean() > text.at(len(scores)) for scores in texts]
    return {"token": float((np.concatenate(texts) > tokens).mean()), "text": float(np.mean(above))}


@pytest.mark.slow
def test_the_intervals_hold_the_true_rate_and_the_true_threshold(others: list[FloatArray]) -> None:
    """In 95 % of calibrations. Of 60, binomial chance leaves fewer than 50 once in several thousand tests."""
    runs, fpr, hits = 60, 0.05, {"token": 0, "text": 0, "threshold": 0}
    true = np.quantile(np.concatenate(others), 1 - fpr)
    for seed in range(runs):
        found = calibrated(population(200, seed), fpr)
        for unit, rate in rates(found, others).items():
            hits[unit] += found[unit].rate.low <= rate <= found[unit].rate.high
        low, high = found["token"].interval()
        hits["threshold"] += low <= true <= high
    assert min(hits.values()) >= 50, hits


def test_the_rate_is_the_one_that_was_asked_for(others: list[FloatArray]) -> None:
    found = rates(calibrated(population(2000, seed=0), 0.02), others)
    assert found == pytest.approx({"token": 0.02, "text": 0.02}, abs=0.008)


def test_no_length_fires_a_text_more_often_than_another(others: list[FloatArray]) -> None:
    found = calibrated(population(2000, seed=0), 0.05)["text"]
    for least, most in ((4, 8), (9, 16), (17, 32), (33, 64), (65, 200)):
        texts = [scores for scores in others if least <= len(scores) <= most]
        fired = np.mean([scores.mean() > found.at(len(scores)) for scores in texts])
        assert 0.02 < fired < 0.09, (least, fired)


def test_one_threshold_for_all_lengths_would_fire_on_short_texts(others: list[FloatArray]) -> None:
    """What the test above is about: the population has the effect."""
    one = np.quantile([scores.mean() for scores in others], 0.95)
    short = [scores.mean() > one for scores in others if len(scores) <= 8]
    assert np.mean(short) > 0.15


def test_the_same_texts_cut_to_several_lengths_keep_the_rate(others: list[FloatArray]) -> None:
    found = calibrated(population(2000, seed=0), 0.05)["text"]
    long = [scores for scores in others if len(scores) >= 64]
    for length in (5, 10, 20, 40, 64):
        fired = np.mean([scores[:length].mean() > found.at(length) for scores in long])
        assert 0.02 < fired < 0.09, (length, fired)


def test_dependent_tokens_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    alike = [np.full(50, rng.normal(), np.float32) for _ in range(100)]
    apart = [rng.normal(size=50).astype(np.float32) for _ in range(100)]
    widths = [(rate := calibrated(texts, 0.1)["token"].rate).high - rate.low for texts in (alike, apart)]
    assert widths[0] > 3 * widths[1]


def test_answers_to_one_question_count_as_one_text() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.full(20, rng.normal(), np.float32) for _ in range(60)]
    text = [measured([*drawn] * 4, [i % 60 for i in range(240)], 0.1, ABOUT)[0][1], calibrated(drawn, 0.1)["text"]]
    assert text[0].texts == 240
    assert text[0].rate.high - text[0].rate.low > 0.8 * (text[1].rate.high - text[1].rate.low)


def test_both_sides_are_measured() -> None:
    neutral = population(200, seed=0)
    positive, negative = ([scores + shift for scores in population(12, seed=5)] for shift in (6, -6))
    for each in measured(neutral, range(200), 0.05, ABOUT, positive, negative)[0]:
        assert each.true_positive is not None
        assert each.negative is not None
        assert each.true_positive.share > 0.95
        assert each.negative.share == 0
        assert each.positives == "empathy"
    assert calibrated(neutral, 0.05)["text"].true_positive is None


def test_the_table_by_length_holds_all_texts() -> None:
    found = calibrated(population(300, seed=0), 0.05)
    assert [part.least for part in found["text"].lengths] == [1, 9, 17, 33, 65]
    for unit, of in (("text", 300), ("token", found["token"].tokens)):
        assert sum(part.rate.of for part in found[unit].lengths) == of


def test_too_few_texts_leave_the_tokens() -> None:
    found, notices = measured(population(60, seed=0), range(60), 0.05, ABOUT)
    assert [each.unit for each in found] == ["token"]
    assert notices == (
        "60 texts are too few for a threshold of whole texts at fpr 0.05, which needs 100: only tokens have one",
    )


@pytest.mark.parametrize(("texts", "fpr"), [(19, 0.5), (30, 1e-5), (30, 5e-324), (0, 0.1)])
def test_too_few_tokens_are_refused(texts: int, fpr: float) -> None:
    with pytest.raises(DataError, match=r"mine.txt: \d+ tokens in \d+ texts are too few for `fpr` .*: give more, or a"):
        measured(population(texts, seed=0), range(texts), fpr, ABOUT)


def test_texts_without_a_scored_token_are_left_out() -> None:
    empty = np.empty(0, np.float32)
    assert calibrated([empty, *population(100, seed=0), empty], 0.05)["token"].texts == 100


def test_constant_scores_never_fire() -> None:
    texts = Texts.of([np.ones(n, np.float32) for n in range(1, 101)])
    for unit in ("token", "text"):
        assert knots(texts, 0.05, unit)[0].threshold >= 1  # type: ignore[arg-type]
