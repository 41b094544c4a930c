"""The directions that a chat can begin with: those in the library, or a newly fitted one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from localprobe.errors import Cancelled, LocalprobeError
from localprobe_tui.engine.work import on_the_loop

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.engine import Info
    from localprobe.model import Model
    from localprobe.progress import Progress
    from localprobe.vectors.vector import Vector
    from localprobe_tui.engine.session import EngineSession


def kept(model: Model) -> list[Vector]:
    """The vectors that were made for a model: those of the library, the newest first, or those of its server. Blocks.
    LocalprobeError if the server is gone."""
    from localprobe.client.model import RemoteModel
    from localprobe.vectors.library import Library

    if isinstance(model, RemoteModel):
        return model.kept.fitting()
    return [entry.vector for entry in Library().entries() if fits(entry.vector, model.info)]


def fits(vector: Vector, info: Info) -> bool:
    """Whether a vector was made for a model."""
    try:
        vector.within(info.model, info.layers, info.width)
    except LocalprobeError:
        return False
    return vector.is_for(info)


def named(model: Model, name: str) -> Vector:
    """The vector of a name for a model, fitted now if the library lacks it. Blocks. VectorError if there is no such
    name."""
    from localprobe.probing.named import vector_for

    return vector_for(model, name)


async def fit(session: EngineSession, tell: Progress, cancelled: threading.Event, name: str = "empathy") -> Vector:
    """Fit the contrast set of a name on the session's model and keep the vector in the library, or return the vector
    that is there.

    `tell` is called on the event loop with the progress. Captured residuals are kept, so a cancelled fit can be
    resumed. Raises Cancelled once `cancelled` is set, VectorError for a name that is neither.
    """
    from localprobe.probing.named import vector_for

    report = on_the_loop(tell)

    def watch(amount: Amount) -> None:
        if cancelled.is_set():
            raise Cancelled("fitting was cancelled")
        left = "" if amount.left is None else f", {amount.left:.0f} s left"
        what = f"capturing texts at every layer, {amount.rate:,.0f} tok/s{left}"
        report(what, amount.texts, amount.total)

    with session.reserved(f"fitting {name}") as model:
        return await session.call(lambda: vector_for(model, name, capturing=watch))
