"""What a sweep shows, drawn on Axes that anyone may give."""

from __future__ import annotations

import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from localprobe.figures.steering import by_layer, dose_response, spread
from localprobe.stats.rates import rate


@pytest.fixture
def axis() -> Axes:
    return Figure().subplots()


def lines(axis: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Label -> x and y of every line that has a label of its own."""
    drawn = {str(line.get_label()): line for line in axis.lines}
    return {
        label: (list(line.get_xdata()), list(line.get_ydata()))  # type: ignore[arg-type]
        for label, line in drawn.items()
        if not label.startswith("_")
    }


def test_a_dose_response_is_a_line_with_intervals_and_crosses_where_answers_break(axis: Axes) -> None:
    rates = [rate(count, 4) for count in (1, 2, 4)]
    dose_response(axis, [-0.2, 0.0, 0.2], rates, [rate(2, 4), rate(0, 4), rate(1, 4)], label="vector")
    assert lines(axis) == {"vector": ([-0.2, 0.0, 0.2], [0.25, 0.5, 1.0]), "degenerate": ([-0.2], [0.25])}
    (bars,) = axis.containers
    assert bars.has_yerr  # type: ignore[attr-defined]


@pytest.mark.parametrize(("intervals", "bars", "bands"), [("bars", 1, 0), ("band", 0, 1), ("", 0, 0)])
def test_intervals_are_bars_or_a_band_or_nothing(axis: Axes, intervals: str, bars: int, bands: int) -> None:
    rates = [rate(1, 4), rate(3, 4)]
    dose_response(axis, [0.0, 0.2], rates, [rate(0, 4)] * 2, intervals=intervals, label="vector")  # type: ignore[arg-type]
    areas = [area for area in axis.collections if isinstance(area, PolyCollection)]
    assert (len(axis.containers), len(areas)) == (bars, bands)


def test_reading_stands_beside_steering_by_layer(axis: Axes) -> None:
    strict, paper = [rate(1, 4), rate(3, 4)], [rate(2, 4), rate(4, 4)]
    by_layer(axis, [3, 5], strict, paper, [0.9, None])
    assert lines(axis)["AUROC"] == ([3], [0.9])
    assert lines(axis)["success, paper's rule"] == ([3, 5], [0.5, 1.0])
    _, labels = axis.get_legend_handles_labels()
    assert "success, strict" in labels
    assert axis.get_xlabel() == "layer"


def test_no_auroc_draws_none(axis: Axes) -> None:
    by_layer(axis, [3], [rate(1, 4)], [rate(1, 4)], [None])
    assert "AUROC" not in lines(axis)


def test_many_values_are_thinned_evenly_with_both_ends() -> None:
    assert spread(range(4), 8) == [0, 1, 2, 3]
    assert spread(range(32), 4) == [0, 10, 21, 31]
