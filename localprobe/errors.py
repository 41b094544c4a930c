"""The errors that a user can cause, as one tree.

    LocalprobeError              printed as one line, exit status 2
    ├── UsageError               an argument out of range: a layer, an empty text, a position
    ├── DataError                a file of texts, pairs or captures that cannot be read
    ├── VectorError              a direction that is broken or belongs to another model
    ├── Cancelled                the user ended a load or a fit
    ├── QueueFull                a server has more requests waiting than it takes
    ├── EndpointError            a model server that refuses or fails; in generators/endpoint_errors.py
    ├── ModelError               weights that cannot be found, read or fitted into memory
    │   ├── UnknownModel         a name that is neither known, a folder, a file nor a hub id
    │   ├── NotDownloaded        known, but not on this disk, and the network is away
    │   ├── CorruptFile          truncated, torn or hostile
    │   ├── UnsupportedModel     an architecture, tokenizer or tensor type that this engine cannot run
    │   └── OutOfMemory          the model does not fit
    └── EngineError              the engine rather than the model
        ├── UnknownEngine        no backend of that name is registered
        ├── EngineNotInstalled   registered, but its library is missing
        ├── EngineCrashed        its process died
        ├── EngineStopped        its process was stopped from outside and does not answer
        └── CanaryFailed         it loads, but capture or steering gives wrong results

A message says what was wrong, with the value, and what to do now. Tracebacks are for bugs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class LocalprobeError(Exception):
    """Base of all errors meant to be read by a user: one line, no traceback."""


class LocalprobeWarning(UserWarning):
    """Something that a user must know and that does not stop the work, such as a damaged row that was skipped: one
    line. The command line prints it, the app shows it."""


@contextmanager
def caught_warnings() -> Iterator[list[str]]:
    """Collects the warnings of the block as lines, each once, for a caller that shows them in its own way. The list is
    filled when the block ends."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lines
    lines += dict.fromkeys(str(warning.message) for warning in caught)


class UsageError(LocalprobeError, ValueError):
    """An argument is out of range or does not apply."""


class DataError(LocalprobeError):
    """A file of texts, pairs or captures cannot be read."""


class VectorError(LocalprobeError):
    """A direction is broken, or belongs to another model."""


class Cancelled(LocalprobeError):
    """The user ended the work before it was done."""


class QueueFull(LocalprobeError):
    """More requests wait than are taken on. Trying again later may help."""


class ModelError(LocalprobeError):
    """Weights cannot be found, read, or fitted into memory."""


class UnknownModel(ModelError):
    """The name is neither a short name, a folder, a file nor a hub id."""


class NotDownloaded(ModelError):
    """The model is known but not on this disk, and cannot be fetched now."""


class CorruptFile(ModelError):
    """The file is truncated, torn or hostile."""


class UnsupportedModel(ModelError):
    """The architecture, tokenizer or tensor type is not one that this engine can run."""


class OutOfMemory(ModelError):
    """The model, or the batch, does not fit into memory."""


class EngineError(LocalprobeError):
    """The engine is missing, broken or dead."""


class UnknownEngine(EngineError):
    """No backend of that name is registered."""


class EngineNotInstalled(EngineError):
    """The backend is registered, but the library that it drives is missing."""


class EngineCrashed(EngineError):
    """The engine's process died."""


class EngineStopped(EngineError):
    """The engine's process was stopped from outside (SIGSTOP): it does not answer until it is continued."""


class CanaryFailed(EngineError):
    """The model loads, but capture or steering gives wrong results."""


class EngineWarning(LocalprobeWarning):
    """What an engine or its library warned of, in the engine's process."""


class DataWarning(LocalprobeWarning):
    """Texts can be used, but are not read as their author may think. The command line shows it as one line."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
