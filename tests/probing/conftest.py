"""Pairs that any model separates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.contrast.pairs import Pair, read_pairs, shipped


@pytest.fixture(scope="package")
def shouting() -> list[Pair]:
    """One text of each pair is in capitals."""
    return [
        replace(pair, positive=pair.positive[:40].upper(), negative=pair.negative[:40].lower())
        for pair in read_pairs(shipped("empathy"))[::4]
    ]
