"""Readers of weights and vectors: GGUF, safetensors, npz."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tests.fuzz import binary, documents
from tests.fuzz.mutations import Input, mutated
from tests.fuzz.registry import Reader, encoded, file_reader, reader


def _made(make: Callable[[Path], object]) -> bytes:
    """The bytes of the file that `make` writes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        make(path)
        return path.read_bytes()


def _tiny_gguf(architecture: str) -> binary.Gguf:
    from localprobe.testing.tiny import tiny_gguf

    with TemporaryDirectory() as folder:
        return binary.Gguf.of(tiny_gguf(architecture, Path(folder) / "tiny.gguf"))


@reader
def gguf() -> Reader:
    """Models as GGUF: their header, their shape, and the folder that they are converted to."""
    from localprobe.errors import CorruptFile
    from localprobe.gguf import read_header, to_folder
    from localprobe.models import checkpoint
    from localprobe.models.shape import shape

    def read(path: Path) -> None:
        shape(str(path))
        checkpoint.check_gguf(path)
        _ = read_header(path).quantisation
        folder = to_folder(path, "0" * 64, path.parent / "converted")
        checkpoint.check_folder(folder)
        if (shape(str(folder)) or 0) != (shape(str(path)) or 0):
            raise CorruptFile("converted to another shape")

    parts = [_tiny_gguf(architecture) for architecture in ("llama", "phi3", "gemma3_text", "qwen2")]
    sound = [part.packed() for part in parts]
    head = min(len(data) - len(part.data) for data, part in zip(sound, parts, strict=True))
    return Reader(file_reader("tiny.gguf", read), sound, mutated(sound, head=head) | binary.odd_gguf(parts))


def _vector(first: int = 0) -> Any:
    from localprobe.vectors.vector import Direction, Origin, Vector

    directions = {layer: Direction(np.arange(1, 5, dtype=np.float32), scale=2.0) for layer in (first, first + 2)}
    return Vector("kindness", Origin("fake", width=4, trained_on=("a", "b")), directions, first)


def _use_vector(path: Path) -> None:
    from localprobe.vectors import files

    vector = files.load(path)
    encoded([vector.concept, vector.origin])
    repr(vector)
    files.export(vector, path.with_name("again.npz"))
    again = files.load(path.with_name("again.npz"))
    assert again.directions.keys() == vector.directions.keys()


@reader
def control_vector() -> Reader:
    """Control vectors: our own, and those of other programs."""
    from localprobe.vectors import control_vector, files

    with TemporaryDirectory() as folder:
        ours = Path(folder) / "ours.gguf"
        control_vector.save_gguf(_vector(first=1), ours)
        parts = [binary.Gguf.of(ours)]
    foreign = tuple(pair for pair in parts[0].pairs if not pair[0].startswith("localprobe"))
    parts.append(replace(parts[0], pairs=foreign))
    sound = [part.packed() for part in parts]

    def read(path: Path) -> None:
        vector = files.load(path)
        if not vector.origin.version:
            vector = control_vector.measured(vector, "repeng")
        files.save(vector, path.with_name("v.safetensors"))
        _use_vector(path.with_name("v.safetensors"))

    return Reader(file_reader("v.gguf", read), sound, mutated(sound) | binary.odd_gguf(parts))


@reader
def safetensors() -> Reader:
    """Model folders: headers, completeness and size."""
    from safetensors.numpy import save

    from localprobe.models import checkpoint
    from localprobe_mlx.checkpoint import Checkpoint

    tensors: dict[str, Any] = {"model.embed_tokens.weight": np.ones((3, 4), np.float16), "b": np.ones(2, np.int32)}
    sound = [save(tensors, metadata={"format": "pt"}), save({"b": np.ones(0, np.float32)})]

    def read(folder: Path, data: bytes) -> None:
        (folder / "model.safetensors").write_bytes(data)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "tokenizer.json").write_text("{}")
        checkpoint.check_folder(folder)
        assert checkpoint.size(folder).in_memory(4) >= 0
        Checkpoint(folder)

    return Reader(read, sound, mutated(sound) | binary.odd_safetensors(sound))


