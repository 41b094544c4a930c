"""Weights from the Hugging Face hub, into Hugging Face's own cache, so that other tools find them there too.

What is in the cache is used without the network. Large files are fetched here rather than by `huggingface_hub`, which
since version 2 discards a partial file when interrupted. Here the next call resumes it, and the complete file is
checked against the hub's SHA-256. Pickles are never fetched.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from localprobe.errors import CorruptFile, ModelError, NotDownloaded, UnknownModel, UnsupportedModel
from localprobe.models.checkpoint import is_split
from localprobe.models.weights import sha256
from localprobe.progress import Progress, silent

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

FOLDER_FILES = ("model*.safetensors", "*.json", "tokenizer*", "*.model", "merges.txt", "*.jinja")
"""Files of a model folder, all at the top of a repository; pickles, Python code and other formats are excluded."""

_SPARE = 1 << 28  # bytes to leave free on the disk


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    bytes: int
    sha256: str | None
    """None except for files in the hub's large-file storage, where weights are."""


def cached_file(repo: str, file: str) -> Path | None:
    """The path of a repository's file in the cache, or None. Never touches the network."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, file)
    return Path(path) if isinstance(path, str) else None


def cached_folder(repo: str) -> Path | None:
    """A repository's folder in the cache, if it has a config; it may be incomplete. Never touches the network."""
    config = cached_file(repo, "config.json")
    return config.parent if config else None


def cached_ggufs(repo: str) -> list[str]:
    """Names of the GGUF files of a repository that are in the cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"), "snapshots")
    names = {Path(*path.relative_to(snapshots).parts[1:]).as_posix() for path in snapshots.glob("*/**/*.gguf")}
    return sorted(name for name in names if cached_file(repo, name))


def fetch_file(repo: str, file: str, progress: Progress = silent) -> Path:
    """One file of a repository, from the cache or the hub.

    Raises UnknownModel if the repository or the file does not exist, NotDownloaded if it cannot be reached, is gated
    or does not fit on the disk, CorruptFile if its hash differs from the hub's.
    """
    from huggingface_hub import hf_hub_download

    if path := cached_file(repo, file):
        return path
    with _hub_errors(repo, (file,)):
        files = _listing(repo)
        matches = [item for item in files if item.name == file]
        if not matches:
            have = [item.name for item in files if item.name.endswith(".gguf")] or [item.name for item in files]
            raise UnknownModel(f"{repo} has no file {file!r}; it has {_some(have)}")
        _fetch_large(repo, matches, progress)
        return Path(hf_hub_download(repo, file))


def fetch_folder(repo: str, progress: Progress = silent) -> Path:
    """The model folder of a repository: config, safetensors and tokenizer, nothing else. Raises as `fetch_file`."""
    from huggingface_hub import snapshot_download

    with _hub_errors(repo, FOLDER_FILES):
        files = _listing(repo)
        names = [item.name for item in files]
        needed = [item for item in files if _belongs(item.name)]
        if not any(item.name.endswith(".safetensors") for item in needed):
            raise UnsupportedModel(f"{repo} holds no model*.safetensors: {_what_instead(repo, names)}")
        _fetch_large(repo, needed, progress)
        return Path(snapshot_download(repo, allow_patterns=[item.name for item in needed]))


def remote_ggufs(repo: str) -> list[str]:
    """Names of the GGUF files of a repository on the hub, without parts of split files."""
    with _hub_errors(repo, ("*.gguf",)):
        return [item.name for item in _listing(repo) if item.name.endswith(".gguf") and not is_split(item.name)]


def not_downloaded(repo: str, files: tuple[str, ...], why: str) -> NotDownloaded:
    """The error that names what to fetch, how, and where to put it."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    patterns = [f"--include '{name}'" for name in files]
    what = files[0] if len(files) == 1 and "*" not in files[0] else " ".join(patterns)
    folder = repo_folder_name(repo_id=repo, repo_type="model")
    return NotDownloaded(
        f"{repo} is not on this disk and {why}; where there is a network, run `hf download {repo} {what}` "
        f"and bring its cache folder {folder} to {constants.HF_HUB_CACHE}"
    )


def _listing(repo: str) -> list[_File]:
    from huggingface_hub import HfApi

    siblings = HfApi().model_info(repo, files_metadata=True).siblings or []
    return [_file(sibling) for sibling in siblings]


def _file(sibling: RepoSibling) -> _File:
    return _File(sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None)


def _belongs(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in FOLDER_FILES)


