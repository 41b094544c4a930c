"""The library of vectors: fitted directions kept under a name, one file per name and model.

A file is called `NAME@WEIGHTS.safetensors`, by the hash of the weights that it was fitted on, so vectors of the
same name for different models do not clash. A name that no file can have is shortened and given a digest. Other files
in the folder belong to the library too, under their concept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.store.names import cut, is_file, path_of
from localprobe.vectors import files
from localprobe.vectors.vector import ModelShape, Vector

Skipped: TypeAlias = Callable[[str], None]
"""Told why a file was left out, in one line."""

_NAME = re.compile(r"[\w][\w .+-]*")
_HASH = 16  # digits of the weights hash in a file name
_LONGEST = 80  # characters of a vector's name in a file name
_BYTES = 160  # that they take; file systems allow 255 for the whole name


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One vector of the library."""

    name: str
    path: Path
    vector: Vector

    def made_for(self, info: ModelShape) -> bool:
        """Whether it was fitted on these weights, or on others of the same base model."""
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
        """Store a vector under a name (by default its concept), replacing one of that name for the same weights.

        Returns its file. UsageError for an empty name, LocalprobeError if writing fails.
        """
        path = self.path(name or vector.concept, vector.origin.weights)
        files.save(vector, path)
        return path

    def path(self, name: str, weights: str) -> Path:
        """The file of a name and a weights hash, existing or not. UsageError for an empty name."""
        return self.folder / f"{_stem(name)}@{weights[:_HASH] or 'unknown'}.safetensors"

    def entries(self, skipped: Skipped = lambda why: None) -> list[LibraryEntry]:
        """All vectors, the newest first. A file that cannot be read is left out, and `skipped` is told why."""
        return self._read(self.folder.glob("*.safetensors"), skipped)

    def _read(self, paths: Iterable[Path], skipped: Skipped) -> list[LibraryEntry]:
        entries = []
        for path in sorted(paths, key=_modified, reverse=True):
            try:
                vector = files.load(path)
                stem = path.stem.rpartition("@")[0]
                shortened = "~" in stem and stem == _stem(vector.concept or stem)
            except (LocalprobeError, OSError) as error:
                skipped(str(error))
                continue
            entries.append(LibraryEntry(vector.concept if shortened or not stem else stem, path, vector))
        return entries

    def named(self, name: str, skipped: Skipped = lambda why: None) -> list[LibraryEntry]:
        """The vectors of a name, the newest first; several of one model if sweeps fitted some of that name. A file that
        cannot be read is left out as by `entries`."""
        stems = {"", name, _stem(name) if name.strip() else ""}  # files of other names need not be read
        paths = (path for path in self.folder.glob("*.safetensors") if path.stem.rpartition("@")[0] in stems)
        return [entry for entry in self._read(paths, skipped) if entry.name == name]

    def find(self, name: str, info: ModelShape) -> LibraryEntry | None:
        """The vector of a name for a model: fitted on its weights, or else on others of the same base model."""
        exact = self.path(name, info.weights)
        if exact.is_file():
            return LibraryEntry(name, exact, files.load(exact))
        return next((entry for entry in self.named(name) if entry.made_for(info)), None)

    def vector(self, reference: str | Path, info: ModelShape | None = None) -> Vector:
        """The vector of a file, or of a name: the one for the model, or the only one of that name. VectorError if there
        is none, or if there are several and no model is given."""
        if is_path(reference):
            return files.load(path_of(reference))
        name = str(reference)
        entries = [entry] if info and (entry := self.find(name, info)) else [] if info else self._one_per_model(name)
        if len(entries) == 1:
            return entries[0].vector
        models = ", ".join(dict.fromkeys(entry.vector.origin.model for entry in self.named(name)))
        if not models:
            raise VectorError(f"no vector {name!r}: it is neither a file nor a name of `localprobe vector list`")
        if info:
            raise VectorError(f"the vector {name!r} is kept for {models}, not for {info.model}: fit one for it")
        raise VectorError(f"vectors called {name!r} are kept for {models}: name the `model`, or the file")

    def _one_per_model(self, name: str) -> list[LibraryEntry]:
        """The vector of a name for each weights hash: the one kept under that name, or else the newest."""
        entries: dict[str, LibraryEntry] = {}
        for entry in sorted(self.named(name), key=lambda entry: "@" not in entry.path.stem):
            entries.setdefault(entry.vector.origin.weights, entry)
        return list(entries.values())


def _modified(path: Path) -> float:
    """When a file was written; 0 if it is gone, or a link to nothing."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _stem(name: str) -> str:
    """The part of the file name that stands for a vector's name. UsageError for an empty name."""
    if not name.strip():
        raise UsageError(f"{name!r} cannot name a vector: give it a `concept`, such as empathy")
    if _NAME.fullmatch(name) and len(name) <= _LONGEST and len(name.encode()) <= _BYTES:
        return name
    readable = re.sub(r"[^\w+-]+", "-", name).strip("-")[:_LONGEST]
    return f"{cut(readable, _BYTES)}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def is_path(reference: str | Path) -> bool:
    """Whether a reference to a vector is a file: it exists, or looks like a path."""
    path = path_of(reference)
    written = isinstance(reference, Path) or "/" in reference or path.suffix in files.FORMATS
    return written or is_file(path)
