"""The library of vectors: fitted directions kept under a name, one file per name and model.

A file is called `NAME@WEIGHTS.safetensors`, by the hash of the weights that it was fitted on, so two vectors of one
name for two models do not clash. Files of other names in the folder belong to the library too, under their concept.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localprobe.engine import Info
from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.vectors import files
from localprobe.vectors.vector import Vector

_NAME = re.compile(r"[\w][\w .+-]*")
_HASH = 16  # digits of a weights hash in a file's name


@dataclass(frozen=True, slots=True)
class Entry:
    """One vector of the library."""

    name: str
    path: Path
    vector: Vector

    def made_for(self, info: Info) -> bool:
        """Whether it was fitted on this model: on these weights, or on others of the same base model."""
        origin = self.vector.origin
        if origin.width and origin.width != info.width:
            return False
        return origin.weights == info.weights or (origin.model == info.model and bool(origin.model))


class Library:
    """The vectors in a folder, by default `vectors` in localprobe's data folder."""

    def __init__(self, folder: Path | None = None) -> None:
        from localprobe.store.paths import data

        self.folder = folder or data() / "vectors"

    def keep(self, vector: Vector, name: str = "") -> Path:
        """Keep a vector under a name (its concept if none is given), in place of the one of that name for the same
        weights. Returns its file.

        UsageError for a name that cannot be a file's, LocalprobeError if the disk refuses.
        """
        path = self.path(name or vector.concept, vector.origin.weights)
        files.save(vector, path)
        return path

    def path(self, name: str, weights: str) -> Path:
        """The file of a name and a weights hash, whether it exists or not. UsageError for a name that cannot be one."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot name a vector: use letters, digits, spaces and . + - _")
        return self.folder / f"{name}@{weights[:_HASH] or 'unknown'}.safetensors"

    def entries(self) -> list[Entry]:
        """Every vector, the newest first. Unreadable files are passed over."""
        entries = []
        for path in sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True):
            with suppress(LocalprobeError, OSError):
                vector = files.load(path)
                entries.append(Entry(path.stem.rpartition("@")[0] or vector.concept, path, vector))
        return entries

    def named(self, name: str) -> list[Entry]:
        """The vectors of a name, the newest first; one per model."""
        return [entry for entry in self.entries() if entry.name == name]

    def find(self, name: str, info: Info) -> Entry | None:
        """The vector of a name for a model: fitted on these very weights, or else on others of the same base model."""
        exact = self.path(name, info.weights)
        if exact.is_file():
            return Entry(name, exact, files.load(exact))
        return next((entry for entry in self.named(name) if entry.made_for(info)), None)

    def vector(self, reference: str | Path, info: Info) -> Vector:
        """The vector of a file, or of a name for a model. VectorError if there is none."""
        if is_path(reference):
            return files.load(Path(reference).expanduser())
        if entry := self.find(str(reference), info):
            return entry.vector
        raise VectorError(self.missing(str(reference), info.model))

    def missing(self, name: str, model: str) -> str:
        """Why a name has no vector for a model, in one line."""
        if entries := self.named(name):
            others = ", ".join(dict.fromkeys(entry.vector.origin.model for entry in entries))
            return f"the vector {name!r} is kept for {others}, not for {model}: fit one for it, or choose that model"
        return f"no vector {name!r}: it is neither a file nor a name in the library (`localprobe vector list`)"


def is_path(reference: str | Path) -> bool:
    """Whether a reference to a vector is meant as a file: it exists, or is written as one."""
    path = Path(reference).expanduser()
    written = isinstance(reference, Path) or "/" in reference or path.suffix in files.FORMATS
    return written or path.is_file()