@reader
def vector() -> Reader:
    """Our own vectors."""
    from localprobe.vectors import files, metadata

    sound = [_made(lambda path: files.save(_vector(), path))]
    start = len(sound[0]) - 32
    about = json.loads(metadata.text_of(_vector()))

    def headed(text: str) -> Input:
        """The file with that text as its metadata."""
        shape = {"dtype": "F32", "shape": [4]}
        header = {
            "__metadata__": {metadata.KEY: text},
            "direction.0": {**shape, "data_offsets": [0, 16]},
            "direction.2": {**shape, "data_offsets": [16, 32]},
        }
        encoded = json.dumps(header).encode()
        return Input(len(encoded).to_bytes(8, "little") + encoded + sound[0][start:])

    inputs = mutated(sound) | binary.odd_safetensors(sound) | documents.odd_texts([about]).map(headed)
    return Reader(file_reader("v.safetensors", _use_vector), sound, inputs)


@reader
def npz() -> Reader:
    """Vectors as npz."""
    from localprobe.vectors import metadata
    from localprobe.vectors.npz import save_npz

    vector = _vector()
    sound = [_made(lambda path: save_npz(vector, path))]
    arrays = metadata.tensors_of(vector)
    odd = binary.odd_npz(json.loads(metadata.text_of(vector)), dict(arrays))
    return Reader(file_reader("v.npz", _use_vector), sound, mutated(sound) | odd)


def _use_feature(path: Path) -> None:
    from localprobe.vectors import files
    from localprobe.vectors.sae import feature

    vector = feature(path, 1, None if path.is_dir() else 3)
    encoded([vector.concept, vector.origin, vector.notices])
    files.save(vector, path.parent / "again.safetensors")
    files.load(path.parent / "again.safetensors")


def _autoencoder() -> dict[str, Any]:
    shapes = {"W_enc": (4, 3), "W_dec": (3, 4), "b_dec": (4,), "b_enc": (3,), "threshold": (3,)}
    return {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}


@reader
def autoencoder() -> Reader:
    """Features of sparse autoencoders, in safetensors and npz."""
    from safetensors.numpy import save

    sound = [save(_autoencoder()), _made(lambda path: np.savez(path.open("wb"), **_autoencoder()))]
    odd = binary.odd_safetensors(sound[:1]) | binary.odd_npz({}, _autoencoder())
    return Reader(file_reader("weights", _use_feature), sound, mutated(sound) | odd)


@reader
def autoencoder_config() -> Reader:
    """What a sparse autoencoder's configuration says of it."""
    from safetensors.numpy import save

    def read(folder: Path, data: bytes) -> None:
        (folder / "sae").mkdir()
        (folder / "sae" / "sae_weights.safetensors").write_bytes(save(_autoencoder()))
        (folder / "sae" / "cfg.json").write_bytes(data)
        _use_feature(folder / "sae")

    new = {"d_in": 4, "architecture": "jumprelu", "metadata": {"hook_name": "blocks.8.hook_resid_post"}}
    old = {"d_in": 4, "hook_point": "blocks.9.hook_resid_pre", "normalize_activations": True, "model_name": "a"}
    texts = [json.dumps(config).encode() for config in (new, old)]
    return Reader(read, texts, documents.odd_json([new, old]) | mutated(texts))


@reader
def residual_cache() -> Reader:
    """Kept residuals: a damaged file counts as none."""
    from localprobe.capture.cache import ResidualCache
    from localprobe.fake import FakeEngine

    info, ids = FakeEngine().info, np.array([1, 2], np.int32)

    def cache_in(folder: Path) -> tuple[ResidualCache, Path]:
        cache = ResidualCache(info, "mean", folder)
        cache.put(ids, [0, 1], np.ones((2, info.width), np.float32))
        return cache, next(folder.rglob("*.safetensors"))

    with TemporaryDirectory() as folder:
        sound = [cache_in(Path(folder))[1].read_bytes()]

    def read(folder: Path, data: bytes) -> None:
        cache, path = cache_in(folder / "cache")
        path.write_bytes(data)
        residuals = cache.get(ids, [1])
        assert residuals is None or residuals.shape == (1, info.width)

    return Reader(read, sound, mutated(sound) | binary.odd_safetensors(sound))
