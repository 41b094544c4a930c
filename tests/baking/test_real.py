"""The bundled model, baked from its GGUF file; docs/bake.md has the numbers of a fitted direction."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from localprobe.baking import Baked, bake
from localprobe.baking.subspace import Basis, basis
from localprobe.models.weights import converted
from localprobe.testing.texts import TEXTS
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.baking.hooks import ablating, all_writers, distances, logits, transformers_model
from tests.bundled import smollm2

pytestmark = [pytest.mark.real, pytest.mark.slow]
VECTOR = Vector(
    "chance",
    Origin("", width=576, layers=30),
    {14: Direction(np.random.default_rng(0).standard_normal(576).astype(np.float32))},
    14,
)


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Baked]:
    output = tmp_path_factory.mktemp("baked") / "smollm2"
    yield bake(str(smollm2()), [VECTOR], output)
    shutil.rmtree(output)


@pytest.fixture(scope="module")
def directions() -> Basis:
    return basis([VECTOR], [14])


@pytest.fixture(scope="module")
def texts(baked: Baked) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(baked.output / "tokenizer.json"))
    return [tokenizer.encode(text).ids[:32] for text in TEXTS[:4]]


@pytest.fixture(scope="module")
def source(baked: Baked) -> Path:
    """The folder that the GGUF file was converted to."""
    (folder,) = converted().glob(f"{baked.weights}-*")
    return folder


def test_the_bundled_model_is_untied_checked_and_named_by_its_quantisation(baked: Baked) -> None:
    assert baked.changed == {"token embedding": 1, "attention": 30, "MLP": 30}
    assert (baked.untied, baked.tensors, baked.quantisation) == (True, 273, "Q4_1")
    assert baked.check is not None
    assert baked.check.left < 1e-4


def test_its_logits_are_those_of_hooks(baked: Baked, source: Path, directions: Basis, texts: list[list[int]]) -> None:
    original, written = transformers_model(source), transformers_model(baked.output)
    for ids in texts:
        with ablating(all_writers(original), directions):
            expected = logits(original, ids)
        torch.testing.assert_close(logits(written, ids), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


def test_ablation_of_block_outputs_is_near_and_not_the_same(
    source: Path, directions: Basis, texts: list[list[int]]
) -> None:
    found = distances(transformers_model(source), texts, directions)
    everything = found["block outputs, embedding and attention"]
    assert everything.kl < 1e-6
    assert everything.cosine.min() > 1 - 1e-5
    assert 1e-5 < found["block outputs"].kl < found["nothing"].kl / 2
