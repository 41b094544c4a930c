from __future__ import annotations

import pytest

from localprobe.models.catalogue import CATALOGUE, close_match


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


@pytest.mark.parametrize(
    ("written", "meant"),
    [("phi3-mini", "phi-3-mini"), ("SmolLM2", "smollm2-135m"), ("dolphin-llama", "dolphin-llama3.1-8b"), ("zzz", None)],
)
def test_close_match(written: str, meant: str | None) -> None:
    assert close_match(written) == meant
