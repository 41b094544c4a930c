"""The number of layers and the width of a model, as far as known before it is downloaded or loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.errors import ModelError
from localprobe.models import download as hub
from localprobe.models.catalogue import CATALOGUE, FAKE, Repository
from localprobe.models.checkpoint import read_json
from localprobe.models.config import LAYERS, WIDTHS, check_config, text_config
from localprobe.models.names import source


@dataclass(frozen=True, slots=True)
class Shape:
    """The residual stream of a model."""

    layers: int
    width: int


def shape(name: str) -> Shape | None:
    """The shape of a model by its short name, or from the header of its files; None if unknown.

    Never touches the network. UnknownModel for an invalid name.
    """
    if entry := CATALOGUE.get(name.lower()):
        return Shape(entry.layers, entry.width)
    path = None if name == FAKE else _on_this_disk(source(name))
    if path is None:
        return None
    with suppress(ModelError, OSError, TypeError, ValueError):  # loading the file will report the error
        return _of_folder(path) if path.is_dir() else _of_gguf(path)
    return None


def _on_this_disk(where: Repository | Path) -> Path | None:
    """The local folder or GGUF file, if there is one."""
    if isinstance(where, Path):
        ggufs = sorted(where.glob("*.gguf")) if where.is_dir() and not (where / "config.json").is_file() else []
        return ggufs[0] if ggufs else where
    if where.file:
        return hub.cached_file(where.id, where.file)
    files = hub.cached_ggufs(where.id)
    return hub.cached_folder(where.id) or (hub.cached_file(where.id, files[0]) if files else None)


def _of_folder(folder: Path) -> Shape:
    path = folder / "config.json"
    config = read_json(path)
    check_config(path, config)
    return Shape(_size(text_config(config), LAYERS), _size(text_config(config), WIDTHS))


def _size(config: Mapping[str, Any], names: Sequence[str]) -> int:
    return int(next((config[name] for name in names if name in config), ""))  # ValueError without any


def _of_gguf(path: Path) -> Shape:
    from localprobe.gguf.reader import read_header

    header = read_header(path)
    names = ("block_count", "embedding_length")
    return Shape(*(header.required(f"{header.architecture}.{name}", int) for name in names))
