"""The scale that doses are measured in."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.capture import scale
from localprobe.contrast.pairs import TEXT_SETS, read_texts
from localprobe.engine import Row
from localprobe.fake import FakeEngine


def test_the_scale_is_the_median_length_of_residuals_after_the_first_token(engine: FakeEngine) -> None:
    found = scale.measure(engine)
    assert found.shape == (engine.info.layers,)
    rows = [Row(engine.encode(text)[: engine.info.context]) for text in read_texts(TEXT_SETS.path("neutral"))[:16]]
    lengths = [np.linalg.norm(o.residuals[0, 1:], axis=-1) for o in engine.forward(rows, [2])]
    assert found[2] == pytest.approx(np.median(np.concatenate(lengths)), rel=1e-5)


def test_the_scale_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(seed=11)
    first = scale.residual_scale(engine)
    monkeypatch.setattr(scale, "measure", lambda engine: pytest.fail("it was measured again"))
    np.testing.assert_array_equal(scale.residual_scale(engine), first)
