"""Resolving a model's name to local weights in the format of an engine.

A name is a short name (`localprobe.models.catalogue`), a Hugging Face id (`org/name`), a GGUF file of a repository
(`org/name:file.gguf` or `org/name:folder/file.gguf`), a local folder, a local `.gguf` file, or `fake`. A GGUF file that
was split is named by any of its parts. For engines that load folders, a GGUF file is converted once into a folder in
the cache, which keeps the fingerprint of the file.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from localprobe.errors import ModelError, NotDownloaded, UnknownModel, UnsupportedModel, UsageError
from localprobe.models import download as hub
from localprobe.models.catalogue import CATALOGUE, FAKE, CatalogueEntry, Package, Repository
from localprobe.models.checkpoint import check_folder, check_gguf
from localprobe.models.hub_errors import not_downloaded
from localprobe.models.listing import is_inside
from localprobe.progress import Progress, silent
from localprobe.store.names import exists, path_of
from localprobe.suggest import close_match

if TYPE_CHECKING:
    from localprobe.engine import Backend, Weights, WeightsFormat

Source: TypeAlias = Package | Repository | Path
"""The source of the weights that an engine uses."""

_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(:(?P<file>[\w./ +-]+\.gguf))?", re.ASCII)


def resolve(
    name: str, backend: Backend, *, download: bool = True, code: bool = False, progress: Progress = silent
) -> Weights:
    """The weights that `backend` loads for `name`: downloaded (if `download`) and converted if necessary, and hashed.

    With `code`, Python code that comes with them may run (`LoadOptions.trust_remote_code`), and is hashed too. Raises
    UnknownModel, NotDownloaded, CorruptFile, UnsupportedModel or UsageError.
    """
    from localprobe.engine import Weights
    from localprobe.models.weights import fingerprint

    if name == FAKE or backend.formats == ("fake",):
        return _fake(name, backend)
    entry = CATALOGUE.get(name.lower())
    where = variant(entry, backend) if entry else source(name)
    path = locate(where, backend, download=download, progress=progress)
    if path.is_dir() and "folder" not in backend.formats:
        raise UnsupportedModel(
            f"{path} is a Hugging Face folder and engine {backend.name!r} loads GGUF files: "
            "give a .gguf file, or org/name:file.gguf of the hub, or use an engine that loads folders"
        )
    hashed = fingerprint(path, progress, code=code)
    if path.is_file() and "gguf" not in backend.formats:
        path = _convert(path, hashed, progress)
    return Weights(entry.name if entry else name, path, "folder" if path.is_dir() else "gguf", hashed)


def formats(name: str) -> tuple[WeightsFormat, ...]:
    """Formats that `name` is available in, to choose an engine by. Never touches the network."""
    if name == FAKE:
        return ("fake",)
    entry = CATALOGUE.get(name.lower())
    where = None if entry else source(name)
    match where:
        case Path():
            only_folder = where.is_dir() and (where / "config.json").is_file()
        case Repository(file=None):  # a guess by its name until it is downloaded
            only_folder = "gguf" not in where.id.lower() and not hub.cached_ggufs(where.id)
        case _:
            only_folder = False
    return ("folder",) if only_folder else ("gguf", "folder")


def source(name: str) -> Repository | Path:
    """The source that a name other than a short name stands for. Never touches the network. Raises UnknownModel.

    A split GGUF file is named by its first part, whichever part was given; UnknownModel if one is missing beside it.
    """
    from localprobe.gguf.parts import part_names, parts

    if (path := _existing(name)) is not None:
        return parts(path)[0] if path.is_file() else path
    repository = name.partition(":")[0]
    written_as_path = name.startswith(("/", "./", "../", "~")) or "\\" in name or repository.count("/") > 1
    if (match := _HUB_NAME.fullmatch(name)) and not written_as_path and not match["repo"].endswith(".gguf"):
        _check_repository(match["repo"], match["file"])
        return Repository(match["repo"], part_names(match["file"])[0] if match["file"] else None)
    if written_as_path or name.endswith((".gguf", ".safetensors")):
        raise UnknownModel(f"there is no file or folder {name}")
    meant = f" (did you mean {near!r}?)" if (near := close_match(name, (*CATALOGUE, FAKE))) else ""
    raise UnknownModel(
        f"no model is named {name!r}{meant}: "
        f"give {', '.join(CATALOGUE)}, a Hugging Face id (org/name or org/name:file.gguf), a folder or a .gguf file"
    )


def _existing(name: str) -> Path | None:
    """The file or folder of this name; None if there is none."""
    path = path_of(name)
    return path if name and exists(path) else None


def _check_repository(repo: str, file: str | None) -> None:
    """Raise UnknownModel for what cannot be a repository or a file in one."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise UnknownModel(f"{repo!r} cannot be the name of a repository: give org/name") from None
    if file and not is_inside(file):
        raise UnknownModel(f"{file!r} is not a path inside the repository {repo}")


