"""Operators other than addition: ablation, caps, additions that keep the norm, alone, together and while decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from localprobe.edits import edited
from localprobe.engine import Coordinates, Engine, Operator, Prompt, Row, Steering, Term
from localprobe.testing.contract.base import middle, one, strong_delta, text_ids, unit, with_and_without
from localprobe.testing.contract.stream import PLAIN, StreamChecks, play

LENGTH = 9
SPANS = {"all": (0, None), "begins later": (4, None), "middle": (2, 5), "first": (0, 1)}


def ablated(engine: Engine, layer: int, *, seed: int = 5, share: float = 1.0, target: float = 0.0) -> Term:
    """Takes a share of the coordinate along a random direction away."""
    goal = np.array([target], dtype=np.float32)
    return Term.along(layer, Coordinates(unit(engine, seed)[None], goal, share))


def capped(engine: Engine, layer: int, low: float, high: float, *, seed: int = 5) -> Term:
    """Holds the coordinate along a random direction within bounds."""
    return Term.along(layer, Coordinates(unit(engine, seed)[None], np.zeros(1, np.float32), low=low, high=high))


def subspace(engine: Engine, layer: int, count: int = 3, share: float = 1.0) -> Term:
    """Takes the coordinates along several orthonormal directions away."""
    rows = np.stack([unit(engine, seed) for seed in range(count)], axis=1)  # (width, count)
    basis = np.ascontiguousarray(np.linalg.qr(rows)[0].T, dtype=np.float32)
    return Term.along(layer, Coordinates(basis, np.zeros(count, np.float32), share))


def rescaled(engine: Engine, layer: int, seed: int = 7) -> Term:
    """Adds a random direction and keeps the norm."""
    return Term(layer, strong_delta(engine, layer, seed), keep_norm=True)


OPERATORS: dict[str, tuple[Operator, Callable[[Engine, int], Term]]] = {
    "ablate": ("ablate", ablated),
    "ablate half": ("ablate", lambda engine, layer: ablated(engine, layer, share=0.5)),
    "ablate to a mean": ("ablate", lambda engine, layer: ablated(engine, layer, target=_spread(engine, layer))),
    "ablate a subspace": ("ablate", subspace),
    "cap": ("cap", lambda engine, layer: capped(engine, layer, -0.1 * _spread(engine, layer), 0.1)),
    "set": ("cap", lambda engine, layer: capped(engine, layer, *[_spread(engine, layer)] * 2)),
    "keep the norm": ("keep-norm", rescaled),
}


def _spread(engine: Engine, layer: int) -> float:
    """The standard deviation of a coordinate of ordinary residuals, about."""
    return float(np.linalg.norm(strong_delta(engine, layer)) / np.sqrt(engine.info.width))


class OperatorContract(StreamChecks):
    """`forward` and streams with operators; each is compared with the reference in `localprobe.edits`."""

    def able(self, engine: Engine, *operators: str) -> None:
        """Skip the test if the engine lacks one of these operators."""
        for operator in operators:
            if operator not in engine.info.capabilities.operators:
                pytest.skip(f"the engine does not support {operator}")

    @pytest.mark.parametrize("name", OPERATORS)
    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    def test_the_steered_layer_is_what_the_reference_says(self, engine: Engine, name: str, where: str) -> None:
        operator, make = OPERATORS[name]
        self.able(engine, operator)
        last = engine.info.layers - 1
        layer = {"first": engine.info.capabilities.first_layer, "middle": middle(engine), "last": last}[where]
        term = make(engine, layer)
        plain, steered = with_and_without(engine, (term,))
        np.testing.assert_array_equal(plain[:layer], steered[:layer])
        self.close_residuals(engine, steered[layer], edited(plain[layer], term))
        assert not np.allclose(steered[layer], plain[layer], rtol=1e-3)
        for above in range(layer + 1, last + 1):
            assert not np.array_equal(plain[above], steered[above])

    @pytest.mark.parametrize("name", OPERATORS)
    @pytest.mark.parametrize("span", SPANS)
    def test_an_operator_steers_only_its_span(self, engine: Engine, name: str, span: str) -> None:
        operator, make = OPERATORS[name]
        self.able(engine, operator)
        if span != "all":
            self.needs(engine, "span_steering")
        start, stop = SPANS[span]
        layer = middle(engine)
        term = replace(make(engine, layer), start=start, stop=stop)
        plain, steered = with_and_without(engine, (term,))
        covered = np.array([term.covers(position) for position in range(LENGTH)])
        np.testing.assert_array_equal(plain[layer, ~covered], steered[layer, ~covered])
        self.close_residuals(engine, steered[layer, covered], edited(plain[layer, covered], term))
        np.testing.assert_array_equal(plain[:, :start], steered[:, :start])

    @pytest.mark.parametrize("name", ["share 0", "open cap"])
    def test_what_changes_no_coordinate_is_bitwise_the_unsteered_pass(self, engine: Engine, name: str) -> None:
        self.able(engine, "ablate" if name == "share 0" else "cap")
        layer = middle(engine)
        wide = 1e3 * _spread(engine, layer) * np.sqrt(engine.info.width)
        term = (
            ablated(engine, layer, share=0.0, target=3.0) if name == "share 0" else capped(engine, layer, -wide, wide)
        )
        rows = [Row(text_ids(engine, n, 5 + 4 * n), full=(4,)) for n in range(2)]
        layers = list(range(engine.info.layers))
        steered = engine.forward([replace(row, steering=(term,)) for row in rows], layers)
        for output, plain in zip(steered, engine.forward(rows, layers), strict=True):
            np.testing.assert_array_equal(output.residuals, plain.residuals)
            np.testing.assert_array_equal(output.full, plain.full)

    def test_ablating_twice_equals_once(self, engine: Engine) -> None:
        self.able(engine, "ablate")
        layer = middle(engine)
        _, once = with_and_without(engine, (subspace(engine, layer),))
        _, twice = with_and_without(engine, (subspace(engine, layer), subspace(engine, layer)))
        self.close_residuals(engine, twice[layer], once[layer])

    def test_terms_at_one_layer_act_in_their_order(self, engine: Engine) -> None:
        self.able(engine, "ablate", "cap", "keep-norm")
        layer = middle(engine)
        add = Term(layer, 2 * strong_delta(engine, layer, 5))  # along the ablated direction
        terms = (add, ablated(engine, layer), rescaled(engine, layer), capped(engine, layer, 0.0, 0.1, seed=7))
        for steering in (terms, terms[::-1], (ablated(engine, layer), add)):
            plain, steered = with_and_without(engine, steering)
            expected = plain[layer]
            for term in steering:
                expected = edited(expected, term)
            self.close_residuals(engine, steered[layer], expected)

    def test_ablation_at_every_layer_leaves_nothing_along_the_direction(self, engine: Engine) -> None:
        self.able(engine, "ablate")
        layers = range(engine.info.capabilities.first_layer, engine.info.layers)
        _, steered = with_and_without(engine, tuple(ablated(engine, layer) for layer in layers))
        norms = np.linalg.norm(steered, axis=-1)[layers[0] :]
        along = np.abs(steered @ unit(engine, 5))[layers[0] :]
        assert (along <= self.within(engine).residual * norms).all()

    def test_rows_of_a_batch_have_their_own_operators(self, engine: Engine) -> None:
        self.needs(engine, "row_steering", "span_steering")
        steerings = self._steerings(engine)
        layers = list(range(engine.info.layers))
        rows = [Row(text_ids(engine, n, 5 + n % 4), steering, full=(4,)) for n, steering in enumerate(steerings)]
        together = engine.forward(rows, layers)
        for row, output in zip(rows, together, strict=True):
            alone = one(engine, row, layers)
            self.close_residuals(engine, output.residuals, alone.residuals)
            self.close_logprobs(engine, output.full, alone.full)
        unsteered = engine.forward([replace(row, steering=()) for row in rows], layers)
        np.testing.assert_array_equal(together[0].residuals, unsteered[0].residuals)

    def test_rows_decode_under_their_own_operators(self, engine: Engine) -> None:
        self.needs(engine, "row_steering", "span_steering", "decoding")
        steerings = self._steerings(engine)
        prompts = [Prompt(text_ids(engine, 0, 4 + n % 3), steering, PLAIN) for n, steering in enumerate(steerings)]
        stream = engine.open(prompts, room=6, watch=self.watches(engine))
        played = play(stream, 6, len(prompts))
        for row, prompt in enumerate(prompts):
            self.agrees(engine, prompt, played, row, self.watches(engine))
        stream.close()

    @pytest.mark.parametrize("name", OPERATORS)
    def test_the_last_layer_may_be_steered_at_the_beginning_of_a_prompt_alone(self, engine: Engine, name: str) -> None:
        """An engine may compute the last layer's residuals at the prompt's end only, where the term does not act."""
        operator, make = OPERATORS[name]
        self.able(engine, operator)
        self.needs(engine, "span_steering", "decoding")
        last = engine.info.layers - 1
        prompt = Prompt(text_ids(engine, 0, LENGTH), (replace(make(engine, last), start=1, stop=4),), PLAIN)
        stream = engine.open([prompt], room=3)
        played = play(stream, 3, 1)
        self.agrees(engine, prompt, played, 0, ())
        stream.close()

    def _steerings(self, engine: Engine) -> list[Steering]:
        """Unsteered, added, and every operator that the engine has, at spans of their own and mixed: up to 16 rows."""
        layer, last = middle(engine), engine.info.layers - 1
        able = [make for operator, make in OPERATORS.values() if operator in engine.info.capabilities.operators]
        add = Term(last, strong_delta(engine, last, 3))
        plain: list[Steering] = [(), (Term(layer, strong_delta(engine, layer)),)]
        whole: list[Steering] = [(make(engine, layer),) for make in able]
        mixed: list[Steering] = [
            (replace(make(engine, layer), start=3), Term(layer, strong_delta(engine, layer, 2), 0, 5), add)
            for make in able
        ]
        return [*plain, *whole, *mixed]
