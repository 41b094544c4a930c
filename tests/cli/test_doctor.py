"""`localprobe doctor`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from localprobe import discovery
from localprobe.cli.doctor import Examined, _healthy
from localprobe.engines import canary
from localprobe.engines.agreement import compare
from tests.cli.conftest import Run
from tests.remote import faulty


def test_a_sound_engine_gets_a_line_a_promise(run: Run) -> None:
    ran = run("doctor", "fake", "--engine", "fake")
    assert ran.status == 0, ran.err
    assert "memory free" in ran.out
    assert "fake on fake: fake, 6 layers of 32, context 512, float32, cpu" in ran.out
    assert ran.out.count("  ok  ") == 14
    assert "FAIL" not in ran.out


def test_json_for_scripts(run: Run) -> None:
    ran = run("doctor", "fake", "--engine", "fake", "--json")
    found = json.loads(ran.out)
    assert found["engines"]["fake"]["installed"] is True
    (model,) = found["models"]
    assert (model["engine"], model["info"]["layers"], model["error"]) == ("fake", 6, None)
    assert all(check["passed"] for check in model["canary"])


def test_a_model_that_no_engine_loads_is_status_2(run: Run) -> None:
    ran = run("doctor", "no-such-model", "--engine", "fake")
    assert ran.status == 2
    assert "fake does not load it" in ran.out


def test_what_an_engine_in_a_child_warns_of_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: faulty.warning)
    ran = run("doctor", "fake", "--engine", "fake")
    assert ran.status == 0
    assert ran.err.splitlines().count(f"warning: the {faulty.warning.name} engine warns: this build has no GPU") == 1


def test_an_unknown_engine_is_one_line(run: Run) -> None:
    ran = run("doctor", "fake", "--engine", "vllm")
    assert ran.status == 2
    assert "no engine is named 'vllm'" in ran.err


def residuals(noise: float) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    base = random.standard_normal((2, 5, 16))
    return [(base + noise * np.random.default_rng(1).standard_normal(base.shape)).astype(np.float32)]


@pytest.mark.parametrize(("noise", "healthy"), [(0.001, True), (0.5, False)])
def test_engines_that_differ_are_not_healthy(noise: float, healthy: bool) -> None:
    good = canary.Check("a promise", True, "")
    examined = [Examined("a", checks=(good,)), Examined("b", checks=(good,))]
    assert _healthy(examined, {("a", "b"): compare(residuals(0), residuals(noise))}) is healthy


def test_a_promise_that_is_broken_is_not_healthy() -> None:
    assert not _healthy([Examined("a", checks=(canary.Check("a promise", False, ""),))], {})
    assert not _healthy([Examined("a", error="it died")], {})
    assert not _healthy([Examined("a", refused="another format")], {})
