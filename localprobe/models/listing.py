"""What a repository of the Hugging Face hub holds, by the hub's own answer.

Its names and hashes become paths in the cache, and are chosen by a server and by whoever uploaded the files. So a name
must be a path inside the repository, a hash and a commit must be hex digits; any other listing is refused as a whole.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.errors import UnsupportedModel

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    name: str
    """Its path in the repository, with `/` between folders."""
    bytes: int
    blob: str
    """Its name among the cache's blobs: SHA-256 in the hub's large-file storage, where weights are; else git's."""

    @property
    def large(self) -> bool:
        """Whether it is in large-file storage."""
        return len(self.blob) == 64


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    files: list[HubFile]


def listing(repo: str) -> Listing:
    """Ask the hub for the files of a repository. Raises UnsupportedModel for an answer that is not to be trusted, and
    the errors of huggingface_hub."""
    from huggingface_hub import HfApi

    try:
        answer = HfApi().model_info(repo, files_metadata=True)
    except (KeyError, TypeError, AttributeError) as error:  # JSON, but not of this kind
        raise ValueError(f"the answer is not a listing of files ({error!r})") from None
    commit = answer.sha
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise UnsupportedModel(f"{repo}: the hub names its commit {commit!r}, which is none: nothing is fetched")
    return Listing(commit, [_file(repo, sibling) for sibling in answer.siblings or []])


def is_inside(name: object) -> bool:
    """Whether a file's name is a path inside its repository, on every system: relative, without `..` or backslash."""
    return (
        isinstance(name, str)
        and "\\" not in name
        and not any(part in ("", ".", "..") or _DRIVE.match(part) for part in name.split("/"))
        and not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
    )


def _file(repo: str, sibling: RepoSibling) -> HubFile:
    name, size = sibling.rfilename, sibling.size
    if not is_inside(name):
        raise UnsupportedModel(
            f"{repo} lists a file {name!r}, which is not a path inside the repository: nothing is fetched; "
            "ask its owner to rename the file"
        )
    blob = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if not isinstance(blob, str) or not _BLOB.fullmatch(blob) or not isinstance(size, int) or size < 0:
        raise UnsupportedModel(
            f"{repo} lists {name!r} with the hash {blob!r} and the size {size!r}, which cannot be: nothing is fetched"
        )
    return HubFile(name, size, blob)
