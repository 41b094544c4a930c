"""Success rates, counted and with intervals."""

from __future__ import annotations

from localprobe.experiments.curves import curves
from localprobe.experiments.success import success
from tests.experiments.planted import outcomes_of


def test_counts_by_hand() -> None:
    seen = [
        # effects -1/4, 0, +1/2, 0: the paper counts three, strictly it is two, one of three is a null effect
        *outcomes_of({-10: (0, 4), -5: (1, 4), 0: (1, 4), 5: (3, 4), 10: (1, 4)}, scenario="food"),
        # a baseline of 1 and no effect anywhere: the paper counts every negative alpha
        *outcomes_of({-10: (4, 4), -5: (4, 4), 0: (4, 4), 5: (4, 4), 10: (4, 4)}, scenario="listener"),
    ]
    found = success(curves(seen))
    assert found.cells == 8
    assert (found.paper.count, found.strict.count) == (5, 2)
    assert (found.paper.share, found.strict.share) == (0.625, 0.25)
    assert (found.null_effects, found.unchanged, found.broken) == (3, 6, 0)
    assert found.raised is not None and (found.raised.count, found.raised.of) == (1, 4)
    assert found.lowered is not None and (found.lowered.count, found.lowered.of) == (1, 4)


def test_a_success_among_broken_texts_is_counted_as_such() -> None:
    seen = [
        *outcomes_of({0: (2, 4), 5: (4, 4)}),
        *outcomes_of({-5: (0, 4)}, coherent=False, reasons=("empty",)),
    ]
    found = success(curves(seen))
    assert (found.strict.count, found.broken) == (2, 1)


def test_one_way_alone() -> None:
    found = success(curves(outcomes_of({0: (1, 2), 5: (2, 2)})))
    assert found.lowered is None
    assert found.raised is not None and found.raised.share == 1
