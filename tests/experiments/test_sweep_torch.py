"""The same texts on torch in float32 on the CPU, whatever the batch: on a tiny model, and on the bundled one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localprobe.experiments import sweep
from localprobe.experiments.cells import Cells
from localprobe.experiments.experiment import ModelChoice
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.merge import merge
from localprobe.model import Model
from localprobe.store.runs import Runs
from localprobe.testing.tiny import tiny_folder
from tests.bundled import smollm2
from tests.experiments.conftest import Write

pytest.importorskip("torch")


def texts(runs: Runs, run: str) -> dict[str, str]:
    return {answer.cell.key: answer.text for answer in Cells(runs, run).read()}


@pytest.mark.slow
def test_batched_one_by_one_and_in_shards_say_the_same(write: Write, tmp_path: Path) -> None:
    from localprobe.engine import LoadOptions, Weights
    from localprobe_torch import backend

    weights = Weights("tiny", tiny_folder("llama", tmp_path / "tiny"), "folder", "tiny")
    path = write("layers = [1, 2]", "tokens = 16")
    path.write_text(path.read_text().replace('name = "fake"', 'name = "tiny"\nengine = "torch"'))
    experiment = read_experiment(path)
    model = Model(backend.load(weights, LoadOptions(device="cpu", dtype="float32")))

    @contextmanager
    def load(choice: ModelChoice) -> Iterator[Model]:
        yield model

    with model:
        one, many = Runs(tmp_path / "one.sqlite"), Runs(tmp_path / "many.sqlite")
        sweep.run(experiment, one, load=load, width=1)
        sweep.run(experiment, many, load=load)
        parts = [Runs(tmp_path / f"{i}.sqlite") for i in (1, 2, 3)]
        for i, runs in enumerate(parts, 1):
            sweep.run(experiment, runs, load=load, part=(i, 3))
    joined = Runs(tmp_path / "joined.sqlite")
    list(merge([runs.path for runs in parts], joined))
    found = texts(many, experiment.run)
    assert len(found) == 20
    assert len(set(found.values())) > 10  # a model that says one thing only would pass by luck
    assert found == texts(one, experiment.run) == texts(joined, experiment.run)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_bundled_model_killed_once_and_resumed_ends_as_if_it_had_not_been(write: Write, tmp_path: Path) -> None:
    smollm2()  # skips where it is not installed
    path = write("doses = [-0.25, 0, 0.25]", "layers = [19]", 'scenarios = ["the_listener"]', "tokens = 24")
    text = path.read_text().replace('name = "fake"', 'name = "smollm2-135m"\nengine = "torch"')
    text = text.replace('fit = "pairs.jsonl"', 'fit = "empathy"')
    path.write_text(text[: text.index("[[prompts]]")])
    experiment = read_experiment(path)
    killed, whole = Runs(tmp_path / "killed.sqlite"), Runs(tmp_path / "whole.sqlite")
    command = [
        str(Path(sys.executable).with_name("localprobe")),
        "sweep",
        str(path),
        "--rows",
        "2",
        "--store",
        str(killed.path),
    ]
    with subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}) as process:
        deadline = time.monotonic() + 600
        while not (killed.path.exists() and killed.all() and texts(killed, experiment.run)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert 0 < len(texts(killed, experiment.run)) < 6
    subprocess.run([*command[:-4], "--store", str(killed.path)], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    sweep.run(experiment, whole)
    found = texts(killed, experiment.run)
    assert len(found) == 6
    assert found == texts(whole, experiment.run)
    points = killed.get("last").result["models"][0]["series"][0]["curves"][0]["points"]
    assert [point["dose"] for point in points] == [-0.25, 0.0, 0.25]
    assert points[0]["reading"]["value"] < points[2]["reading"]["value"]  # the text itself moved along the concept
    assert all(point["kl"] > 0.01 for point in (points[0], points[2]))
