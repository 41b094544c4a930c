"""Operators on tiny models of other blocks than Llama's, against hooks written by hand in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from localprobe.engine import Row
from localprobe.testing.tiny import tiny_folder
from localprobe_torch.blocks import find_blocks
from tests.backends.torch_models import VOCABULARY, load, own_model, random_ids, write_folder
from tests.operator_hooks import at, cosines, hooked, operators, positions

GPT = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}
MADE: dict[str, Any] = {
    "gpt2": lambda folder: tiny_folder("gpt2", folder),
    "gptj": lambda folder: write_folder(transformers.GPTJConfig(**GPT, rotary_dim=8), folder),  # blocks give tuples
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_a_batch_of_every_operator_at_every_kind_of_position(name: str, tmp_path: Path) -> None:
    folder = MADE[name](tmp_path / name)
    engine, model = load(folder), own_model(folder)
    blocks, layers = find_blocks(model), list(range(engine.info.layers))
    (ids,) = random_ids(12)
    length = float(np.median(np.linalg.norm(hooked(model, blocks, ids, ())[1], axis=-1)))
    for where in positions(12).values():
        rows = [Row(ids), *(Row(ids, at(terms, where)) for terms in operators(layers, 64, length).values())]
        for row, output in zip(rows, engine.forward(rows, layers), strict=True):
            assert cosines(output.residuals, hooked(model, blocks, ids, row.steering)).min() >= 0.9999
    engine.close()
