"""SmolLM2-135M on torch and MLX, steered by each operator, against hooks written by hand in transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from localprobe import discovery, models
from localprobe.engine import FloatArray, IntArray, Row, Steering
from localprobe.model import Model
from localprobe.testing.texts import TEXTS
from tests.operator_hooks import at, cosines, hooked, operators, positions

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

LAYERS, WIDTH, READ = range(30), 576, [15, 21, 29]
"""The steered layer, and later ones."""
POSITIONS = list(positions(9))
OPERATORS = list(operators(LAYERS, WIDTH, 1.0))
Reference = Callable[[IntArray, Steering], FloatArray]


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Residuals (layers, n, width) of a steered text in transformers."""
    import torch
    import transformers

    folder = models.resolve("smollm2-135m", discovery.backend("torch")).path
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return lambda ids, steering: hooked(model, model.model.layers, ids, steering)


@pytest.fixture(scope="module", params=["torch", "mlx"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(f"{request.param}_model")
    return found


def text(model: Model, number: int) -> IntArray:
    """12 to 16 tokens."""
    return model.engine.encode(TEXTS[number % len(TEXTS)])[: 12 + number % 5]


def terms(model: Model, operator: str, where: str, length: int) -> Steering:
    return at(operators(LAYERS, WIDTH, float(model.scale[READ[0]]))[operator], positions(length)[where])


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_alone(model: Model, reference: Reference, operator: str) -> None:
    ids = text(model, 0)
    plain = reference(ids, ())[READ]
    for where in POSITIONS:
        steering = terms(model, operator, where, len(ids))
        expected = reference(ids, steering)[READ]
        found = model.engine.forward([Row(ids, steering)], READ)[0].residuals
        assert cosines(found, expected).min() >= 0.9999, where
        moved = np.linalg.norm(expected - plain, axis=-1).max()  # steering that does little would show nothing
        assert np.linalg.norm(found - expected, axis=-1).max() <= 0.02 * moved, where


def test_sixteen_rows_of_mixed_operators(model: Model, reference: Reference) -> None:
    rows = [Row(text(model, 0))]
    for number in range(15):
        ids = text(model, number)
        first = terms(model, OPERATORS[number % 8], POSITIONS[number % 4], len(ids))
        second = terms(model, OPERATORS[(3 * number + 1) % 8], POSITIONS[(number // 4 + number) % 4], len(ids))
        rows.append(Row(ids, first if number < 8 else (*first, *second)))
    for row, output in zip(rows, model.engine.forward(rows, READ), strict=True):
        assert cosines(output.residuals, reference(row.ids, row.steering)[READ]).min() >= 0.9999
