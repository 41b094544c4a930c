from __future__ import annotations

import pytest

from localprobe.models.catalogue import CATALOGUE
from localprobe.suggest import close_match


@pytest.mark.parametrize(
    ("written", "meant"),
    [("phi3-mini", "phi-3-mini"), ("SmolLM2", "smollm2-135m"), ("dolphin-llama", "dolphin-llama3.1-8b"), ("zzz", None)],
)
def test_a_mistyped_name_finds_the_one_that_was_meant(written: str, meant: str | None) -> None:
    assert close_match(written, CATALOGUE) == meant