def variant(entry: CatalogueEntry, backend: Backend) -> Source:
    """The weights of a model with a short name that an engine uses."""
    weights: Source | None = entry.package
    if weights is None and backend.name == "mlx":
        weights = entry.mlx
    if weights is None:
        weights = entry.folder if backend.formats[0] == "folder" else entry.gguf
    if weights is None:
        raise UnsupportedModel(f"{entry.name} has no weights for engine {backend.name!r}: use another engine")
    return weights


def locate(where: Source, backend: Backend, *, download: bool, progress: Progress = silent) -> Path:
    """The validated folder or GGUF file of a source, downloaded if necessary (and if `download`)."""
    match where:
        case Package():
            return _in_package(where)
        case Repository(file=None) if "folder" in backend.formats:
            return _hub_folder(where.id, download, progress)
        case Repository():
            return _hub_file(where.id, where.file or _only_gguf(where.id, backend, download), download, progress)
    return _local(where)


def _fake(name: str, backend: Backend) -> Weights:
    from localprobe.engine import Weights

    if name != FAKE:
        raise UsageError(f"engine {backend.name!r} loads only the model {FAKE!r}, not {name!r}")
    if FAKE not in backend.formats:
        raise UsageError(f"the model {FAKE!r} is for the engine {FAKE!r}, not for {backend.name!r}: use `engine` fake")
    return Weights(FAKE, Path(FAKE), "fake", FAKE)


def _in_package(package: Package) -> Path:
    spec = find_spec(package.module)  # finds a top-level package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise NotDownloaded(f"the package that carries this model is not installed: run `{package.install}`")
    path = Path(spec.submodule_search_locations[0]) / package.file
    if not path.is_file():
        raise NotDownloaded(f"package {package.name} has no {package.file}: run `{package.install} --force-reinstall`")
    return _checked(path)


def _hub_folder(repo: str, download: bool, progress: Progress) -> Path:
    folder = hub.cached_folder(repo)
    if folder is not None:
        try:
            check_folder(folder)
        except ModelError:  # incomplete, or from a tool that fetched only the tokenizer
            folder = None
    if folder is None:
        if not download:
            raise not_downloaded(repo, hub.FOLDER_FILES, "downloading is turned off")
        folder = hub.fetch_folder(repo, progress)
        check_folder(folder)
    return folder


def _hub_file(repo: str, file: str, download: bool, progress: Progress) -> Path:
    from localprobe.gguf.parts import part_names

    path = hub.cached_gguf(repo, file)
    if path is None:
        if not download:
            raise not_downloaded(repo, part_names(file), "downloading is turned off")
        path = hub.fetch_file(repo, file, progress)
    return _checked(path)


def _only_gguf(repo: str, backend: Backend, download: bool) -> str:
    """The only GGUF file of a repository that was given without a file."""
    files = hub.cached_ggufs(repo)
    if not files:
        if not download:
            raise not_downloaded(repo, ("*.gguf",), "downloading is turned off")
        files = hub.remote_ggufs(repo)
    if not files:
        raise UnsupportedModel(
            f"{repo} holds no GGUF file, which engine {backend.name!r} needs: "
            "find a GGUF repository of this model and give org/name:file.gguf, or use an engine that loads folders"
        )
    if len(files) > 1:
        raise UnknownModel(f"{repo} holds several GGUF files: give {repo}:FILE with one of {', '.join(files)}")
    return files[0]


def _local(path: Path) -> Path:
    if path.is_file():
        if path.suffix == ".safetensors":
            raise UnknownModel(f"{path} is weights without a model: give the folder that holds it and config.json")
        return _checked(path.absolute())
    from localprobe.gguf.parts import is_later_part

    files = sorted(file for file in path.glob("*.gguf") if not is_later_part(file.name))
    if files and not (path / "config.json").is_file():
        if len(files) > 1:
            raise UnknownModel(f"{path} holds several GGUF files: give one of {', '.join(file.name for file in files)}")
        return _local(files[0])
    check_folder(path)
    return path.absolute()


def _checked(path: Path) -> Path:
    """A GGUF file after checking its header and that no tensor or part is missing, on which engines would crash."""
    from localprobe.gguf.faults import refuse_faults
    from localprobe.gguf.parts import read_model

    check_gguf(path)
    refuse_faults(read_model(path))
    return path


def _convert(path: Path, hashed: str, progress: Progress) -> Path:
    from localprobe.gguf import to_folder
    from localprobe.models.weights import converted

    def report(done: int, total: int) -> None:
        progress(f"converting {path.name}", done, total)

    return to_folder(path, hashed, converted(), progress=report)
