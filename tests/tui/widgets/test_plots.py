"""Plots as text: everything is told apart by its characters, so colour is not needed to read them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pytest
from textual.app import App, ComposeResult

from localprobe.probing.baselines import Baseline, Baselines
from localprobe.probing.config import ProbeConfig
from localprobe.probing.lexical import Lexical
from localprobe.probing.permutation import Permutation
from localprobe.probing.random_directions import RandomDirections
from localprobe.probing.result import HeldOutScores, LayerResult, ProbeResult, Validation, Verdict
from localprobe.stats.intervals import Area
from localprobe.stats.rates import Rate
from localprobe.vectors.vector import Origin
from localprobe_tui.runs.dose_plot import DosePlot, Response
from localprobe_tui.widgets.plots import AurocPlot, gauge, histogram, legend, sparkline
from localprobe_tui.widgets.scores import readable, ruled, strengths, tinted
from tests.tui.waiting import screen, wait_until


def result(areas: list[float], *, chosen: int = 1, lexical: bool = True) -> ProbeResult:
    """A validated probe with these AUROCs."""
    both = (0.0, 1.0)
    random = RandomDirections((0.42, 0.5, 0.6), 0.5, 0.1, 0.6, None, 100)
    rows = tuple(
        LayerResult(layer, area, (area - 0.1, area), 0.9, both, 1.0, both, 1.0, both, 1.0, both, random)
        for layer, area in enumerate(areas)
    )
    words, after = Baseline(0.75, both, None), Area(0.8, both)
    return ProbeResult(
        concept="shouting",
        config=ProbeConfig(),
        origin=Origin("fake"),
        train_pairs=14,
        test_pairs=6,
        layer=chosen,
        layers=rows,
        scores=HeldOutScores((), (), ablated_auroc=tuple(areas)),
        validation=Validation(
            permutation=Permutation(0.01, 100, 0.9, 0.6),
            baselines=Baselines(words, None, words, words, words, None),
            leave_one_out={},
            lexical=Lexical(after, after, 0.0, 3.0, 41, "strong") if lexical else None,
            neutral=None,
            verdict=Verdict("It reads.", (), ()),
        ),
    )


def drawn(widget: AurocPlot | DosePlot, *shown: Any, size: tuple[int, int] = (60, 16)) -> str:
    """What a plot looks like."""

    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield widget

    async def run() -> str:
        async with Host().run_test(size=size) as pilot:
            widget.show(*shown)
            await wait_until(pilot, lambda: "●" in screen(pilot))
            return screen(pilot)

    return asyncio.run(run())


def test_auroc_by_layer_shows_probe_interval_band_baseline_and_the_chosen_layer() -> None:
    seen = drawn(AurocPlot(), result([0.6, 0.95, 0.9, 0.85]), 1)
    assert seen.count("●") == 3
    assert seen.count("◆") == 1
    for mark in "│░╌":
        assert mark in seen
    lines = seen.split("\n")
    assert next(i for i, line in enumerate(lines) if "◆" in line) < next(
        i for i, line in enumerate(lines) if "╌" in line
    )
    assert lines[-1].split() == ["0", "1", "2", "3"]


def test_a_probe_that_was_not_validated_is_drawn_without_what_only_a_validation_knows() -> None:
    whole = result([0.6, 0.95, 0.9, 0.85])
    rows = tuple(replace(row, random=None) for row in whole.layers)
    plain = replace(whole, layers=rows, scores=None, validation=None)
    seen = drawn(AurocPlot(), plain, 1)
    assert (seen.count("●"), seen.count("◆")) == (3, 1)
    assert not set(seen) & set("░╌○")
    assert str(legend(plain, 120)) == "● probe, 95 %"


def test_an_auroc_below_the_usual_range_is_not_cut_off() -> None:
    seen = drawn(AurocPlot(), result([0.15, 0.95]), 1)
    assert seen.count("●") == 1
    assert "0.2" in seen
    assert "0.2" not in drawn(AurocPlot(), result([0.6, 0.95]), 1)


def test_the_dose_plot_shows_shares_and_what_degenerates() -> None:
    shares = [Rate(0.1, 0.0, 0.4, 10), Rate(0.5, 0.2, 0.8, 10), Rate(0.9, 0.6, 1.0, 10)]
    broken = [Rate(0.8, 0.5, 1.0, 10), Rate(0.0, 0.0, 0.3, 10), Rate(0.3, 0.1, 0.6, 10)]
    seen = drawn(DosePlot(), Response(3, [-0.3, 0.0, 0.3], shares, broken))
    lines = seen.split("\n")
    assert (seen.count("●"), seen.count("x")) == (3, 3)
    heights = [next(i for i, line in enumerate(lines) if "●" in line[at : at + 20]) for at in (5, 25, 42)]
    assert heights == sorted(heights, reverse=True)


def test_no_plot_needs_a_font_with_braille() -> None:
    measured = [Rate(0.2, 0.1, 0.4, 10), Rate(0.8, 0.6, 0.9, 10)]
    for seen in (
        drawn(AurocPlot(), result([0.6, 0.95, 0.9, 0.85]), 1),
        drawn(DosePlot(), Response(3, [-0.3, 0.3], measured, measured)),
        str(legend(result([0.9, 0.8]), 120)),
    ):
        assert not [mark for mark in seen if "\u2800" <= mark <= "\u28ff"]


def test_a_legend_without_room_breaks_between_its_marks() -> None:
    assert str(legend(result([0.9, 0.8]), 36)).split("\n") == ["● probe  ░ random  ╌ words 0.75", "○ ablated 0.80"]


@pytest.mark.parametrize(
    ("width", "expected"), [(120, "random directions, 95 %"), (80, "random directions"), (48, "ablated")]
)
def test_the_legend_is_as_long_as_there_is_room(width: int, expected: str) -> None:
    line = str(legend(result([0.9, 0.8]), width))
    assert len(line) <= width
    assert expected in line
    assert "keywords" not in str(legend(result([0.9], chosen=0, lexical=False), 120))


def test_histograms_put_both_poles_on_one_axis() -> None:
    lines = str(
        histogram([3.0, 4.0, 4.0], [1.0, 1.0, 2.0], threshold=2.5, width=35, rows=2, note=" · 100% right")
    ).split("\n")
    high, low, axis, scale = lines[1], lines[3], lines[4], lines[5]
    assert high.startswith("high ")
    assert low.startswith("low  ")
    assert {len(line) for line in lines} == {35}
    cut = axis.index("┴")
    assert not set(high[5:cut]) & set("▁▂▃▄▅▆▇█")
    assert not set(low[cut + 1 :]) & set("▁▂▃▄▅▆▇█")
    assert high.endswith("█")
    assert (scale.split()[0], scale.split()[-1]) == ("1", "4")
    assert "threshold" not in scale or "100% right" in scale


def test_a_histogram_of_equal_scores_does_not_fail() -> None:
    assert "high" in str(histogram([1.0, 1.0], [1.0, 1.0], threshold=1.0, width=20, rows=1))


def test_a_sparkline_keeps_order_and_averages_what_is_too_much() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert len(sparkline(list(np.arange(100.0)), 12)) == 12
    assert sparkline([2, 2], 4) == "▅▅"
    assert sparkline([-9, 9], 2, low=0, high=1) == "▁█"
    assert sparkline([], 4) == ""


def test_a_gauge_places_a_score_between_the_poles_and_beyond_them() -> None:
    assert gauge(0.5, 21) == "─────┼────●────┼─────"
    assert gauge(9.0, 21)[-1] == "●"
    assert gauge(-9.0, 21)[0] == "●"


def test_strengths_are_0_at_the_threshold_and_cut_at_1() -> None:
    assert strengths([5.0, 8.0, 2.0, 99.0, nan], threshold=5.0, norm=2.0) == [0.0, 0.5, -0.5, 1.0, 0.0]


def test_sign_and_strength_of_a_token_can_be_seen_without_colour() -> None:
    text = tinted(["strong", " mild", " none", " low", " very"], [0.9, 0.4, 0.0, -0.4, -0.9])
    assert str(text) == "strong mild none low very"
    styles = [(bool(s.style.underline), bool(s.style.italic), bool(s.style.bold)) for s in text.spans]  # type: ignore[union-attr]
    assert styles == [
        (True, False, True),
        (True, False, False),
        (False,) * 3,
        (False, True, False),
        (False, True, True),
    ]


def test_bars_stand_under_their_tokens_also_where_lines_wrap_and_characters_are_wide() -> None:
    lines = str(ruled(["one ", "two ", "three"], [1.0, -1.0, 0.0], 8)).split("\n")
    assert lines == ["one two ", "████▁▁▁▁", "three", "▄▄▄▄▄"]
    assert str(ruled(["日本", "a"], [1.0, -1.0], 20)).split("\n") == ["日本a", "████▁"]
    assert str(ruled(["a\nb"], [1.0], 20)).split("\n") == ["a", "█", "b", "█"]


def test_control_characters_never_reach_the_terminal() -> None:
    assert readable("a\x1b[2Jb\tc\n") == "a\u241b[2Jb c\n"
    assert "\x1b" not in str(ruled(["\x1b[31m"], [0.0], 20))
