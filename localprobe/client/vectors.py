"""The vectors of a server: fetched by name, uploaded, and told apart by their content."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from localprobe.client.server import Server
from localprobe.engine import Info, Watch
from localprobe.errors import LocalprobeError, UsageError, VectorError
from localprobe.suggest import shown
from localprobe.vectors import files
from localprobe.vectors.vector import Vector


@dataclass(slots=True, eq=False)
class ServerVectors:
    """The vectors that a server keeps for one of its models. What was fetched is kept here until `forget`."""

    server: Server
    info: Info
    _known: dict[str, Vector] = field(default_factory=dict)

    def listed(self) -> list[dict[str, Any]]:
        """What the server says of each: `id`, `concept`, `layers`, ..."""
        about: list[dict[str, Any]] = self.server.get("/v1/vectors")["data"]
        return about

    def fitting(self) -> list[Vector]:
        """Those that were made for the model; none that cannot be read."""
        found = []
        for about in self.listed():
            if about.get("made_for_this_model"):
                try:
                    found.append(self.named(str(about["id"])))
                except VectorError:
                    continue
        return found

    def named(self, name: str) -> Vector:
        """The vector of a name. VectorError if the server has none for its model."""
        if name not in self._known:
            self._known[name] = _loaded(name, self.server.fetch(_path(name), format="safetensors"))
        return self._known[name]

    def upload(self, vector: Vector, name: str = "") -> str:
        """Store a vector under a name, by default its concept; returns the name. It replaces one of that name for the
        same weights. LocalprobeError if the server takes none."""
        name = name or vector.concept
        if not name.strip():
            raise UsageError("the vector has no concept: give a `name` to keep it under")
        self.server.put(_path(name), files.encoded(vector))
        self._known[name] = vector
        return name

    def name_of(self, vector: Vector) -> str:
        """The name that the server knows a vector by; one that it lacks is uploaded under its concept. VectorError if
        it takes none, or keeps another one under that name."""
        for name, known in self._known.items():
            if same(known, vector):
                return name
        name = vector.concept
        try:
            kept = self.named(name)
        except LocalprobeError:
            try:
                return self.upload(vector)
            except LocalprobeError as error:
                missing = f"the server {self.server.at} has no vector {shown(name)}, and takes none"
                raise VectorError(f"{missing}: {error}") from error
        if same(kept, vector):
            return name
        raise VectorError(
            f"the server {self.server.at} keeps another vector as {shown(name)}: `upload` this one under a name of its "
            "own, or steer by that name"
        )

    def probe_of(self, watch: Watch) -> str:
        """A projection in the server's words, `NAME@LAYER`. UsageError if it reads no vector that was named or fetched
        here."""
        for name, vector in self._known.items():
            direction = vector.directions.get(watch.layer)
            if direction is not None and np.array_equal(direction.unit, watch.vector):
                return f"{_quoted(name)}@{watch.layer}"
        raise UsageError("a server scores by vectors that it keeps, not by any projection: `upload` a vector")

    def probe(self, vector: Vector, layer: int) -> str:
        """A vector's direction at a layer in the server's words, `NAME@LAYER`."""
        return f"{_quoted(self.name_of(vector))}@{layer}"

    def forget(self) -> None:
        """Fetch everything anew when it is named next."""
        self._known.clear()


def same(a: Vector, b: Vector) -> bool:
    """Whether two vectors steer and score alike: `a` may be without layers that the model lacks."""
    if a is b:
        return True
    shared = a.directions.keys() & b.directions.keys()
    fewer = min(len(a.directions), len(b.directions))
    return (
        a.best == b.best
        and len(shared) == fewer
        and all(
            np.array_equal(a.directions[layer].vector, b.directions[layer].vector)
            and np.array_equal(a.directions[layer].unit, b.directions[layer].unit)
            for layer in shared
        )
    )


def _path(name: str) -> str:
    """The path of a vector in the API. VectorError for what a server would read as another path."""
    if "/" in name or not name.strip() or name.startswith("."):
        raise VectorError(f"{shown(name)} is no name of a vector on a server")
    return f"/v1/vectors/{quote(name, safe='')}"


def _loaded(name: str, content: bytes) -> Vector:
    """A vector from the bytes of its file, by the reader that hostile files are read with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vector.safetensors"
        path.write_bytes(content)
        try:
            vector = files.load(path)
        except VectorError as error:
            message = str(error).replace(str(path), f"the server's vector {shown(name)}")
            raise VectorError(message) from error
    return vector if vector.concept else replace(vector, concept=name)


def _quoted(name: str) -> str:
    from localprobe.steering.lexer import name_text

    return name_text(name)
