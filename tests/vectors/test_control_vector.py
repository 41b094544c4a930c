"""Control vectors: GGUF files of llama.cpp, of repeng, and our own."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import gguf
import numpy as np
import pytest

from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.vectors import control_vector
from localprobe.vectors import files as vectors
from localprobe.vectors.control_vector import measured
from localprobe.vectors.vector import Direction, Origin, Vector
from localprobe.version import __version__


def foreign(path: Path, directions: dict[str, np.ndarray], architecture: str = "controlvector") -> Path:
    """A file as another program writes it."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    for name, values in directions.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def native(layers: tuple[int, ...] = (1, 3), best: int | None = 3) -> Vector:
    random = np.random.default_rng(0)
    directions = {b: Direction(random.standard_normal(32).astype(np.float32), 2.0, 0.5, 9.0) for b in layers}
    origin = Origin("smollm2-135m", "a hash", "llama", 32, 6, method="mean-difference", trained_on=("p1", "p2"))
    return Vector("kindness", origin, directions, best)


def test_one_of_llama_cpp_can_be_read(tmp_path: Path) -> None:
    values = {f"direction.{b}": np.full(32, b, np.float32) for b in (1, 2, 5)}
    vector = vectors.load(foreign(tmp_path / "happy.gguf", values))
    assert vector.concept == "happy"
    assert vector.best is None
    assert {b: float(d.vector[0]) for b, d in vector.directions.items()} == {1: 1.0, 2: 2.0, 5: 5.0}
    assert vector.directions[2].norm == pytest.approx(2 * 32**0.5)
    assert vector.origin.version == ""


def test_one_of_one_layer_is_used_at_it(tmp_path: Path) -> None:
    path = foreign(tmp_path / "v.gguf", {"direction.4": np.ones(32, np.float32)})
    assert vectors.load(path).layer() == 4


def test_block_0_which_repeng_reaches_is_read_where_it_is(tmp_path: Path) -> None:
    path = foreign(tmp_path / "v.gguf", {f"direction.{b}": np.full(32, b + 1, np.float32) for b in (0, 1)})
    vector = measured(vectors.load(path), "repeng")
    assert {b: float(d.vector[0]) for b, d in vector.directions.items()} == {0: 1.0, 1: 2.0}
    with pytest.raises(VectorError, match="has a direction at block 0, and cvector-generator measures none before"):
        measured(vectors.load(path), "cvector-generator")


def test_what_is_zero_is_left_out_with_a_notice(tmp_path: Path) -> None:
    values = {f"direction.{b}": np.full(32, b % 2, np.float32) for b in (1, 2, 3, 4)}
    vector = vectors.load(foreign(tmp_path / "v.gguf", values))
    assert sorted(vector.directions) == [1, 3]
    assert vector.notices == ("v.gguf: the directions at layers 2, 4 are zero: left out",)
    assert measured(vector, "repeng").notices == vector.notices


def test_the_one_direction_that_is_left_is_the_one_to_use(tmp_path: Path) -> None:
    values = {f"direction.{b}": np.full(32, b, np.float32) for b in (0, 3)}
    vector = vectors.load(foreign(tmp_path / "v.gguf", values))
    assert (vector.layer(), vector.notices) == (3, ("v.gguf: the direction at layer 0 is zero: left out",))


def test_a_model_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.gguf", {"direction.1": np.ones(32, np.float32)}, architecture="llama")
    with pytest.raises(VectorError, match="a GGUF file of a llama model, not a control vector"):
        vectors.load(path)


@pytest.mark.parametrize("keep", [6, 60, 150])
def test_a_torn_file_is_one_clear_error(tmp_path: Path, keep: int) -> None:
    path = foreign(tmp_path / "v.gguf", {"direction.1": np.ones(32, np.float32)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VectorError, match="not a readable control vector"):
        vectors.load(path)


@pytest.mark.parametrize(
    ("tensors", "complaint"),
    [
        ({"direction.1": np.array([1, np.nan], np.float32)}, r"v\.gguf: the direction at layer 1 holds NaN"),
        ({"direction.1": np.zeros(2, np.float32)}, "layer 1 is zero: it steers nothing"),
        ({f"direction.{b}": np.zeros(2, np.float32) for b in (1, 2)}, "layers 1, 2 are zero: it steers nothing"),
        ({"direction.1": np.ones((2, 2), np.float32)}, r"layer 1 has shape \(2, 2\)"),
        ({"direction.1": np.ones(2, np.float16)}, r"direction\.1 is F16; llama\.cpp takes F32 only"),
        ({"direction.1": np.ones(2, np.float32), "direction.2": np.ones(3, np.float32)}, "widths 2, 3"),
        ({"direction.1": np.ones(2, np.float32), "direction.01": np.ones(2, np.float32)}, "two directions for layer 1"),
        ({"weight": np.ones(2, np.float32)}, "holds no tensor named direction"),
    ],
)
def test_a_direction_that_is_none_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray], complaint: str) -> None:
    with pytest.raises(VectorError, match=complaint):
        vectors.load(foreign(tmp_path / "v.gguf", tensors))


