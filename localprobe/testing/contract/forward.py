"""Forward passes without steering: residuals, spans, log-probabilities, and rows that do not see each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from localprobe.engine import Engine, Output, Row
from localprobe.testing.contract.base import ContractBase, middle, one, text_ids


class ForwardContract(ContractBase):
    """`forward`, unsteered."""

    def test_residuals_are_float32_of_every_position(self, engine: Engine) -> None:
        row = Row(text_ids(engine, 0, 7))
        output = one(engine, row, [0, engine.info.layers - 1])
        assert output.residuals.shape == (2, 7, engine.info.width)
        assert output.residuals.dtype == np.float32
        assert np.isfinite(output.residuals).all()
        assert output.targets.shape == (0,)
        assert output.full.shape == (0, engine.info.vocabulary)

    def test_layers_come_in_the_order_asked_for(self, engine: Engine) -> None:
        layers = list(range(engine.info.layers))
        row = Row(text_ids(engine, 0, 6))
        forwards = one(engine, row, layers).residuals
        backwards = one(engine, row, layers[::-1]).residuals
        np.testing.assert_array_equal(forwards, backwards[::-1])
        for below, above in pairwise(forwards):
            assert not np.array_equal(below, above)

    def test_a_row_of_one_token(self, engine: Engine) -> None:
        row = Row(text_ids(engine, 0, 1), targets=np.array([[0, 5]], np.int32), full=(0,))
        output = one(engine, row, [middle(engine)])
        assert output.residuals.shape == (1, 1, engine.info.width)
        np.testing.assert_allclose(output.targets[0], output.full[0, 5], atol=1e-3)

    def test_spans_are_means_of_positions(self, engine: Engine) -> None:
        ids = text_ids(engine, 0, 9)
        layers = [engine.info.layers - 1, 0]
        every = one(engine, Row(ids), layers).residuals
        spans = ((0, 9), (3, 5), (8, 9), (1, 9))
        pooled = one(engine, Row(ids, spans=spans), layers).residuals
        assert pooled.shape == (2, 4, engine.info.width)
        assert pooled.dtype == np.float32
        largest = np.linalg.norm(every, axis=-1).max()
        for number, (start, stop) in enumerate(spans):
            np.testing.assert_allclose(pooled[:, number], every[:, start:stop].mean(axis=1), atol=1e-4 * largest)

    def test_no_spans_and_no_layers_give_empty_arrays(self, engine: Engine) -> None:
        ids = text_ids(engine, 0, 5)
        assert one(engine, Row(ids, spans=()), [0]).residuals.shape == (1, 0, engine.info.width)
        assert one(engine, Row(ids, full=(4,))).residuals.shape == (0, 5, engine.info.width)

    def test_a_pass_that_stops_early_gives_the_same_residuals(self, engine: Engine) -> None:
        ids = text_ids(engine, 1, 8)
        layers = sorted({0, middle(engine)})
        stopped = one(engine, Row(ids), layers).residuals
        whole = one(engine, Row(ids, full=(7,)), layers).residuals
        self.close_residuals(engine, stopped, whole)

    def test_logprobs_are_normalised_and_targets_are_their_entries(self, engine: Engine) -> None:
        ids = text_ids(engine, 1, 8)
        targets = np.array([[0, ids[1]], [6, ids[7]], [7, 3], [2, ids[3]], [7, 4]], np.int32)
        output = one(engine, Row(ids, targets=targets, full=(7, 0, 2, 6)))
        assert output.full.shape == (4, engine.info.vocabulary)
        assert output.full.dtype == np.float32
        assert output.targets.dtype == np.float32
        np.testing.assert_allclose(np.exp(output.full.astype(np.float64)).sum(axis=-1), 1, atol=1e-3)
        full_row = {7: 0, 0: 1, 2: 2, 6: 3}
        entries = [output.full[full_row[position], token] for position, token in targets.tolist()]
        np.testing.assert_allclose(output.targets, entries, atol=1e-3)

    def test_a_batch_equals_its_rows_alone(self, engine: Engine) -> None:
        rows = _mixed_rows(engine)
        layers = [0, middle(engine), engine.info.layers - 1]
        together = engine.forward(rows, layers)
        assert len(together) == len(rows)
        for row, output in zip(rows, together, strict=True):
            self._close_outputs(engine, output, one(engine, row, layers))

    def test_rows_do_not_see_each_other(self, engine: Engine) -> None:
        rows = _mixed_rows(engine)
        layers = [middle(engine), engine.info.layers - 1]
        before = engine.forward(rows, layers)
        rows[1] = Row(text_ids(engine, 3, len(rows[1].ids)), full=rows[1].full)
        after = engine.forward(rows, layers)
        assert not np.array_equal(before[1].residuals, after[1].residuals)
        for number in (0, 2, 3):
            np.testing.assert_array_equal(before[number].residuals, after[number].residuals)
            np.testing.assert_array_equal(before[number].targets, after[number].targets)
            np.testing.assert_array_equal(before[number].full, after[number].full)

    def test_no_position_sees_a_later_one(self, engine: Engine) -> None:
        ids = text_ids(engine, 0, 9)
        changed = ids.copy()
        changed[6:] = text_ids(engine, 1, 9)[6:]
        layers = [0, engine.info.layers - 1]
        before, after = (one(engine, Row(row), layers).residuals for row in (ids, changed))
        np.testing.assert_array_equal(before[:, :6], after[:, :6])
        assert not np.array_equal(before[:, 6:], after[:, 6:])

    def test_a_pass_repeats_bitwise(self, engine: Engine) -> None:
        rows, layers = _mixed_rows(engine), [engine.info.layers - 1]
        for first, second in zip(engine.forward(rows, layers), engine.forward(rows, layers), strict=True):
            np.testing.assert_array_equal(first.residuals, second.residuals)
            np.testing.assert_array_equal(first.full, second.full)

    def test_any_thread_may_call(self, engine: Engine) -> None:
        row = Row(text_ids(engine, 0, 6), full=(5,))
        here = one(engine, row, [0])
        with ThreadPoolExecutor(1) as pool:
            there = pool.submit(one, engine, row, [0]).result()
        np.testing.assert_array_equal(here.residuals, there.residuals)
        np.testing.assert_array_equal(here.full, there.full)

    def test_closing_twice_is_fine(self, spare_engine: Engine) -> None:
        spare_engine.close()
        spare_engine.close()

    def _close_outputs(self, engine: Engine, actual: Output, expected: Output) -> None:
        self.close_residuals(engine, actual.residuals, expected.residuals)
        self.close_logprobs(engine, actual.targets, expected.targets)
        self.close_logprobs(engine, actual.full, expected.full)


def _mixed_rows(engine: Engine) -> list[Row]:
    """Rows of different lengths with different requests."""
    return [
        Row(text_ids(engine, 0, 9), spans=((1, 9), (0, 2)), full=(8,)),
        Row(text_ids(engine, 1, 4), full=(0, 3)),
        Row(text_ids(engine, 2, 7), spans=((6, 7),), targets=np.array([[6, 11], [0, 2]], np.int32)),
        Row(text_ids(engine, 3, 1)),
    ]
