"""Steering in a forward pass: `h' = h + delta`, at its layer, at its positions, in its row, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Engine, FloatArray, Row, Steering, Term
from localprobe.testing.contract.base import (
    ContractBase,
    everywhere,
    middle,
    one,
    strong_delta,
    text_ids,
    with_and_without,
)

LENGTH = 9
SPANS = {
    "all": (0, None),
    "prompt": (0, LENGTH - 1),
    "response": (LENGTH - 1, None),
    "inside": (2, 5),
    "two_tokens_on": (3, None),
    "past_the_end": (4, LENGTH + 50),
    "nothing": (LENGTH, None),
}


class SteeringContract(ContractBase):
    """`forward`, steered."""

    def test_alpha_zero_is_bitwise_no_steering(self, engine: Engine) -> None:
        layers = list(range(engine.info.layers))
        zero = Term(middle(engine), np.zeros(engine.info.width, np.float32))
        rows = [Row(text_ids(engine, 0, LENGTH), full=(LENGTH - 1,)), Row(text_ids(engine, 1, 4), full=(0, 3))]
        steered = engine.forward([replace(row, steering=(zero,)) for row in rows], layers)
        for output, plain in zip(steered, engine.forward(rows, layers), strict=True):
            np.testing.assert_array_equal(output.residuals, plain.residuals)
            np.testing.assert_array_equal(output.full, plain.full)

    def test_steering_leaves_nothing_behind(self, engine: Engine) -> None:
        row = Row(text_ids(engine, 0, LENGTH), full=(LENGTH - 1,))
        before = one(engine, row, [engine.info.layers - 1])
        steered = one(engine, replace(row, steering=everywhere(engine)), [engine.info.layers - 1])
        after = one(engine, row, [engine.info.layers - 1])
        assert not np.array_equal(before.full, steered.full)
        np.testing.assert_array_equal(before.residuals, after.residuals)
        np.testing.assert_array_equal(before.full, after.full)

    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    def test_the_residual_moves_by_delta_at_its_layer_and_not_below(self, engine: Engine, where: str) -> None:
        last = engine.info.layers - 1
        layer = {"first": engine.info.capabilities.first_layer, "middle": middle(engine), "last": last}[where]
        delta = strong_delta(engine, layer)
        plain, steered = with_and_without(engine, (Term(layer, delta),))
        np.testing.assert_array_equal(plain[:layer], steered[:layer])
        self._moved_by(engine, plain[layer], steered[layer], delta)
        for above in range(layer + 1, last + 1):
            assert not np.array_equal(plain[above], steered[above])

    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    def test_steering_any_layer_changes_the_logits(self, engine: Engine, where: str) -> None:
        last = engine.info.layers - 1
        layer = {"first": engine.info.capabilities.first_layer, "middle": middle(engine), "last": last}[where]
        row = Row(text_ids(engine, 0, LENGTH), full=(LENGTH - 1,))
        plain = one(engine, row).full[0]
        steered = one(engine, replace(row, steering=(Term(layer, strong_delta(engine, layer)),))).full[0]
        # By much more than rounding: a total variation of a few percent at the least.
        assert np.abs(np.exp(steered) - np.exp(plain)).sum() / 2 > 0.02
        np.testing.assert_allclose(np.exp(steered.astype(np.float64)).sum(), 1, atol=1e-3)

    @pytest.mark.parametrize("name", SPANS)
    def test_only_the_span_is_steered(self, engine: Engine, name: str) -> None:
        if name != "all":
            self.needs(engine, "span_steering")
        start, stop = SPANS[name]
        layer, last = middle(engine), engine.info.layers - 1
        term = Term(layer, strong_delta(engine, layer), start, stop)
        plain, steered = with_and_without(engine, (term,))
        covered = np.array([term.covers(position) for position in range(LENGTH)])
        np.testing.assert_array_equal(plain[layer, ~covered], steered[layer, ~covered])
        self._moved_by(engine, plain[layer, covered], steered[layer, covered], term.delta)
        np.testing.assert_array_equal(plain[:, :start], steered[:, :start])  # nothing earlier sees it
        if start < LENGTH and layer < last:  # everything later does
            assert (plain[last, start:] != steered[last, start:]).any(axis=-1).all()

    def test_terms_at_one_layer_add_up(self, engine: Engine) -> None:
        layer = middle(engine)
        one_delta, other = strong_delta(engine, layer, 1), strong_delta(engine, layer, 2)
        plain, steered = with_and_without(engine, (Term(layer, one_delta), Term(layer, other)))
        self._moved_by(engine, plain[layer], steered[layer], one_delta + other)

    def test_overlapping_spans_add_up(self, engine: Engine) -> None:
        self.needs(engine, "span_steering")
        layer = middle(engine)
        one_delta, other = strong_delta(engine, layer, 1), strong_delta(engine, layer, 2)
        plain, steered = with_and_without(engine, (Term(layer, one_delta, 0, 6), Term(layer, other, 3, None)))
        self._moved_by(engine, plain[layer, :3], steered[layer, :3], one_delta)
        self._moved_by(engine, plain[layer, 3:6], steered[layer, 3:6], one_delta + other)
        self._moved_by(engine, plain[layer, 6:], steered[layer, 6:], other)

    def test_terms_at_two_layers_both_apply(self, engine: Engine) -> None:
        lower, upper = engine.info.capabilities.first_layer, engine.info.layers - 1
        if lower == upper:
            pytest.skip("only one layer can be steered")
        low, high = Term(lower, strong_delta(engine, lower, 1)), Term(upper, strong_delta(engine, upper, 2))
        plain, both = with_and_without(engine, (high, low))
        self._moved_by(engine, plain[lower], both[lower], low.delta)
        _, only_low = with_and_without(engine, (low,))
        self._moved_by(engine, only_low[upper], both[upper], high.delta)

    def test_pooled_and_stopped_residuals_are_steered_too(self, engine: Engine) -> None:
        layer = middle(engine)
        delta = strong_delta(engine, layer)
        row = Row(text_ids(engine, 0, LENGTH), spans=((0, LENGTH), (2, 4)))
        plain = one(engine, row, [layer]).residuals
        steered = one(engine, replace(row, steering=(Term(layer, delta),)), [layer]).residuals
        self._moved_by(engine, plain, steered, delta)

    def test_each_row_has_its_own_steering(self, engine: Engine) -> None:
        self.needs(engine, "row_steering")
        layers = list(range(engine.info.layers))
        lower = engine.info.capabilities.first_layer
        steerings: list[Steering] = [
            everywhere(engine, 1),
            (),
            everywhere(engine, 1, dose=-0.7),
            (*everywhere(engine, 2), Term(lower, strong_delta(engine, lower, 3))),
        ]
        rows = [Row(text_ids(engine, n, 5 + n), steering, full=(4,)) for n, steering in enumerate(steerings)]
        together = engine.forward(rows, layers)
        for row, output in zip(rows, together, strict=True):
            alone = one(engine, row, layers)
            self.close_residuals(engine, output.residuals, alone.residuals)
            self.close_logprobs(engine, output.full, alone.full)
        unsteered = engine.forward([replace(row, steering=()) for row in rows], layers)
        np.testing.assert_array_equal(together[1].residuals, unsteered[1].residuals)
        np.testing.assert_array_equal(together[1].full, unsteered[1].full)

    def test_each_row_has_its_own_spans(self, engine: Engine) -> None:
        self.needs(engine, "row_steering", "span_steering")
        layer = middle(engine)
        delta = strong_delta(engine, layer)
        terms = [Term(layer, delta, 0, 3), Term(layer, delta, 3, None), Term(layer, -delta, 1, 2)]
        lengths = [9, 4, 6]  # a padded batch must not shift the spans of its shorter rows
        rows = [Row(text_ids(engine, n, length)) for n, length in enumerate(lengths)]
        plain = engine.forward(rows, [layer])
        steered = engine.forward(
            [replace(row, steering=(term,)) for row, term in zip(rows, terms, strict=True)], [layer]
        )
        for before, after, term, length in zip(plain, steered, terms, lengths, strict=True):
            covered = np.array([term.covers(position) for position in range(length)])
            self._moved_by(engine, before.residuals[0, covered], after.residuals[0, covered], term.delta)
            np.testing.assert_array_equal(before.residuals[0, ~covered], after.residuals[0, ~covered])

    def _moved_by(self, engine: Engine, plain: FloatArray, steered: FloatArray, delta: FloatArray) -> None:
        """Assert that residuals (..., width) moved by `delta` (width,), to the rounding of their dtype."""
        error = np.linalg.norm(steered - plain - delta, axis=-1)
        scale = np.linalg.norm(plain, axis=-1) + np.linalg.norm(delta)
        assert (error / scale).max(initial=0) <= self.within(engine).residual