def _fetch_large(repo: str, files: list[_File], progress: Progress) -> None:
    """Download the large ones of `files` into the cache's blobs, where huggingface_hub finds them."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=repo, repo_type="model")
    blobs = Path(constants.HF_HUB_CACHE, folder, "blobs")
    locks = Path(constants.HF_HUB_CACHE, ".locks", folder)
    _check_disk(repo, blobs, files)
    blobs.mkdir(parents=True, exist_ok=True)
    locks.mkdir(parents=True, exist_ok=True)
    total, before = sum(item.bytes for item in files), 0
    for file in files:
        if file.sha256 is not None and file.bytes <= constants.MAX_HTTP_DOWNLOAD_SIZE:

            def report(done: int, before: int = before) -> None:
                progress(f"downloading {repo}", before + done, total)

            _fetch_blob(repo, file, blobs / file.sha256, locks / f"{file.sha256}.lock", report)
        before += file.bytes
        progress(f"downloading {repo}", before, total)


def _fetch_blob(repo: str, file: _File, blob: Path, lock: Path, report: Callable[[int], None]) -> None:
    """Fetch one file to `blob`, resuming a partial file of an earlier call."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    part = _part(blob)
    with WeakFileLock(lock):
        if blob.exists():
            return
        if part.exists() and part.stat().st_size > file.bytes:
            part.unlink()
        with part.open("ab") as opened:
            have = opened.tell()
            report(have)
            http_get(
                hf_hub_url(repo, file.name),
                _Reporting(opened, report),  # type: ignore[arg-type]  # it has the four methods used
                resume_size=have,
                expected_size=file.bytes,
                headers=build_hf_headers(),
                displayed_filename=file.name,
            )
        if sha256(part) != file.sha256:
            part.unlink()
            raise CorruptFile(f"{file.name} of {repo} arrived damaged (its SHA-256 is wrong): run the command again")
        part.replace(blob)


class _Reporting:
    """A file that reports its length as it grows."""

    def __init__(self, file: BinaryIO, report: Callable[[int], None]) -> None:
        self._file, self._report = file, report
        self.tell, self.seek, self.truncate = file.tell, file.seek, file.truncate

    def write(self, data: bytes) -> int:
        count = self._file.write(data)
        self._report(self._file.tell())
        return count


def _part(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _check_disk(repo: str, blobs: Path, files: list[_File]) -> None:
    """Raise NotDownloaded if the missing files do not fit on the disk."""
    need = 0
    for file in files:
        blob = blobs / (file.sha256 or file.name)
        part = _part(blob)
        if not blob.exists():
            need += file.bytes - (part.stat().st_size if part.exists() else 0)
    disk = next(parent for parent in blobs.parents if parent.exists())
    free = shutil.disk_usage(disk).free
    if need + _SPARE > free:
        raise NotDownloaded(
            f"{repo} needs {need / 1e9:.1f} GB more on the disk of {disk}, which has {free / 1e9:.1f} GB free: "
            "make room, or set HF_HOME to a folder on a larger disk"
        )


@contextmanager
def _hub_errors(repo: str, files: tuple[str, ...]) -> Iterator[None]:
    """Silence the hub's own progress bars, and turn its errors into ours."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    # The base of the errors of the HTTP library in use; ValueError is an answer that is not JSON, as from the login
    # page of a public network.
    network: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError, ValueError)
    drawing = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except ModelError:
        raise
    except network as error:
        raise _explain(error, repo, files) from error
    finally:
        if drawing:
            enable_progress_bars()


def _explain(error: Exception, repo: str, files: tuple[str, ...]) -> ModelError:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    page = f"{constants.ENDPOINT}/{repo}"
    if isinstance(error, GatedRepoError):
        return NotDownloaded(f"{repo} is gated: accept its terms at {page}, then sign in with `hf auth login`")
    if isinstance(error, RepositoryNotFoundError):
        return UnknownModel(f"there is no model at {page}; if it is private, sign in with `hf auth login`")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return NotDownloaded(f"{page} refused access ({status}): sign in with `hf auth login`")
        reason = f"the hub answered with status {status}"
    elif constants.HF_HUB_OFFLINE:
        reason = "HF_HUB_OFFLINE is set"
    else:
        cause = error.__cause__ or error
        reason = f"fetching it failed ({type(cause).__name__}: {' '.join(str(cause).split())[:200]})"
    return not_downloaded(repo, files, reason)


def _what_instead(repo: str, names: list[str]) -> str:
    """What to do about a repository without safetensors."""
    if ggufs := [name for name in names if name.endswith(".gguf")]:
        return f"name one of its GGUF files, {repo}:{ggufs[0]}"
    if any(name.endswith((".bin", ".pt", ".pth")) for name in names):
        return "its weights are pickled, which localprobe never loads; look for a safetensors or GGUF version"
    return f"it has {_some(names)}"


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no files") + more
