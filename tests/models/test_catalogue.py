from __future__ import annotations

import pytest

from localprobe.models.catalogue import CATALOGUE


def test_every_model_has_weights_for_every_kind_of_engine() -> None:
    for entry in CATALOGUE.values():
        assert entry.package or (entry.folder and entry.mlx and entry.gguf), entry.name
        if entry.gguf:
            assert entry.gguf.file is not None
            assert entry.gguf.file.endswith(".gguf")
            assert str(entry.gguf) == f"{entry.gguf.id}:{entry.gguf.file}"


def test_sizes_agree_with_the_numbers_of_parameters() -> None:
    for entry in CATALOGUE.values():
        if entry.folder and entry.mlx and entry.gguf:
            assert entry.folder.bytes == pytest.approx(2 * entry.parameters, rel=0.01)  # bfloat16
            assert entry.mlx.bytes == pytest.approx(4.5 / 8 * entry.parameters, rel=0.02)  # 4 bits and scales
            assert entry.gguf.bytes == pytest.approx(4.95 / 8 * entry.parameters, rel=0.03)  # Q4_K_M
