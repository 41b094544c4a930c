"""Directions and their files."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.vectors import files as vector_files
from localprobe.vectors import metadata
from localprobe.vectors.vector import Direction, Origin, Vector, checked


def made(engine: FakeEngine, layers: tuple[int, ...] = (1, 3), best: int | None = 3) -> Vector:
    random = np.random.default_rng(0)
    directions = {
        b: Direction(random.standard_normal(engine.info.width).astype(np.float32), 2.0, 0.5, 9.0, {"auroc": 0.9})
        for b in layers
    }
    return Vector("kindness", Origin.of(engine.info, method="mean-difference", pooling="mean"), directions, best)


def test_a_vector_survives_its_file(engine: FakeEngine, tmp_path: Path) -> None:
    vector = made(engine)
    vector_files.save(vector, tmp_path / "new folder" / "v.safetensors")
    read = vector_files.load(tmp_path / "new folder" / "v.safetensors")
    assert (read.concept, read.origin, read.best) == (vector.concept, vector.origin, vector.best)
    for b, direction in vector.directions.items():
        again = read.directions[b]
        assert again.vector.tobytes() == direction.vector.tobytes()
        assert (again.norm, again.threshold, again.scale, again.measures) == (2.0, 0.5, 9.0, {"auroc": 0.9})


def test_a_probe_survives_its_file(engine: FakeEngine, tmp_path: Path) -> None:
    reads = np.random.default_rng(7).standard_normal(engine.info.width).astype(np.float32)
    vector = made(engine)
    vector = replace(vector, directions={**vector.directions, 3: replace(vector.directions[3], probe=reads)})
    for name in ("v.safetensors", "v.npz"):
        vector_files.export(vector, tmp_path / name)
        again = vector_files.load(tmp_path / name)
        assert again.directions[1].probe is None
        np.testing.assert_array_equal(again.directions[3].probe, reads)


def test_a_vector_without_probes_is_written_as_ever(engine: FakeEngine) -> None:
    """Runs are named by the bytes of vector files."""
    about = json.loads(metadata.text_of(made(engine)))
    assert about["format"] == 1
    assert list(about["directions"]["1"]) == ["norm", "threshold", "scale", "measures"]
    assert list(metadata.tensors_of(made(engine))) == ["direction.1", "direction.3"]


def test_a_probe_that_is_missing_odd_or_of_another_width_is_refused(engine: FakeEngine, tmp_path: Path) -> None:
    vector, path = made(engine, (3,)), tmp_path / "v.safetensors"
    vector = replace(vector, directions={3: replace(vector.directions[3], probe=np.ones(32, np.float32))})
    held, text = metadata.tensors_of(vector), {metadata.KEY: metadata.text_of(vector)}
    for tensors, complaint in (
        ({"direction.3": held["direction.3"]}, "do not agree about probe.3"),
        ({**held, "probe.4": held["probe.3"]}, "do not agree about probe.4"),
        ({**held, "probe.3": np.ones(31, np.float32)}, "probe.3 has the shape"),
        ({**held, "probe.3": np.zeros(32, np.float32)}, "the probe at layer 3 is zero"),
    ):
        save_file(tensors, path, metadata=text)
        with pytest.raises(VectorError, match=complaint):
            vector_files.load(path)


def test_a_control_vector_holds_no_probe_and_no_threshold_along_it(engine: FakeEngine, tmp_path: Path) -> None:
    vector = made(engine)
    vector = replace(
        vector, directions={**vector.directions, 3: replace(vector.directions[3], probe=np.ones(32, np.float32))}
    )
    vector_files.export(vector, tmp_path / "v.gguf")
    again = vector_files.load(tmp_path / "v.gguf")
    assert [(b, d.probe, d.threshold) for b, d in again.directions.items()] == [(1, None, 0.5), (3, None, 0.0)]


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(VectorError, match=r"no vector file at .*none.safetensors: `localprobe demo` makes one"):
        vector_files.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 40, 400])
def test_a_torn_file_is_one_clear_error(engine: FakeEngine, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "v.safetensors"
    vector_files.save(made(engine), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VectorError, match=r"v.safetensors is not a readable vector file"):
        vector_files.load(path)


def test_safetensors_that_are_no_vector_are_refused(tmp_path: Path) -> None:
    save_file({"weight": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(VectorError, match="not a vector of localprobe"):
        vector_files.load(tmp_path / "model.safetensors")


def rewritten(engine: FakeEngine, path: Path, change, tensors=None) -> Path:  # type: ignore[no-untyped-def]
    """A vector file whose metadata was changed."""
    from safetensors import safe_open

    vector_files.save(made(engine), path)
    with safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["localprobe"])
    change(about)
    save_file(tensors or load_file(path), path, {"localprobe": json.dumps(about)})
    return path


def test_a_file_of_a_newer_version_asks_for_an_upgrade(engine: FakeEngine, tmp_path: Path) -> None:
    path = rewritten(engine, tmp_path / "v", lambda about: about.update(format=99))
    with pytest.raises(VectorError, match="newer localprobe"):
        vector_files.load(path)


def test_broken_metadata_is_one_clear_error(engine: FakeEngine, tmp_path: Path) -> None:
    path = rewritten(engine, tmp_path / "v", lambda about: about.pop("directions"))
    with pytest.raises(VectorError, match="broken metadata"):
        vector_files.load(path)


@pytest.mark.parametrize(("value", "complaint"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")])
def test_values_that_are_not_finite_are_refused(
    engine: FakeEngine, tmp_path: Path, value: float, complaint: str
) -> None:
    bad = np.ones(32, np.float32)
    bad[5] = value
    tensors = {"direction.1": bad, "direction.3": np.ones(32, np.float32)}
    with pytest.raises(VectorError, match=f"the direction at layer 1 holds {complaint}"):
        vector_files.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))


def test_a_zero_direction_is_left_out_with_a_notice(engine: FakeEngine, tmp_path: Path) -> None:
    tensors = {"direction.1": np.zeros(32, np.float32), "direction.3": np.ones(32, np.float32)}
    vector = vector_files.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))
    assert (sorted(vector.directions), vector.best) == ([3], 3)
    assert vector.notices == ("v: the direction at layer 1 is zero: left out",)


def test_a_zero_direction_is_refused_where_it_is_the_one_to_use(engine: FakeEngine, tmp_path: Path) -> None:
    tensors = {"direction.1": np.ones(32, np.float32), "direction.3": np.zeros(32, np.float32)}
    with pytest.raises(VectorError, match="v: the direction at layer 3, which it names as the one to use, is zero"):
        vector_files.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))


def test_a_file_of_zeros_is_refused(engine: FakeEngine, tmp_path: Path) -> None:
    tensors = {f"direction.{b}": np.zeros(32, np.float32) for b in (1, 3)}
    with pytest.raises(VectorError, match="v: the directions at layers 1, 3 are zero: it steers nothing"):
        vector_files.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))


@pytest.mark.parametrize(("bad", "complaint"), [(np.zeros(32), "is zero"), (np.ones((2, 16)), r"has shape \(2, 16\)")])
def test_a_direction_must_be_one(bad: np.ndarray, complaint: str) -> None:
    with pytest.raises(VectorError, match=complaint):
        checked(bad, 4)


def test_a_folder_that_cannot_be_written_is_one_line(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalprobeError, match=r"cannot write .*: (Not a directory|File exists)"):
        vector_files.save(made(engine), tmp_path / "file" / "v.safetensors")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda about: about.update(best=2), "best layer 2"),
        (lambda about: about["origin"].update(colour="red"), "colour"),
        (lambda about: about["directions"]["1"].update(norm="long"), "could not convert"),
        (lambda about: about["directions"]["1"].update(scale=float("nan")), "scale nan"),
        (lambda about: about["directions"]["1"].update(scale=-9.0), "scale -9"),  # every dose would be turned round
        (lambda about: about["directions"]["1"].update(norm=10**400), "too large"),
        (lambda about: about["origin"].update(width="32"), "width '32'"),
        (lambda about: about["origin"].update(trained_on=[1]), "trained_on"),
        (lambda about: about.update(concept=["kindness"]), "concept"),
        (lambda about: about.update(best=True), "best layer True"),
        (lambda about: about.update(concept="\ud800"), "half a character"),
    ],
)
def test_metadata_that_makes_no_sense_is_one_clear_error(
    engine: FakeEngine, tmp_path: Path, change: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    with pytest.raises(VectorError, match=f"v has broken metadata: .*{complaint}"):
        vector_files.load(rewritten(engine, tmp_path / "v", change))


def test_metadata_of_other_layers_than_the_tensors_is_refused(engine: FakeEngine, tmp_path: Path) -> None:
    path = rewritten(engine, tmp_path / "v", lambda about: about["directions"].pop("1"))
    with pytest.raises(VectorError, match=r"its metadata and its tensors do not agree about direction\.1"):
        vector_files.load(path)


@pytest.mark.parametrize("name", ["-1", "01", " 1", "1.0", "٣", "99999999999999999999", "x"])
def test_a_layer_is_written_in_one_way(engine: FakeEngine, tmp_path: Path, name: str) -> None:
    def rename(about: dict[str, Any]) -> None:
        about["directions"][name] = about["directions"].pop("1")

    tensors = {f"direction.{name}": np.ones(32, np.float32), "direction.3": np.ones(32, np.float32)}
    with pytest.raises(VectorError, match=r"v has broken metadata: .*layer"):
        vector_files.load(rewritten(engine, tmp_path / "v", rename, tensors))


def test_a_model_given_as_a_vector_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    save_file({"weight": np.ones(8_000_000, np.float32)}, tmp_path / "model.safetensors")
    tracemalloc.start()
    with pytest.raises(VectorError, match="not a vector of localprobe"):
        vector_files.load(tmp_path / "model.safetensors")
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_directions_of_two_widths_are_refused(engine: FakeEngine, tmp_path: Path) -> None:
    tensors = {"direction.1": np.ones(8, np.float32), "direction.3": np.ones(32, np.float32)}
    with pytest.raises(VectorError, match=r"direction\.1 has the shape \(8,\), and the metadata say \(32,\)"):
        vector_files.load(rewritten(engine, tmp_path / "v", lambda about: None, tensors))


def test_numbers_that_float32_cannot_hold_are_refused() -> None:
    with pytest.raises(VectorError, match="layer 4 holds NaN or infinity"):
        checked(np.full(8, 1e39), 4)


@pytest.mark.parametrize("values", [np.ones(8, np.complex64), np.array(["a"]), np.array([True])])
def test_values_that_are_not_real_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(VectorError, match=f"layer 4 holds {values.dtype}, not real numbers"):
        checked(values, 4)


@pytest.mark.parametrize("name", ["v.safetensors", "v.gguf", "v.npz", "V.GGUF"])
def test_an_export_reads_back_whatever_its_format(engine: FakeEngine, tmp_path: Path, name: str) -> None:
    vector_files.export(made(engine), tmp_path / name)
    assert_same(vector_files.load(tmp_path / name), made(engine))


def test_each_format_is_what_its_suffix_says(engine: FakeEngine, tmp_path: Path) -> None:
    for name in ("v.safetensors", "v.gguf", "v.npz"):
        vector_files.export(made(engine), tmp_path / name)
    assert load_file(tmp_path / "v.safetensors").keys() == {"direction.1", "direction.3"}
    assert [tensor.name for tensor in gguf.GGUFReader(tmp_path / "v.gguf").tensors] == ["direction.1", "direction.3"]
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert set(file.files) == {"direction.1", "direction.3", "localprobe"}


@pytest.mark.parametrize("name", ["v", "v.pt", "v.gguf.bak"])
def test_a_suffix_that_names_no_format_is_refused(engine: FakeEngine, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"in what format to write it: end its name with \.safetensors, \.gguf, \.npz"):
        vector_files.export(made(engine), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LENGTHS = NUMBERS.filter(lambda number: number >= 0)


@st.composite
def any_vector(draw: st.DrawFn, first: int = 0) -> Vector:
    """A vector of up to four layers from `first` on, of any values that a file may hold."""
    layers = draw(st.lists(st.integers(first, 40), min_size=1, max_size=4, unique=True))
    width = draw(st.integers(1, 5))
    values = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=width, max_size=width)
    directions = {
        layer: Direction(
            np.array(draw(values.filter(any)), np.float32),
            draw(LENGTHS),
            draw(NUMBERS),
            draw(LENGTHS),
            draw(st.dictionaries(st.text(max_size=5), NUMBERS, max_size=2)),
        )
        for layer in layers
    }
    origin = Origin(
        draw(st.text(max_size=5)),
        architecture=draw(st.text(max_size=5)),
        width=width,
        bos=draw(st.none() | st.booleans()),
        trained_on=tuple(draw(st.lists(st.text(max_size=5), max_size=2))),
    )
    return Vector(draw(st.text(max_size=5)), origin, directions, draw(st.none() | st.sampled_from(layers)))


def assert_same(read: Vector, vector: Vector) -> None:
    """Equal to the last bit."""
    assert (read.concept, read.origin, read.best) == (vector.concept, vector.origin, vector.best)
    assert read.directions.keys() == vector.directions.keys()
    for layer, direction in vector.directions.items():
        again = read.directions[layer]
        assert again.vector.dtype == np.float32
        assert again.vector.tobytes() == direction.vector.tobytes()
        for name in ("norm", "threshold", "scale", "measures"):
            assert getattr(again, name) == getattr(direction, name)


@settings(deadline=None, max_examples=60)
@given(any_vector(first=1), st.sampled_from(vector_files.FORMATS))
def test_any_vector_survives_any_format_bit_for_bit(vector: Vector, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"v{suffix}"
        vector_files.export(vector, path)
        assert_same(vector_files.load(path), vector)


@settings(deadline=None, max_examples=30)
@given(any_vector(first=1), st.permutations(vector_files.FORMATS))
def test_a_vector_that_travels_through_every_format_comes_home_the_same(vector: Vector, route: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = vector
        for suffix in route:
            vector_files.export(here, Path(folder) / f"v{suffix}")
            here = vector_files.load(Path(folder) / f"v{suffix}")
        assert_same(here, vector)
