"""From a name to an engine with the model in it."""

from __future__ import annotations

from localprobe import discovery
from localprobe.engine import Engine, LoadOptions
from localprobe.progress import Progress, silent


def load(
    name: str,
    engine: str | None,
    options: LoadOptions,
    *,
    remote: bool = False,
    progress: Progress = silent,
) -> Engine:
    """Find the weights of `name` for an engine, check that they fit into memory, and load them.

    `engine` None takes the best one installed that loads what the name stands for. `remote` loads in a child process.
    Raises ModelError, EngineError or UsageError.
    """
    from localprobe import models
    from localprobe.models import fits

    backend = discovery.choose(engine, None if engine else models.formats(name))
    weights = models.resolve(name, backend, progress=progress)
    fits.check(weights, backend.name, options)
    if remote:
        from localprobe.remote import load as load_remote

        return load_remote(backend.name, weights, options)
    return backend.load(weights, options)
