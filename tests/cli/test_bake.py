"""`localprobe bake`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localprobe.cli.chat import chat
from localprobe.testing.tiny import tiny_folder
from localprobe.vectors import files
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.cli.conftest import Run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tiny_folder("qwen2", tmp_path / "tiny-qwen2")


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    directions = {layer: Direction(random.standard_normal(64).astype(np.float32)) for layer in (1, 2)}
    path = tmp_path / "calm.safetensors"
    files.save(Vector("calm", Origin(""), directions, 2), path)
    return path


def test_what_was_changed_and_what_was_not(run: Run, source: Path, calm: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "baked"
    ran = run("bake", source, calm, "-o", output)
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[:3] == [
        f"calm (layer 2) removed from {source} -> {output}",
        "changed: token embedding, attention (4), MLP (4): 9 of 51 tensors, as float32",
        "not changed: the unembedding, now a tensor of its own, norms, and what reads the residual stream",
    ]
    assert lines[3].startswith("checked: on torch in float32, 256 tokens, 4 layers: the residuals have at most ")
    assert lines[4:] == [f"use: localprobe chat {output}"]
    assert chat.make_context("chat", [str(output)]).params["model"] == str(output)  # the command line takes that


def test_a_share_of_another_layer_without_a_check_as_json(run: Run, source: Path, calm: Path, tmp_path: Path) -> None:
    ran = run("bake", source, calm, "-o", tmp_path / "baked", "--share", 0.25, "--layer", 1, "--no-check", "--json")
    assert ran.status == 0, ran.err
    done = json.loads(ran.out)
    assert (done["share"], done["removed"][0]["layer"]) == (0.25, 1)
    assert (done["check"], done["unchecked"]) == (None, "the check was turned off")
    assert done["output"] == str(tmp_path / "baked")


def test_a_folder_that_was_not_checked_says_so(run: Run, source: Path, calm: Path, tmp_path: Path) -> None:
    (source / "pytorch_model.bin").touch()
    ran = run("bake", source, calm, "-o", tmp_path / "baked", "--share", 0.25, "--no-check")
    lines = ran.out.splitlines()
    assert lines[0].startswith("25% of calm (layer 2) removed from ")
    assert lines[3:5] == ["not copied: pytorch_model.bin", "NOT CHECKED: the check was turned off"]


def test_refusals_are_one_line_with_the_flag(run: Run, source: Path, calm: Path, tmp_path: Path) -> None:
    ran = run("bake", source, calm, "-o", source)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == f"localprobe: {source} exists already: give as --output a folder that does not, or an empty one\n"
    ran = run("bake", source, calm, "-o", tmp_path / "baked", "--share", 2)
    assert ran.err == "localprobe: --share 2 is out of range: give a number above 0, up to 1\n"
    ran = run("bake", "fake", calm, "-o", tmp_path / "baked")
    assert ran.status == 2
    assert "'fake'" in ran.err
    assert not (tmp_path / "baked").exists()
