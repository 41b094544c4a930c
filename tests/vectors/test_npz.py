"""Vectors as npz."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from localprobe.errors import LocalprobeError, VectorError
from localprobe.vectors import files as vector_files
from localprobe.vectors import metadata
from localprobe.vectors.vector import Direction, Origin, Vector


@pytest.fixture
def path(tmp_path: Path) -> Path:
    vector = Vector("kindness", Origin("fake", width=4), {0: Direction(np.arange(4, dtype=np.float32))}, 0)
    vector_files.export(vector, tmp_path / "v.npz")
    return tmp_path / "v.npz"


def test_numpy_reads_it_without_localprobe(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        assert file["direction.0"].dtype == np.float32
        assert file["direction.0"].tolist() == [0, 1, 2, 3]
        assert '"concept": "kindness"' in str(file["localprobe"])


def test_block_0_is_welcome_here(path: Path) -> None:
    assert vector_files.load(path).layer() == 0


def test_a_zero_direction_is_left_out_with_a_notice(tmp_path: Path) -> None:
    directions = {b: Direction(np.full(4, b, np.float32)) for b in (0, 1)}
    vector_files.export(Vector("kindness", Origin("fake", width=4), directions, 1), tmp_path / "v.npz")
    vector = vector_files.load(tmp_path / "v.npz")
    assert sorted(vector.directions) == [1]
    assert vector.notices == ("v.npz: the direction at layer 0 is zero: left out",)


@pytest.mark.parametrize("keep", [4, 100, 300])
def test_a_torn_file_is_one_clear_error(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(VectorError, match=r"v\.npz is not a readable npz file"):
        vector_files.load(path)


def test_a_flipped_byte_is_found(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(np.float32(3).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(VectorError, match="not a readable npz file"):
        vector_files.load(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", localprobe=np.array([{"a": 1}], dtype=object))
    with pytest.raises(VectorError, match="pickled objects"):
        vector_files.load(tmp_path / "v.npz")


@pytest.mark.parametrize("text", [None, np.array(1.0), np.array(["a", "b"])])
def test_another_npz_is_refused(tmp_path: Path, text: np.ndarray | None) -> None:
    np.savez(tmp_path / "v.npz", **{"direction.1": np.ones(4)}, **({} if text is None else {"localprobe": text}))
    with pytest.raises(VectorError, match="an npz file, but not a vector of localprobe"):
        vector_files.load(tmp_path / "v.npz")


def test_a_folder_that_cannot_be_written_is_one_line(path: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalprobeError, match="cannot write"):
        vector_files.export(vector_files.load(path), path / "inside.npz")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, changed: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """The same file with other members."""
    whole = {**members(path), **changed}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in whole.items():
            archive.writestr(name, data)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_small_file_that_expands_to_gigabytes_is_refused_before_it_is_read(path: Path) -> None:
    zeros = npy(np.zeros(20_000_000, np.float32))
    rewritten(path, {"direction.0.npy": zeros}, zipfile.ZIP_DEFLATED)
    del zeros
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    with pytest.raises(VectorError, match=r"direction\.0 has the shape \(20000000,\), and the metadata say \(4,\)"):
        vector_files.load(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_metadata_that_allow_any_width_are_limited_too(path: Path) -> None:
    text = str(np.load(io.BytesIO(members(path)["localprobe.npy"])))
    about = json.loads(text)
    about["origin"]["width"] = 0
    claimed = metadata.LARGEST + 1
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % claimed
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4 * claimed)
    changed = {"localprobe.npy": npy(np.array(json.dumps(about))), "direction.0.npy": data}
    with pytest.raises(VectorError, match="claims 33,554,433 numbers, and the directions of no model are more"):
        vector_files.load(rewritten(path, changed, zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': ('4',), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
        b"{'descr': 'what', 'fortran_order': False, 'shape': (4,), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (((",
        b"(" * 5000,
    ],
)
def test_a_bad_array_header_is_one_line(path: Path, header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16)
    with pytest.raises(VectorError, match=r"v\.npz is not a readable npz file") as raised:
        vector_files.load(rewritten(path, {"direction.0.npy": data}))
    assert "\n" not in str(raised.value)


def test_a_locked_archive_is_one_line(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # the flag of encryption, in both headers
        begin = -1
        while (begin := data.find(mark, begin + 1)) >= 0:
            data[begin + at] |= 1
    path.write_bytes(data)
    with pytest.raises(VectorError, match="not a readable npz file"):
        vector_files.load(path)
