"""The hub's errors as ours: one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from localprobe.errors import ModelError, NotDownloaded, UnknownModel


@contextmanager
def hub_errors(repo: str, files: Sequence[str]) -> Iterator[None]:
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


def _explain(error: Exception, repo: str, files: Sequence[str]) -> ModelError:
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


def not_downloaded(repo: str, files: Sequence[str], why: str) -> NotDownloaded:
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
