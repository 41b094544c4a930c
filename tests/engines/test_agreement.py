"""Whether two engines see the same residuals."""

from __future__ import annotations

import pytest

from localprobe.engines.agreement import compare, residuals
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine

TEXTS = ["The same text.", "Another one, longer."]


def test_a_model_agrees_with_itself() -> None:
    found = compare(residuals(FakeEngine(), TEXTS), residuals(FakeEngine(), TEXTS))
    assert [each.layer for each in found] == list(range(6))
    assert all(each.pooled == pytest.approx(1) and each.token == pytest.approx(1) for each in found)


def test_another_models_residuals_are_others() -> None:
    found = compare(residuals(FakeEngine(), TEXTS), residuals(FakeEngine(seed=1), TEXTS))
    assert all(each.token < 0.9 for each in found)


def test_other_tokens_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="different tokens"):
        compare(residuals(FakeEngine(), TEXTS), residuals(FakeEngine(), TEXTS[::-1]))
