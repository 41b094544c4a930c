"""Directions and their files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from localprobe import vectors
from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.vectors import Direction, Origin, Vector


def made(engine: FakeEngine, layers: tuple[int, ...] = (1, 3), best: int | None = 3) -> Vector:
    random = np.random.default_rng(0)
    directions = {
        b: Direction(random.standard_normal(engine.info.width).astype(np.float32), 2.0, 0.5, 9.0, {"auroc": 0.9})
        for b in layers
    }
    return Vector("kindness", Origin.of(engine.info, method="mean difference", pooling="mean"), directions, best)


def test_a_vector_survives_its_file(engine: FakeEngine, tmp_path: Path) -> None:
    vector = made(engine)
    vectors.save(vector, tmp_path / "new folder" / "v.safetensors")
    read = vectors.load(tmp_path / "new folder" / "v.safetensors")
    assert (read.concept, read.origin, read.best) == (vector.concept, vector.origin, vector.best)
    for b, direction in vector.directions.items():
        again = read.directions[b]
        assert again.vector.tobytes() == direction.vector.tobytes()
        assert (again.norm, again.threshold, again.scale, again.measures) == (2.0, 0.5, 9.0, {"auroc": 0.9})


def test_the_origin_says_what_a_vector_was_made_on(engine: FakeEngine) -> None:
    origin = made(engine).origin
    assert (origin.model, origin.weights, origin.width, origin.layers) == ("fake", engine.info.weights, 32, 6)
    assert origin.bos is True
    assert origin.template != ""


def test_a_layer_is_the_one_asked_for_or_the_best(engine: FakeEngine) -> None:
    assert made(engine).layer() == 3
    assert made(engine).layer(1) == 1
    with pytest.raises(UsageError, match="kindness has no direction at layer 2: it has layers 1, 3"):
        made(engine).layer(2)
    with pytest.raises(UsageError, match="at layers 1 to 4: say which one with --layer"):
        made(engine, (1, 2, 3, 4), None).layer()


def test_a_vector_of_another_width_is_an_error(engine: FakeEngine) -> None:
    narrow = Vector("x", Origin("other-model"), {0: Direction(np.ones(8, np.float32))}, 0)
    with pytest.raises(VectorError, match="'x' has width 8, but fake has 32: it was made for other-model"):
        narrow.fit_to(engine.info)


def test_a_layer_that_the_model_does_not_have_is_an_error(engine: FakeEngine) -> None:
    deep = Vector("x", Origin("fake"), {17: Direction(np.ones(32, np.float32))}, 17)
    with pytest.raises(VectorError, match="at layer 17, but fake has layers 0 to 5"):
        deep.fit_to(engine.info)


def test_another_base_model_is_a_warning_that_names_both(engine: FakeEngine) -> None:
    (warning,) = Vector("x", Origin("qwen"), {0: Direction(np.ones(32, np.float32))}, 0).fit_to(engine.info)
    assert "made for qwen, not for fake" in warning


def test_other_weights_of_the_same_model_are_the_normal_case(engine: FakeEngine) -> None:
    origin = dataclasses.replace(made(engine).origin, weights="of a 4-bit copy")
    assert dataclasses.replace(made(engine), origin=origin).fit_to(engine.info) == ()


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"no vector file at .*none.safetensors: `localprobe demo` makes one"):
        vectors.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 40, 400])
def test_a_torn_file_is_one_clear_error(engine: FakeEngine, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "v.safetensors"
    vectors.save(made(engine), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VectorError, match=r"v.safetensors is not a readable vector file"):
        vectors.load(path)


def test_safetensors_that_are_no_vector_are_refused(tmp_path: Path) -> None:
    save_file({"weight": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(VectorError, match="not a vector of localprobe"):
        vectors.load(tmp_path / "model.safetensors")


def rewritten(engine: FakeEngine, path: Path, change, tensors=None) -> Path:  # type: ignore[no-untyped-def]
    """A vector file whose metadata was changed."""
    from safetensors import safe_open

    vectors.save(made(engine), path)
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["localprobe"])
    change(about)
    save_file(tensors or load_file(path), path, {"localprobe": json.dumps(about)})
    return path


def test_a_file_of_a_newer_version_asks_for_an_upgrade(engine: FakeEngine, tmp_path: Path) -> None:
    path = rewritten(engine, tmp_path / "v", lambda about: about.update(format=99))
    with pytest.raises(VectorError, match="newer localprobe"):
        vectors.load(path)


def test_broken_metadata_is_one_clear_error(engine: FakeEngine, tmp_path: Path) -> None:
    path = rewritten(engine, tmp_path / "v", lambda about: about.pop("directions"))
    with pytest.raises(VectorError, match="broken metadata"):
        vectors.load(path)


@pytest.mark.parametrize(("value", "complaint"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")])
def test_values_that_are_not_finite_are_refused(
    engine: FakeEngine, tmp_path: Path, value: float, complaint: str
) -> None:
    bad = np.ones(32, np.float32)
    bad[5] = value
    tensors = {"direction.1": bad, "direction.3": np.ones(32, np.float32)}
    with pytest.raises(VectorError, match=f"the direction at layer 1 holds {complaint}"):
        vectors.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))


@pytest.mark.parametrize(("bad", "complaint"), [(np.zeros(32), "is zero"), (np.ones((2, 16)), r"has shape \(2, 16\)")])
def test_a_direction_must_be_one(bad: np.ndarray, complaint: str) -> None:
    with pytest.raises(VectorError, match=complaint):
        vectors.checked(bad, 4)


def test_a_folder_that_cannot_be_written_is_one_line(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalprobeError, match=r"cannot write .*: (Not a directory|File exists)"):
        vectors.save(made(engine), tmp_path / "file" / "v.safetensors")


def control_vector(path: Path, directions: dict[str, np.ndarray], architecture: str = "controlvector") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    for name, values in directions.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_llama_cpp_control_vector_can_be_read(tmp_path: Path) -> None:
    values = {f"direction.{b}": np.full(32, b, np.float32) for b in (1, 2, 5)}
    vector = vectors.load(control_vector(tmp_path / "happy.gguf", values))
    assert vector.concept == "happy"
    assert vector.best is None
    assert {b: float(d.vector[0]) for b, d in vector.directions.items()} == {1: 1.0, 2: 2.0, 5: 5.0}
    assert vector.directions[2].norm == pytest.approx(2 * 32**0.5)


def test_a_control_vector_of_one_layer_is_used_at_it(tmp_path: Path) -> None:
    path = control_vector(tmp_path / "v.gguf", {"direction.4": np.ones(32, np.float32)})
    assert vectors.load(path).layer() == 4


def test_a_control_vector_for_block_0_is_refused(tmp_path: Path) -> None:
    path = control_vector(tmp_path / "v.gguf", {f"direction.{b}": np.ones(32, np.float32) for b in (0, 1)})
    with pytest.raises(VectorError, match="block 0, which a control vector cannot reach"):
        vectors.load(path)


def test_a_model_given_as_a_control_vector_is_refused(tmp_path: Path) -> None:
    path = control_vector(tmp_path / "m.gguf", {"direction.1": np.ones(32, np.float32)}, architecture="llama")
    with pytest.raises(VectorError, match="a GGUF file of a llama model, not a control vector"):
        vectors.load(path)


@pytest.mark.parametrize("keep", [6, 60, 150])
def test_a_torn_control_vector_is_one_clear_error(tmp_path: Path, keep: int) -> None:
    path = control_vector(tmp_path / "v.gguf", {"direction.1": np.ones(32, np.float32)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VectorError, match="not a readable control vector"):
        vectors.load(path)
