"""`localprobe export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from localprobe.fake import FakeEngine
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.cli.conftest import Run


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A probe of every layer of the fake model that knows how long residuals are there."""
    engine = FakeEngine()
    random = np.random.default_rng(0)
    directions = {}
    for layer in range(6):
        v = random.standard_normal(32).astype(np.float32)
        directions[layer] = Direction(v / np.linalg.norm(v), scale=40.0)
    path = tmp_path / "calm.safetensors"
    vector_files.save(Vector("calm", Origin.of(engine.info, method="test", pooling="mean"), directions, 3), path)
    return path


def test_a_control_vector_of_the_best_layer_and_how_to_use_it(run: Run, measured: Path, tmp_path: Path) -> None:
    ran = run("export", measured, "-o", tmp_path / "calm.gguf", "--dose", 0.25)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"calm at layer 3, dose +0.250 at strength 1 -> {tmp_path}/calm.gguf",
        "note: only the best layer, because steering at all layers adds up; --layers names others",
        f"use: llama-server -m MODEL.gguf --control-vector {tmp_path}/calm.gguf",
    ]
    written, native = vector_files.load(tmp_path / "calm.gguf"), vector_files.load(measured)
    assert written.layer() == 3
    assert written.directions.keys() == {3}
    np.testing.assert_allclose(written.directions[3].vector, 10 * native.directions[3].vector, rtol=1e-6)
    assert (written.concept, written.origin) == (native.concept, native.origin)


def test_the_path_in_the_command_is_quoted(run: Run, measured: Path, tmp_path: Path) -> None:
    ran = run("export", measured, "-o", tmp_path / "very calm.gguf")
    assert f"--control-vector '{tmp_path}/very calm.gguf'" in ran.out


def test_several_layers_are_meant_to_be_used_together(run: Run, measured: Path, tmp_path: Path) -> None:
    ran = run("export", measured, "-o", tmp_path / "v.gguf", "--layers", "2-4", "--alpha", 2)
    assert "calm at layers 2 to 4, dose +0.050 at strength 1" in ran.out
    assert "note: programs that load it steer at all 3 layers at once, which adds up" in ran.out
    written = vector_files.load(tmp_path / "v.gguf")
    assert written.best is None
    assert [written.directions[b].length for b in (2, 3, 4)] == pytest.approx([2, 2, 2])


def test_every_layer_if_asked(run: Run, vector_file: Path, tmp_path: Path) -> None:
    ran = run("export", vector_file, "-o", tmp_path / "v.gguf", "--layers", "all")
    assert ran.out.startswith("kindness at layers 2, 4 -> ")  # no dose: the file does not know residual lengths
    assert sorted(vector_files.load(tmp_path / "v.gguf").directions) == [2, 4]


@pytest.mark.parametrize(
    ("name", "use"), [("v.npz", "use: numpy.load("), ("v.safetensors", "use: localprobe steer "), ("v.NPZ", "numpy")]
)
def test_other_formats_hold_every_layer(run: Run, measured: Path, tmp_path: Path, name: str, use: str) -> None:
    ran = run("export", measured, "-o", tmp_path / name)
    assert ran.status == 0, ran.err
    assert use in ran.out
    written = vector_files.load(tmp_path / name)
    assert (sorted(written.directions), written.best) == ([0, 1, 2, 3, 4, 5], 3)


def test_a_vector_of_one_layer_leaves_nothing_out(run: Run, measured: Path, tmp_path: Path) -> None:
    run("export", measured, "-o", tmp_path / "one.safetensors", "--layers", 4)
    ran = run("export", tmp_path / "one.safetensors", "-o", tmp_path / "one.gguf")
    assert "note:" not in ran.out
    assert vector_files.load(tmp_path / "one.gguf").layer() == 4


def test_scale_is_another_name_for_alpha(run: Run, measured: Path, tmp_path: Path) -> None:
    run("export", measured, "-o", tmp_path / "a.gguf", "--alpha", 3)
    run("export", measured, "-o", tmp_path / "s.gguf", "--scale", 3)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "s.gguf").read_bytes()


def test_json_for_scripts(run: Run, measured: Path, tmp_path: Path) -> None:
    ran = run("export", measured, "-o", tmp_path / "v.gguf", "--dose", -0.1, "--json")
    done = json.loads(ran.out)
    (layer,) = done.pop("layers")
    assert layer == {"layer": 3, "length": pytest.approx(4), "dose": pytest.approx(0.1)}
    assert done == {
        "output": f"{tmp_path}/v.gguf",
        "format": "gguf",
        "concept": "-calm",
        "model": "fake",
        "use": f"llama-server -m MODEL.gguf --control-vector {tmp_path}/v.gguf",
    }


@pytest.mark.parametrize(
    ("name", "args", "complaint"),
    [
        ("v.pt", [], "does not say in what format to write it: end its name with .safetensors, .gguf, .npz"),
        ("v.gguf", ["--dose", "1", "--alpha", "1"], "either --dose or --alpha, not both"),
        ("v.gguf", ["--alpha", "nan"], "strength nan is not a finite number"),
        ("v.gguf", ["--alpha", "0"], "factor 0 leaves nothing of a vector"),
        ("v.gguf", ["--alpha", "1e39"], "the direction at layer 3 holds NaN or infinity in float32"),
        ("v.gguf", ["--layers", "0"], "a control vector cannot reach block 0"),
        ("v.gguf", ["--layers", "all"], "give --layers without it, 1-5"),
        ("v.gguf", ["--layers", "7"], "calm has no direction at layer 7: it has layers 0 to 5"),
        ("v.gguf", ["--layers", "some"], "layers 'some': write them as 8,12,16"),
        ("calm.safetensors/v.gguf", [], "cannot write"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    run: Run, measured: Path, tmp_path: Path, name: str, args: list[str], complaint: str
) -> None:
    ran = run("export", measured, "-o", tmp_path / name, *args)
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert complaint in ran.err
    assert list(tmp_path.iterdir()) == [measured]


def test_a_dose_needs_to_know_how_long_residuals_are(run: Run, vector_file: Path, tmp_path: Path) -> None:
    ran = run("export", vector_file, "-o", tmp_path / "v.gguf", "--dose", 0.2)
    assert ran.status == 2
    assert "kindness does not record the residual length at layer 2, so a dose is undefined there" in ran.err
    assert not (tmp_path / "v.gguf").exists()


def test_a_torn_vector_is_one_line(run: Run, measured: Path, tmp_path: Path) -> None:
    measured.write_bytes(measured.read_bytes()[:500])
    ran = run("export", measured, "-o", tmp_path / "v.gguf")
    assert ran.status == 2
    assert "calm.safetensors is not a readable vector file" in ran.err
