"""Weights from the Hugging Face hub, into Hugging Face's own cache, so that other tools find them there too.

What is in the cache is used without the network. Files are fetched here rather than by `huggingface_hub`, which since
version 2 discards a partial file when interrupted, and names files in the cache as the server's headers say. Here the
next call resumes a partial file, and a complete one is checked against the hash that the hub lists. Pickles are never
fetched.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from localprobe.errors import CorruptFile, NotDownloaded, UnknownModel, UnsupportedModel
from localprobe.models.hub_errors import hub_errors
from localprobe.models.listing import HubFile, Listing, listing
from localprobe.progress import Progress, silent
from localprobe.store.hashes import remember, sha256

FOLDER_FILES = ("model*.safetensors", "*.json", "tokenizer*", "*.model", "merges.txt", "*.jinja")
"""Files of a model folder, all at the top of a repository; pickles, Python code and other formats are excluded."""

_SPARE = 1 << 28  # bytes to leave free on the disk


def cached_file(repo: str, file: str) -> Path | None:
    """The path of a repository's file in the cache, or None. Never touches the network."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, file)
    return Path(path) if isinstance(path, str) else None


def cached_gguf(repo: str, file: str) -> Path | None:
    """The path of a repository's GGUF file in the cache, of a split one that of its first part; None unless all parts
    are there. Never touches the network."""
    from localprobe.gguf.parts import part_names

    paths = [cached_file(repo, name) for name in part_names(file)]
    return paths[0] if None not in paths else None


def cached_folder(repo: str) -> Path | None:
    """A repository's folder in the cache, if it has a config; it may be incomplete. Never touches the network."""
    config = cached_file(repo, "config.json")
    return config.parent if config else None


def cached_ggufs(repo: str) -> list[str]:
    """Names of the GGUF files of a repository that are in the cache; a split one is named by its first part."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    from localprobe.gguf.parts import is_later_part

    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"), "snapshots")
    names = {Path(*path.relative_to(snapshots).parts[1:]).as_posix() for path in snapshots.glob("*/**/*.gguf")}
    return sorted(name for name in names if not is_later_part(name) and cached_gguf(repo, name))


def fetch_file(repo: str, file: str, progress: Progress = silent) -> Path:
    """One file of a repository, from the cache or the hub; of a split GGUF file all parts, and the path of the first.

    Raises UnknownModel if the repository, the file or a part does not exist, NotDownloaded if it cannot be reached, is
    gated or does not fit on the disk, CorruptFile if its hash differs from the hub's, UnsupportedModel for a repository
    whose listing is not to be trusted.
    """
    from localprobe.gguf.parts import part_names

    if path := cached_gguf(repo, file):
        return path
    names = part_names(file)
    with hub_errors(repo, names):
        have = listing(repo)
        files = {item.name: item for item in have.files}
        for name in names:
            if name not in files:
                others = [other for other in files if other.endswith(".gguf")] or list(files)
                raise UnknownModel(f"{repo} has no file {name!r}; it has {_some(others)}")
        return _fetch(repo, have, [files[name] for name in names], progress) / file


def fetch_folder(repo: str, progress: Progress = silent) -> Path:
    """The model folder of a repository: config, safetensors and tokenizer, nothing else. Raises as `fetch_file`."""
    with hub_errors(repo, FOLDER_FILES):
        have = listing(repo)
        needed = [item for item in have.files if _belongs(item.name)]
        if not any(item.name.endswith(".safetensors") for item in needed):
            raise UnsupportedModel(
                f"{repo} holds no model*.safetensors: {_what_instead(repo, [item.name for item in have.files])}"
            )
        return _fetch(repo, have, needed, progress)


def remote_ggufs(repo: str) -> list[str]:
    """Names of the GGUF files of a repository on the hub; a split one is named by its first part."""
    from localprobe.gguf.parts import is_later_part

    with hub_errors(repo, ("*.gguf",)):
        names = [item.name for item in listing(repo).files]
        return [name for name in names if name.endswith(".gguf") and not is_later_part(name)]


def _belongs(name: str) -> bool:
    return "/" not in name and any(fnmatch(name, pattern) for pattern in FOLDER_FILES)


def _fetch(repo: str, have: Listing, files: list[HubFile], progress: Progress) -> Path:
    """Fetch files into the cache, in the layout of huggingface_hub. Returns the folder of the commit."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import _cache_commit_hash_for_specific_revision, repo_folder_name

    name = repo_folder_name(repo_id=repo, repo_type="model")
    storage, locks = Path(constants.HF_HUB_CACHE, name), Path(constants.HF_HUB_CACHE, ".locks", name)
    snapshot = storage / "snapshots" / have.commit
    files = [file for file in files if not (snapshot / file.name).exists()]
    _check_disk(repo, storage / "blobs", files)
    for folder in (storage / "blobs", snapshot, locks):
        folder.mkdir(parents=True, exist_ok=True)
    total, before = sum(file.bytes for file in files), 0
    for file in files:

        def report(done: int, before: int = before) -> None:
            progress(f"downloading {repo}", before + done, total)

        _fetch_file(repo, have.commit, file, storage, locks / f"{file.blob}.lock", report)
        before += file.bytes
        progress(f"downloading {repo}", before, total)
    _cache_commit_hash_for_specific_revision(str(storage), "main", have.commit)
    return snapshot


def _fetch_file(
    repo: str, commit: str, file: HubFile, storage: Path, lock: Path, report: Callable[[int], None]
) -> None:
    """Fetch one file into the blobs, unless it is there, and link it into the folder of its commit."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import _create_symlink
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    blob, pointer = storage / "blobs" / file.blob, storage / "snapshots" / commit / file.name
    url = hf_hub_url(repo, file.name, revision=commit)
    if file.bytes > constants.MAX_HTTP_DOWNLOAD_SIZE:  # such a file comes by the hub's own protocol only
        if get_hf_file_metadata(url).etag != file.blob:
            raise CorruptFile(f"{file.name} of {repo} is not the file that the hub lists: run the command again")
        hf_hub_download(repo, file.name, revision=commit)
        return
    with WeakFileLock(lock):
        new = not blob.exists()
        if new:
            _fetch_blob(repo, file, url, blob, report)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        _create_symlink(str(blob), str(pointer), new_blob=new)


def _fetch_blob(repo: str, file: HubFile, url: str, blob: Path, report: Callable[[int], None]) -> None:
    """Fetch one file to `blob`, resuming a partial file of an earlier call."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    part = _part(blob)
    if part.exists() and part.stat().st_size > file.bytes:
        part.unlink()
    with part.open("ab") as opened:
        have = opened.tell()
        report(have)
        http_get(
            url,
            _Reporting(opened, report),  # type: ignore[arg-type]  # it has the four methods used
            resume_size=have,
            expected_size=file.bytes,
            headers=build_hf_headers(),
            displayed_filename=file.name,
        )
    if _hash(part, file) != file.blob:
        part.unlink()
        raise CorruptFile(f"{file.name} of {repo} arrived damaged (its hash is wrong): run the command again")
    part.replace(blob)
    if file.large:
        remember(blob, file.blob)


def _hash(path: Path, file: HubFile) -> str:
    """The hash that names a file of this content in the cache."""
    if file.large:
        return sha256(path)
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


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


def _check_disk(repo: str, blobs: Path, files: list[HubFile]) -> None:
    """Raise NotDownloaded if the missing files do not fit on the disk."""
    need = 0
    for file in files:
        blob = blobs / file.blob
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
