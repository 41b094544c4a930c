"""Made-up sweeps say the same few sentences thousands of times."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from localprobe.experiments import outcomes


@pytest.fixture(scope="package", autouse=True)
def measured_once() -> Iterator[None]:
    """Each sentence is measured once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "degeneration", cache(outcomes.degeneration))
        yield
