"""Linear layers by oneDNN: the same numbers as torch's own, and only where they were measured to come faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from torch import nn

from localprobe.engine import Row
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import linear, linear_speed
from localprobe_torch.linear import OneDnnLinear, gains, onednn_linear, use_onednn
from localprobe_torch.linear_speed import Speedup, onednn_is_faster
from tests.backends.torch_models import load, random_ids

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()),
    reason="this torch has not both MKL and oneDNN",
)

FASTER, SLOWER = Speedup(decoding=1.5, capture=1.7), Speedup(decoding=0.95, capture=1.5)
Measures: TypeAlias = Callable[..., list[int]]


@pytest.fixture(autouse=True)
def every_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LEAST", 1)


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measures:
    """Lets trials give the speedups named, the last of them again and again, on a machine where nothing is kept.

    Returns a list that gets the number of threads at each trial.
    """

    def give(*speedups: Speedup) -> list[int]:
        trials: list[int] = []

        def measure(_: object) -> Speedup:
            trials.append(torch.get_num_threads())
            return speedups[min(len(trials), len(speedups)) - 1]

        monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / f"cache of {speedups}"))
        monkeypatch.setattr(linear_speed, "measure", measure)
        return trials

    return give


@pytest.fixture
def faster(measures: Measures) -> list[int]:
    return measures(FASTER)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 40), (7, 40), (2, 3, 40), (1, 1, 40), (0, 40)])
def test_it_computes_what_a_linear_layer_does(shape: tuple[int, ...], bias: bool, faster: list[int]) -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(40, 56, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        own = layer(rows)
        assert use_onednn(layer)
        assert type(layer) is OneDnnLinear
        outputs = layer(rows)
    assert outputs.shape == own.shape
    torch.testing.assert_close(outputs, own, rtol=1e-5, atol=1e-5)


def test_rows_that_lie_apart_in_memory_are_read_rightly(faster: list[int]) -> None:
    layer, rows = nn.Linear(40, 56), torch.randn(3, 6, 80)[:, ::2, ::2]
    with torch.inference_mode():
        own = layer(rows)
        use_onednn(layer)
        torch.testing.assert_close(layer(rows), own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("decoding", "capture", "clear"),
    [
        (1.52, 1.69, True),
        (0.98, 1.90, True),
        (1.0, 1.0, False),
        (1.1, 1.1, False),  # may be noise
        (0.95, 1.9, False),  # every answer would come more slowly
        (1.9, 0.95, False),
    ],
)
def test_onednn_is_taken_only_where_it_clearly_wins(decoding: float, capture: float, clear: bool) -> None:
    assert Speedup(decoding, capture).clear is clear


def test_where_mkl_is_faster_layers_stay_as_they_are(measures: Measures) -> None:
    measures(SLOWER)
    layer = nn.Linear(4, 4)
    assert not use_onednn(layer)
    assert type(layer) is nn.Linear


@pytest.mark.parametrize(("speedup", "trials"), [(FASTER, 3), (SLOWER, 1)])
def test_a_machine_is_measured_once(
    speedup: Speedup, trials: int, measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = measures(speedup)
    assert {use_onednn(nn.Linear(4, 4)) for _ in range(3)} == {speedup.clear}
    assert len(made) == trials
    monkeypatch.setattr(linear_speed, "measure", None)  # later runs take the same library, and measure nothing
    assert gains() is speedup.clear


def test_one_trial_that_a_busy_machine_disturbed_decides_nothing(measures: Measures) -> None:
    made = measures(FASTER, FASTER, Speedup(decoding=0.9, capture=1.0))
    assert not gains()
    assert len(made) == 3


@pytest.mark.parametrize("what", ["processor", "threads", "torch", "instructions"])
def test_another_machine_is_measured_anew(what: str, faster: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    onednn_is_faster(onednn_linear)
    before = torch.get_num_threads()
    if what == "processor":
        monkeypatch.setattr(linear_speed, "processor", lambda: "another")
    elif what == "torch":
        monkeypatch.setattr(torch, "__version__", "0.1")
    elif what == "instructions":
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    else:
        torch.set_num_threads(before + 1)
    onednn_is_faster(onednn_linear)
    torch.set_num_threads(before)
    assert len(faster) == 6


def test_a_model_is_measured_with_the_threads_that_it_is_to_use(faster: list[int], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    load(tiny_folder("llama", tmp_path / "tiny-llama"), threads=3)
    torch.set_num_threads(before)
    assert faster == [3, 3, 3]


def test_a_cache_that_cannot_be_written_costs_a_measurement_each_time(
    faster: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "file"))
    assert gains()
    assert gains()
    assert len(faster) == 6


def test_rounds_that_something_else_slows_down_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    calls = [
        2 * (linear_speed._ROUNDS + 1) * matrices for matrices in (8, 1)
    ]  # of both libraries, for a row and a batch
    disturbed = iter([late for count in calls for late in [10.0] * (count // 2) + [0.0] * (count // 2)])

    def layer(seconds: float) -> Callable[..., None]:
        def call(rows: torch.Tensor, weight: torch.Tensor) -> None:
            clock[0] += seconds + next(disturbed)

        return call

    monkeypatch.setattr(linear_speed.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(nn.functional, "linear", layer(3.0))
    speedup = linear_speed.measure(layer(2.0))  # type: ignore[arg-type]
    assert speedup.decoding == pytest.approx(1.5)
    assert speedup.capture == pytest.approx(1.5)


def test_torchs_own_switch_turns_it_off(faster: list[int]) -> None:
    assert gains()
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        assert not gains()


def test_a_torch_without_the_operation_goes_on_as_before(faster: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", None)
    assert not gains()
    assert not faster


def test_a_torch_whose_operation_computes_something_else_goes_on_as_before(
    faster: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "onednn_linear", lambda rows, weight, bias=None: rows @ weight.T)  # no bias
    assert not gains()
    assert not faster


def test_other_layers_stay_as_they_are(faster: list[int]) -> None:
    class Quantised(nn.Linear):
        pass

    model = nn.Sequential(Quantised(4, 4), nn.Linear(4, 4, dtype=torch.bfloat16), nn.Linear(4, 4))
    assert use_onednn(model)
    assert [type(layer) for layer in model] == [Quantised, nn.Linear, OneDnnLinear]


def test_a_model_that_is_not_all_on_the_cpu_stays_as_it_is(faster: list[int]) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, device="meta"))
    assert not use_onednn(model)
    assert type(model[0]) is nn.Linear
    assert not faster


def test_a_small_model_is_not_worth_a_measurement(faster: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LEAST", 17)
    assert not use_onednn(nn.Linear(4, 4))
    assert not faster


def test_an_engine_says_which_library_computes(measures: Measures, tmp_path: Path) -> None:
    """Captures are kept under the engine's version, so those of the two are not mixed."""
    folder, rows = tiny_folder("llama", tmp_path / "tiny-llama"), [Row(ids, spans=((0, 9),)) for ids in random_ids(9)]
    residuals = []
    for speedup, ending in ((FASTER, ", oneDNN"), (SLOWER, "")):
        measures(speedup)
        engine = load(folder)
        assert engine.info.version.endswith(ending)
        assert ("oneDNN" in engine.info.version) == bool(ending)
        residuals.append(engine.forward(rows, [3])[0].residuals)
    np.testing.assert_allclose(*residuals, rtol=1e-4, atol=1e-5)
