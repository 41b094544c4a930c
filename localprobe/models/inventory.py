"""The models available to this machine: those with short names, and those in the hub's cache.

Nothing is fetched, converted or loaded. A damaged file is listed with its `problem`, and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from localprobe import discovery
from localprobe.engine import Backend, LoadOptions
from localprobe.errors import EngineError, ModelError, UnknownModel
from localprobe.models import fits
from localprobe.models.catalogue import CATALOGUE, CatalogueEntry, Repository
from localprobe.models.checkpoint import Size, check_folder, check_gguf, read_json, size
from localprobe.models.names import Source, locate, variant


@dataclass(frozen=True, slots=True)
class Use:
    """One engine that can load some weights."""

    engine: str
    installed: bool
    needed: int | None
    """Bytes of host memory needed; None if unknown, or if the weights go to a graphics card."""
    fits: bool | None
    """Whether that much is free now; None if `needed` is None."""


@dataclass(frozen=True, slots=True)
class Item:
    """Weights, and the engines that can load them."""

    name: str
    """The name to load it by."""
    weights: str
    """Their source: package, repository or repository:file."""
    format: str
    """`folder` or `gguf`."""
    bytes: int
    """Size on disk, or of the download."""
    path: Path | None
    """Local path; None if they must be downloaded."""
    about: str = ""
    uses: list[Use] = field(default_factory=list)
    problem: str = ""
    """Why it cannot be loaded, of a damaged file, which has no `uses`; else empty."""


def items() -> list[Item]:
    """Models with short names first, then the others in the hub's cache."""
    backends = _backends()
    free = fits.available()
    catalogued = [item for entry in CATALOGUE.values() for item in _catalogued(entry, backends, free)]
    listed = {item.path for item in catalogued}
    return catalogued + [item for item in _cached(backends, free) if item.path not in listed]


def _backends() -> dict[Backend, bool]:
    """Registered backend -> whether it is installed; broken third-party ones are left out."""
    registered: dict[Backend, bool] = {}
    for name in discovery.names():
        try:
            registered[discovery.backend(name)] = discovery.installed(name)
        except EngineError:
            continue
    return registered


def _catalogued(entry: CatalogueEntry, backends: dict[Backend, bool], free: int) -> Iterator[Item]:
    """One item for each of a model's weights that an engine uses."""
    sources: dict[Source, list[Backend]] = {}
    for backend in backends:
        try:
            sources.setdefault(variant(entry, backend), []).append(backend)
        except ModelError:
            continue
    for source, users in sources.items():
        assert not isinstance(source, Path)
        try:
            path = locate(source, users[0], download=False)
        except ModelError:
            path = None
        stored = size(path) if path else Size(source.bytes)
        kind = "folder" if isinstance(source, Repository) and source.file is None else "gguf"
        here = {backend: backends[backend] for backend in users}
        uses = _uses(here, kind, stored, entry.parameters, free)
        yield Item(entry.name, str(source), kind, stored.bytes, path, entry.about, uses)


def _cached(backends: dict[Backend, bool], free: int) -> Iterator[Item]:
    """GGUF files and folders of language models in the hub's cache. A split file is listed by its first part."""
    from localprobe.gguf.parts import is_later_part

    for repository, snapshot in _snapshots():
        for path in [*sorted(snapshot.rglob("*.gguf")), snapshot]:
            name, kind = repository, "folder"
            if path != snapshot:
                name, kind = f"{repository}:{path.relative_to(snapshot).as_posix()}", "gguf"
            try:
                if not is_later_part(path.name) if kind == "gguf" else _is_language_model(path):
                    yield _measured(name, kind, path, backends, free)
            except (ModelError, OSError) as error:
                yield Item(name, name, kind, 0, path, problem=str(error))


def _snapshots() -> Iterator[tuple[str, Path]]:
    """The models in the hub's cache, each with the folder of its main revision.

    Read here, because `huggingface_hub.scan_cache_dir` leaves out a whole repository for one broken link in it, and
    fails for one folder that may not be read.
    """
    from huggingface_hub import constants

    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        with suppress(OSError, UnicodeDecodeError):
            snapshot = folder / "snapshots" / (folder / "refs" / "main").read_text(encoding="utf-8").strip()
            if snapshot.parent == folder / "snapshots" and snapshot.is_dir():
                yield folder.name.removeprefix("models--").replace("--", "/"), snapshot


def _is_language_model(folder: Path) -> bool:
    """Whether a folder holds a whole language model. Raises CorruptFile for a damaged one."""
    try:
        check_folder(folder)
    except UnknownModel:  # GGUF files alone, or from a tool that fetched only the tokenizer
        return False
    architectures = read_json(folder / "config.json").get("architectures")
    if not isinstance(architectures, list):
        return False
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in architectures)


def _measured(name: str, kind: str, path: Path, backends: dict[Backend, bool], free: int) -> Item:
    parameters, able = 0, backends
    if kind == "gguf":
        check_gguf(path)
        parameters = _parameters(path)
    else:
        able = {backend: here for backend, here in backends.items() if "folder" in backend.formats}
    stored = size(path)
    return Item(name, name, kind, stored.bytes, path, uses=_uses(able, kind, stored, parameters, free))


def _parameters(path: Path) -> int:
    from localprobe.gguf.parts import read_model

    return sum(tensor.count for tensor in read_model(path).tensors.values())


def _uses(backends: dict[Backend, bool], item_format: str, stored: Size, parameters: int, free: int) -> list[Use]:
    """The memory that each engine needs. `parameters` is for weights without safetensors headers to count them in."""
    uses = []
    for backend, here in backends.items():
        loaded = stored
        if item_format not in backend.formats:  # a GGUF file that is converted
            converted = parameters * (4 if parameters < 500_000_000 else 2)  # as `localprobe.gguf.to_folder` does
            loaded = Size(converted, parameters, converted)
        elif item_format == "folder" and not stored.floats and backend.name != "mlx":
            loaded = Size(stored.bytes, parameters, stored.bytes)
        need = fits.least(loaded, backend.name, LoadOptions())
        uses.append(Use(backend.name, here, need, None if need is None else need <= free))
    return uses
