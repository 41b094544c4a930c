"""The header of a GGUF file: its metadata, and the place of each tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import CorruptFile

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

Value: TypeAlias = str | int | float | bool | list[str] | NDArray[Any]
T = TypeVar("T", str, int, float, bool)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The place and type of one tensor."""

    name: str
    shape: tuple[int, ...]
    """As numpy and torch have it: (rows, columns). GGUF itself lists the fastest dimension first."""
    type: GGMLQuantizationType
    offset: int
    """Bytes from the start of the file."""
    nbytes: int
    file: Path | None = None
    """The part that holds it, if the file was split; None for the header's own file."""

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object))


@dataclass(frozen=True, slots=True)
class Header:
    """All of a GGUF file except the data of its tensors."""

    path: Path
    """The file; of a split one, its first part."""
    size: int
    """Bytes in the file, or in all of its parts."""
    version: int
    metadata: dict[str, Value] = field(repr=False)
    """Arrays of numbers are numpy arrays, arrays of text are lists."""
    tensors: dict[str, TensorInfo] = field(repr=False)

    def file(self, info: TensorInfo) -> Path:
        """The file that holds a tensor."""
        return info.file or self.path

    @property
    def architecture(self) -> str:
        """`llama`, `qwen2`, `gemma3`, ... as llama.cpp calls it."""
        return self.required("general.architecture", str)

    @property
    def quantisation(self) -> str | None:
        """Type of most weights: `Q4_1`, `Q4_K_M`, ...; None for plain floats."""
        from gguf import LlamaFileType

        try:
            name = LlamaFileType(self.value("general.file_type", int)).name
        except ValueError:
            name = _commonest_type(self)
        name = name.removeprefix("MOSTLY_").removeprefix("ALL_")
        return None if name in ("F32", "F16", "BF16", "GUESSED") else name

    def value(self, key: str, kind: type[T]) -> T | None:
        """The value of a key, or None if it is absent. Raises CorruptFile if it is not of that kind."""
        value = self.metadata.get(key)
        if value is None:
            return None
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise CorruptFile(f"{self.path}: {key} should be {kind.__name__}, it is {type(value).__name__}")
        return value

    def required(self, key: str, kind: type[T]) -> T:
        """The value of a required key. Raises CorruptFile if it is absent."""
        value = self.value(key, kind)
        if value is None:
            raise CorruptFile(f"{self.path}: {key} is missing from its metadata")
        return value

    def texts(self, key: str) -> list[str] | None:
        """An array of text, or None if it is absent."""
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, list):
            raise CorruptFile(f"{self.path}: {key} should be an array of text, it is {type(value).__name__}")
        return value

    def numbers(self, key: str) -> NDArray[Any] | None:
        """An array of numbers, or None if it is absent."""
        value = self.metadata.get(key)
        if value is not None and not isinstance(value, np.ndarray):
            raise CorruptFile(f"{self.path}: {key} should be an array of numbers, it is {type(value).__name__}")
        return value


def _commonest_type(header: Header) -> str:
    """The tensor type with the most elements, for a file that does not name its quantisation."""
    held: dict[str, int] = {"GUESSED": 0}
    for info in header.tensors.values():
        held[info.type.name] = held.get(info.type.name, 0) + info.count
    return max(held, key=lambda name: held[name])
