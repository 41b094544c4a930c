"""The Python code that comes with a model, which `trust_remote_code` lets an engine run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, NotDownloaded
from localprobe.models import download as hub
from localprobe.models.checkpoint import read_json

_CONFIGS = ("config.json", "tokenizer_config.json")


def code_files(folder: Path) -> dict[str, Path]:
    """Every Python file that a model may run, by name; none if its configs ask for no code.

    Those are the files of its folder, and of other repositories that `auto_map` refers to (`org/name--module.Class`).
    Raises NotDownloaded if such a repository is not on this disk, CorruptFile for a reference that is none.
    """
    configs = [read_json(path) for name in _CONFIGS if (path := folder / name).is_file()]
    references = [reference for config in configs for reference in _references(config)]
    own = [str(config["model_file"]) for config in configs if config.get("model_file")]  # mlx-lm's
    if not references and not own:
        return {}
    files = _python(folder)
    for name in own:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CorruptFile(f"{folder / 'config.json'} names code in {name!r}, which is not in its folder")
        files[name] = folder / name
    for repo, module in dict.fromkeys(reference for reference in references if reference[0]):
        files |= {f"{repo}/{name}": path for name, path in _python(_elsewhere(folder, repo, module)).items()}
    return files


def _references(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(repository, module) of each class that a config takes from code; the repository is empty for its own folder."""
    classes = config.get("auto_map")
    for named in classes.values() if isinstance(classes, dict) else ():
        for reference in named if isinstance(named, list) else [named]:
            if isinstance(reference, str):
                repo, _, name = reference.rpartition("--")
                yield repo, name.partition(".")[0]


def _elsewhere(folder: Path, repo: str, module: str) -> Path:
    """The folder in the hub's cache that holds a module of another repository."""
    try:
        path = hub.cached_file(repo, f"{module}.py")
    except ValueError:  # of huggingface_hub, for what cannot be a name
        raise CorruptFile(f"{folder} names Python code in {repo!r}, which is no repository") from None
    if path is None:
        raise NotDownloaded(
            f"{folder} runs Python code of {repo}, which is not on this disk: fetch it with "
            f"`hf download {repo} --include '*.py'`"
        )
    return path.parent


def _python(folder: Path) -> dict[str, Path]:
    names = {path.relative_to(folder): path for path in folder.rglob("*.py")}
    return {name.as_posix(): path for name, path in names.items() if not name.parts[0].startswith(".")}
