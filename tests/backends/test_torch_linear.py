"""Linear layers by oneDNN: the same numbers as torch's own, and only where they are known to come faster."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from localprobe.engine import Row
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import linear
from localprobe_torch.linear import OneDnnLinear, gains, use_onednn
from tests.backends.torch_models import load, random_ids

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()),
    reason="this torch has not both MKL and oneDNN",
)


def made_by(vendor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the processor be of a maker, as Linux says it."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(linear, "_CPUINFO", cpuinfo)


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_by("AuthenticAMD", monkeypatch, tmp_path)


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_by("GenuineIntel", monkeypatch, tmp_path)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 40), (7, 40), (2, 3, 40), (1, 1, 40), (0, 40)])
def test_it_computes_what_a_linear_layer_does(shape: tuple[int, ...], bias: bool, amd: None) -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(40, 56, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        own = layer(rows)
        assert use_onednn(layer)
        assert type(layer) is OneDnnLinear
        found = layer(rows)
    assert found.shape == own.shape
    torch.testing.assert_close(found, own, rtol=1e-5, atol=1e-5)


def test_rows_that_lie_apart_in_memory_are_read_rightly(amd: None) -> None:
    layer, rows = nn.Linear(40, 56), torch.randn(3, 6, 80)[:, ::2, ::2]
    with torch.inference_mode():
        own = layer(rows)
        use_onednn(layer)
        torch.testing.assert_close(layer(rows), own, rtol=1e-5, atol=1e-5)


def test_an_intel_keeps_mkl(intel: None) -> None:
    layer = nn.Linear(4, 4)
    assert not use_onednn(layer)
    assert type(layer) is nn.Linear


@pytest.mark.parametrize(("said", "expected"), [("AMD64 Family 25, AuthenticAMD", True), ("", False)])
def test_where_there_is_no_cpuinfo_the_system_is_asked(
    said: str, expected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(linear, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(platform, "processor", lambda: said)
    assert gains() == expected


def test_torchs_own_switch_turns_it_off(amd: None) -> None:
    assert gains()
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert not gains()


def test_a_torch_without_the_operation_goes_on_as_before(amd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
    assert not gains()


def test_a_torch_whose_operation_computes_something_else_goes_on_as_before(
    amd: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_pointwise", lambda: lambda rows, weight, *_: rows @ weight.T)  # no bias
    assert not gains()


def test_other_layers_stay_as_they_are(amd: None) -> None:
    class Quantised(nn.Linear):
        pass

    model = nn.Sequential(Quantised(4, 4), nn.Linear(4, 4, dtype=torch.bfloat16), nn.Linear(4, 4))
    assert use_onednn(model)
    assert [type(layer) for layer in model] == [Quantised, nn.Linear, OneDnnLinear]


def test_a_model_that_is_not_all_on_the_cpu_stays_as_it_is(amd: None) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    assert not use_onednn(model)
    assert type(model[0]) is nn.Linear


def test_an_engine_says_which_library_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Captures are kept under the engine's version, so those of the two are not mixed."""
    folder, rows = tiny_folder("llama", tmp_path / "tiny-llama"), [Row(ids, spans=((0, 9),)) for ids in random_ids(9)]
    found = []
    for vendor, ending in (("AuthenticAMD", ", oneDNN"), ("GenuineIntel", "")):
        made_by(vendor, monkeypatch, tmp_path)
        engine = load(folder)
        assert engine.info.version.endswith(ending)
        assert ("oneDNN" in engine.info.version) == bool(ending)
        found.append(engine.forward(rows, [3])[0].residuals)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
