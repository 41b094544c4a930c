"""Mean ablation on the bundled model keeps what neutral text scores on average."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.capture.residuals import capture
from localprobe.capture.scale import texts
from localprobe.engine import FloatArray, Steering
from localprobe.model import Model
from localprobe.steering.positions import Place
from localprobe.vectors.vector import Direction, Origin, Vector

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_the_mean_over_neutral_texts_is_what_it_was_to_one_per_cent(llama_model: Model) -> None:
    info = llama_model.info
    direction = llama_model.neutral_mean[14] + 5 * np.random.default_rng(0).standard_normal(info.width)
    vector = Vector("mixed", Origin(info.model, width=info.width), {14: Direction(direction.astype(np.float32))}, 14)
    unit = vector.directions[14].vector / vector.directions[14].length

    def means(steering: Steering) -> FloatArray:
        captured = capture(
            llama_model.engine, texts(), range(info.layers), "tokens", limit=info.context, steering=steering
        )
        return np.concatenate([each.residuals[:, 1:] @ unit for each in captured], axis=1).mean(axis=1)  # type: ignore[no-any-return]

    (knob,) = llama_model.steering("ablate mixed to mean", find=lambda name: vector)
    np.testing.assert_allclose(means(knob.terms(Place(1))), means(()), rtol=0.01)
