"""`localprobe vector show --tokens`, and `localprobe vector import --feature`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.fake import FakeEngine
from localprobe.lens.tokens import shown
from localprobe.lens.writing import UNIT, written
from localprobe.vectors import files as vector_files
from tests.cli.conftest import Run
from tests.vectors.test_sae import NEW, folder, tensors

FAKE = ("--model", "fake", "--engine", "fake")


def test_show_names_the_tokens_that_a_direction_raises_and_lowers(run: Run, vector_file: Path) -> None:
    ran = run("vector", "show", vector_file, "--tokens", 3, *FAKE)
    assert (ran.status, ran.err) == (0, "")
    first = written(FakeEngine(), vector_files.load(vector_file), 3)[2].raises[0]
    *_, line = (line for line in ran.out.splitlines() if line.split()[:1] == ["2"])  # the last table's
    assert f"{shown(first.text)}\u00a0{first.logits:+.1f}" in line
    assert UNIT in " ".join(ran.out.split())


def test_the_vectors_own_model_is_loaded(run: Run, vector_file: Path) -> None:
    told = json.loads(run("vector", "show", vector_file, "--json", "--tokens").out)
    expected = written(FakeEngine(), vector_files.load(vector_file), 8)
    for row in told["layers"]:
        assert [token["id"] for token in row["raises"]] == [token.id for token in expected[row["layer"]].raises]
        assert len(row["lowers"]) == 8


def test_without_tokens_no_model_is_loaded(run: Run, vector_file: Path) -> None:
    ran = run("vector", "show", vector_file, *FAKE)
    assert (ran.status, ran.out) == (2, "")
    assert "a model is loaded for --tokens only" in ran.err
    assert "raises" not in json.loads(run("vector", "show", vector_file, "--json").out)["layers"][0]


@pytest.fixture
def sae(tmp_path: Path) -> Path:
    return folder(tmp_path / "sae", NEW, tensors("b_enc"))


def test_a_feature_becomes_a_vector(run: Run, sae: Path, tmp_path: Path) -> None:
    ran = run("vector", "import", sae, "--feature", 4, "-o", tmp_path / "f.safetensors", "--concept", "dogs")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"dogs at layer 8, width 6, of gpt2-small -> {tmp_path}/f.safetensors\n"
    direction = vector_files.load(tmp_path / "f.safetensors").directions[8]
    assert direction.probe is not None
    ran = run("vector", "show", tmp_path / "f.safetensors")
    assert ran.err == ""
    assert "feature 4 of a sparse autoencoder" in ran.out
    assert ran.out.splitlines()[-1].split() == [
        *("8", "1.000", f"{direction.norm:.3f}", f"{direction.threshold:.3f}", f"{direction.probe_cosine:+.3f}")
    ]
    told = json.loads(run("vector", "show", tmp_path / "f.safetensors", "--json").out)
    assert told["layers"][0]["probe_cosine"] == pytest.approx(direction.probe_cosine)


def test_a_control_vector_of_it_says_what_it_lacks(run: Run, sae: Path, tmp_path: Path) -> None:
    run("vector", "import", sae, "--feature", 4, "-o", tmp_path / "f.safetensors")
    ran = run("export", tmp_path / "f.safetensors", "-o", tmp_path / "f.gguf", "--alpha", 2)
    assert "note: a GGUF control vector holds no probe" in ran.out
    ran = run("export", tmp_path / "f.safetensors", "-o", tmp_path / "f.npz", "--alpha", 2)
    assert "holds no probe" not in ran.out
    assert vector_files.load(tmp_path / "f.npz").directions[8].probe is not None


def test_what_is_left_open_is_a_warning(run: Run, tmp_path: Path) -> None:
    config = {"architecture": "topk", "hook_name": "blocks.8.hook_resid_post"}
    top = folder(tmp_path / "sae", config, tensors())
    ran = run("vector", "import", top, "--feature", 4, "-o", tmp_path / "f.safetensors", "--json")
    assert json.loads(ran.out)["threshold"] == 0
    assert "warning: sae_weights.safetensors: the k strongest features are active" in ran.err
    ran = run("vector", "import", top, "--feature", 4, "-o", tmp_path / "f.safetensors")
    assert "note: --model-name records which model it is for" in ran.err


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--feature", "9"], "--feature 9 is out of range"),
        (["--feature", "4", "--layer", "7"], "says layer 8, not 7: give no --layer"),
        (["--feature", "4", "--from", "repeng"], "--from wrote a control vector"),
        (["--layer", "7"], "--layer is the layer of a sparse autoencoder: name a --feature of it too"),
        ([], "is a folder: name a --feature of the sparse autoencoder in it"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    run: Run, sae: Path, tmp_path: Path, args: list[str], complaint: str
) -> None:
    ran = run("vector", "import", sae, "-o", tmp_path / "f.safetensors", *args)
    assert (ran.status, ran.out) == (2, "")
    assert complaint in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "f.safetensors").exists()
