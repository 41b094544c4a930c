"""Pairs that any model separates, and probes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.contrast.pairs import PAIR_SETS, Pair, read_pairs
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.arrays import validate_arrays
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.report import ProbeReport
from tests.probing.planted import planted

QUICK = ProbeConfig(resamples=100, permutations=10, random_directions=20)


@pytest.fixture(scope="package")
def shouting() -> list[Pair]:
    """One text of each pair is in capitals."""
    return [
        replace(pair, positive=pair.positive[:40].upper(), negative=pair.negative[:40].lower())
        for pair in read_pairs(PAIR_SETS.path("empathy"))[::4]
    ]


@pytest.fixture(scope="package")
def validated(shouting: list[Pair]) -> ProbeReport:
    """A probe of those pairs with all that can be asked of it."""
    return fit(Model(FakeEngine()), shouting, QUICK, concept="shouting", keywords={"a": "one"})


@pytest.fixture(scope="package")
def unvalidated(shouting: list[Pair]) -> ProbeReport:
    """The same probe, measured and not validated."""
    return fit(Model(FakeEngine()), shouting, QUICK, concept="shouting", validate=False)


@pytest.fixture(scope="package")
def of_arrays() -> ProbeReport:
    """Of residuals that another tool captured: neither texts nor a model are known."""
    positive, negative, _ = planted([0.5, 3.0], pairs=40)
    return validate_arrays(positive, negative, layers=[4, 9], config=QUICK, concept="planted")
