"""What a fitted probe shows of itself: in a terminal, in a notebook, as a figure and as a DataFrame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.errors import UsageError
from localprobe.probing.report import ProbeReport


@pytest.fixture
def unmeasured(unvalidated: ProbeReport) -> ProbeReport:
    """No pair was held out."""
    return replace(unvalidated, result=replace(unvalidated.result, layers=(), scores=None, test_pairs=0))


def test_its_repr_is_one_short_line(
    validated: ProbeReport, unvalidated: ProbeReport, of_arrays: ProbeReport, unmeasured: ProbeReport
) -> None:
    chosen = validated.result.chosen
    measured = f"AUROC {chosen.auroc:.2f} on {validated.result.test_pairs} pairs"
    assert repr(validated) == f"<ProbeReport shouting on fake (fake): layer {chosen.layer}, {measured}>"
    assert repr(unmeasured) == f"<ProbeReport shouting on fake (fake): layer {chosen.layer}>"
    for report in (validated, unvalidated, of_arrays):
        assert len(repr(report)) < 100
        assert "\n" not in repr(report)


def test_printed_it_is_five_lines_with_the_verdict(validated: ProbeReport, unmeasured: ProbeReport) -> None:
    assert validated.verdict is not None
    lines = str(validated).split("\n")
    assert len(lines) == 5
    assert lines[0] == (
        f"shouting on fake (fake): layer {validated.layer}, mean-difference, mean-without-first, fitted on "
        f"{validated.result.train_pairs} pairs"
    )
    assert f"on {validated.result.test_pairs} pairs held out" in lines[1]
    assert lines[2] == validated.verdict.headline
    assert lines[3] == f"does not show: {validated.verdict.does_not_show[0]}"
    assert len(str(unmeasured).split("\n")) == 1


def test_a_notebook_shows_verdict_curve_and_both_layers(validated: ProbeReport, unmeasured: ProbeReport) -> None:
    pytest.importorskip("matplotlib")
    assert validated.verdict is not None
    html = validated._repr_html_()
    assert validated.verdict.headline.replace("'", "&#x27;") in html
    assert html.count("<svg") == 1
    for title in ("cross-validated", "best on the test pairs, which flatters it"):
        assert f"<td>{title}</td>" in html
    assert unmeasured._repr_html_().startswith("<pre>shouting on fake")


def test_what_a_user_named_is_not_read_as_html(unmeasured: ProbeReport, unvalidated: ProbeReport) -> None:
    pytest.importorskip("matplotlib")
    for report in (unmeasured, unvalidated):
        named = replace(report, result=replace(report.result, concept="<script>"))
        assert "<script>" not in named._repr_html_()


def test_a_plot_is_drawn_on_axes_that_are_given_or_new(validated: ProbeReport, unmeasured: ProbeReport) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    _, own = pyplot.subplots()
    assert validated.plot(own) is own
    (curve,) = [line for line in own.get_lines() if line.get_label() == "probe"]
    assert curve.get_ydata().tolist() == [row.auroc for row in validated.layers]
    assert validated.plot() is not own
    pyplot.close("all")
    with pytest.raises(UsageError, match="no pair was held out, so there is nothing to draw"):
        unmeasured.plot()


def test_a_frame_has_a_row_for_each_layer_with_intervals_and_random_directions(
    validated: ProbeReport, unvalidated: ProbeReport, unmeasured: ProbeReport
) -> None:
    pytest.importorskip("pandas")
    frame = validated.to_frame()
    assert frame.index.tolist() == [row.layer for row in validated.layers]
    chosen = frame.loc[validated.layer]
    assert (chosen.auroc, chosen.auroc_low, chosen.auroc_high) == (
        validated.result.chosen.auroc,
        *validated.result.chosen.auroc_interval,
    )
    assert "random_mean" in frame.columns
    assert "random_mean" not in unvalidated.to_frame().columns
    assert len(unmeasured.to_frame()) == 0
