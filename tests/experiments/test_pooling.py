"""Several conditions as one."""

from __future__ import annotations

import pytest

from localprobe.experiments.pooling import average, by_strength, perplexity_ratio, pooled
from localprobe.experiments.result import Series
from localprobe.stats.rates import grouped_rate
from tests.report.sweeps import At, sweep


def rising(at: At) -> str:
    """Half of the unsteered answers are caring; of the bus all that are steered upwards, of the rain none."""
    return at.share(0.5 if at.dose <= 0 else 1.0 if at.scenario == "bus" else 0.0)


@pytest.fixture(scope="module")
def series() -> Series:
    prompts = [("bus", True), ("rain", True)]
    result = sweep(rising, arms=("vector",), layers=(1, 2), prompts=prompts, doses=(-0.2, 0.0, 0.4), samples=4)
    return result.models[0].series[0]


def test_conditions_come_by_ascending_strength_with_their_prompt(series: Series) -> None:
    doses = by_strength(series.at(1), lambda point: point.dose)
    assert list(doses) == [-0.2, 0.0, 0.4]
    assert [[group for group, _ in points] for points in doses.values()] == [[("bus", True), ("rain", True)]] * 3
    layers = by_strength(series.curves, lambda point: point.alpha, lambda curve: curve.layer)
    assert sorted({group for group, _ in layers[4.0]}) == [1, 2]


def test_an_interval_takes_a_group_as_one(series: Series) -> None:
    points = by_strength(series.curves, lambda point: point.dose)[0.4]
    assert pooled(points, "rate") == grouped_rate([(8, 8), (0, 8)])
    assert pooled(points, "coherent").share == 1


def test_means_over_conditions(series: Series) -> None:
    doses = by_strength(series.at(1), lambda point: point.dose)
    assert average(doses[0.4], "reading") == pytest.approx(0.4)
    assert average(doses[0.4], "kl") == pytest.approx(0.4)
    assert average(doses[0.4], "judge") is None
    assert perplexity_ratio([*doses[0.4], *doses[-0.2]]) == pytest.approx(2.718281828 ** ((0.4 + 0.2) / 2))
    assert perplexity_ratio([]) is None
