"""Every kind of RoPE on torch: rows alone, in mixed batches, and answers, against transformers on one text alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import Row
from localprobe_torch.engine import TorchEngine
from tests.backends import rope_checks
from tests.backends.rope_models import ORIGINAL, SIDED, VARIANTS, texts, transformers_states, write
from tests.backends.torch_models import load

pytestmark = pytest.mark.slow  # every variant, on a model of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return write(request.param, tmp_path_factory.mktemp("rope"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[TorchEngine]:
    engine = load(folder)
    yield engine
    engine.close()


@pytest.mark.parametrize("folder", VARIANTS, indirect=True)
def test_rows_and_answers_are_as_if_alone(engine: TorchEngine, folder: Path, request: pytest.FixtureRequest) -> None:
    assert engine.info.rope_length == (ORIGINAL if request.node.callspec.params["folder"] in SIDED else None)
    rope_checks.check_rows(engine, transformers_states(folder))
    rope_checks.check_decoding(engine)


@pytest.mark.parametrize("folder", ["longrope, Phi-3"], indirect=True)
def test_a_cache_holds_rows_of_one_side(engine: TorchEngine) -> None:
    rope_checks.check_reuse(engine)


@pytest.mark.parametrize("folder", ["dynamic"], indirect=True)
def test_dynamic_rows_end_at_the_context(engine: TorchEngine) -> None:
    rope_checks.check_dynamic(engine)


@pytest.mark.parametrize("folder", ["longrope, Phi-3"], indirect=True)
def test_long_factors_matter(engine: TorchEngine) -> None:
    """Else the tests of this file could not fail."""
    ids = texts()[3]
    short, long = (engine.forward([Row(ids[:n])], [1])[0].residuals[0, :ORIGINAL] for n in (ORIGINAL, 120))
    assert np.linalg.norm(long - short) > 0.1 * np.linalg.norm(short)