def test_ours_is_what_llama_cpp_expects(tmp_path: Path) -> None:
    vectors.export(native(), tmp_path / "v.gguf")
    reader = gguf.GGUFReader(tmp_path / "v.gguf")
    told = {name: field.contents() for name, field in reader.fields.items()}
    assert told["general.architecture"] == "controlvector"
    assert told["controlvector.model_hint"] == "llama"
    assert told["controlvector.layer_count"] == 2
    assert told["localprobe.version"] == __version__
    for tensor, layer in zip(reader.tensors, (1, 3), strict=True):
        assert tensor.name == f"direction.{layer}"
        assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
        assert tensor.shape.tolist() == [32]
        assert tensor.data.tobytes() == native().directions[layer].vector.tobytes()


def test_the_hint_that_repeng_demands_is_there_even_if_the_architecture_is_not_known(tmp_path: Path) -> None:
    nameless = dataclasses.replace(native(), origin=Origin(""))
    vectors.export(nameless, tmp_path / "v.gguf")
    assert gguf.GGUFReader(tmp_path / "v.gguf").fields["controlvector.model_hint"].contents() == "unknown"
    assert vectors.load(tmp_path / "v.gguf").origin.architecture == ""


def test_ours_comes_back_with_all_that_it_knew(tmp_path: Path) -> None:
    vectors.export(native(), tmp_path / "another name.gguf")
    read = vectors.load(tmp_path / "another name.gguf")
    assert (read.concept, read.origin, read.best) == ("kindness", native().origin, 3)
    assert (read.directions[3].norm, read.directions[3].threshold, read.directions[3].scale) == (2.0, 0.5, 9.0)


@pytest.mark.parametrize(
    ("layers", "instead"),
    [((0, 1, 2, 3), "without it, 1-3"), ((0, 2, 5), "without it, 2,5"), ((0,), "give other `layers`")],
)
def test_block_0_is_not_written(tmp_path: Path, layers: tuple[int, ...], instead: str) -> None:
    with pytest.raises(VectorError, match=f"cannot reach block 0, where kindness has a direction: .*{instead}"):
        vectors.export(native(layers, 0), tmp_path / "v.gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("8 requested and 2 written"), "the disk took only part of it"),  # as numpy says it
    ],
)
def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    def full(self: gguf.GGUFWriter) -> None:
        raise error

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    (tmp_path / "v.gguf").write_bytes(b"old")
    with pytest.raises(LocalprobeError, match=rf"cannot write .*v\.gguf: {reason}; nothing was changed"):
        vectors.export(native(), tmp_path / "v.gguf")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("v.gguf", b"old")]


def test_what_another_program_wrote_needs_its_name(tmp_path: Path) -> None:
    vector = vectors.load(foreign(tmp_path / "happy.gguf", {"direction.2": np.ones(32, np.float32)}))
    with pytest.raises(UsageError, match=r"`program` repeng if direction\.b was measured after block b"):
        measured(vector, None)
    with pytest.raises(UsageError, match="no program 'easysteer'"):
        measured(vector, "easysteer")


@pytest.mark.parametrize(("program", "layers"), [("repeng", [1, 2, 5]), ("cvector-generator", [0, 1, 4])])
def test_directions_are_moved_to_where_a_program_measured_them(tmp_path: Path, program: str, layers: list[int]) -> None:
    values = {f"direction.{b}": np.full(32, b, np.float32) for b in (1, 2, 5)}
    vector = measured(vectors.load(foreign(tmp_path / "v.gguf", values)), program)
    assert sorted(vector.directions) == layers
    assert [float(vector.directions[b].vector[0]) for b in layers] == [1.0, 2.0, 5.0]
    assert (vector.origin.method, vector.origin.version) == (f"control vector of {program}", __version__)


def test_the_layer_to_use_moves_with_its_direction(tmp_path: Path) -> None:
    path = foreign(tmp_path / "v.gguf", {"direction.4": np.ones(32, np.float32)})
    assert measured(vectors.load(path), "cvector-generator").layer() == 3


def test_ours_comes_back_without_a_question(tmp_path: Path) -> None:
    vectors.export(native(), tmp_path / "v.gguf")
    vector = vectors.load(tmp_path / "v.gguf")
    assert measured(vector, None) is vector
    with pytest.raises(UsageError, match="'kindness' is a vector of localprobe, which knows where it was measured"):
        measured(vector, "repeng")


def test_the_question_stays_open_until_it_is_answered(tmp_path: Path) -> None:
    """Passing another's file through our formats does not tell where it was measured."""
    path = foreign(tmp_path / "v.gguf", {"direction.2": np.ones(32, np.float32)})
    for name in ("w.safetensors", "w.npz", "w.gguf"):
        vectors.export(vectors.load(path), tmp_path / name)
        with pytest.raises(UsageError, match="`program` repeng"):
            measured(vectors.load(tmp_path / name), None)


def test_nothing_is_measured_before_block_0() -> None:
    vector = native((0, 1))
    vector = dataclasses.replace(vector, origin=dataclasses.replace(vector.origin, version=""))
    with pytest.raises(VectorError, match="has a direction at block 0, and cvector-generator"):
        measured(vector, "cvector-generator")


def test_the_programs_are_those_that_the_command_line_offers() -> None:
    from localprobe.cli.vector_import import PROGRAMS

    assert tuple(control_vector.PROGRAMS) == PROGRAMS
