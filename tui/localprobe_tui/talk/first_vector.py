"""The directions a chat can begin with: those in the user's data folder, or empathy fitted here and now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from localprobe.errors import Cancelled, LocalprobeError
from localprobe_tui.engine.work import on_the_loop

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.engine import Info
    from localprobe.model import Model
    from localprobe.progress import Progress
    from localprobe.vectors.vector import Vector
    from localprobe_tui.engine.session import Session


def folder() -> Path:
    """Where vectors that belong to no project are kept."""
    from localprobe.store.paths import data

    return data() / "vectors"


def kept(info: Info) -> list[Vector]:
    """The vectors of the data folder that were made for a model, the newest first. Unreadable files are passed over."""
    from localprobe.vectors import files as vector_files

    found = []
    for path in sorted(folder().glob("*.safetensors"), key=lambda each: each.stat().st_mtime, reverse=True):
        with suppress(LocalprobeError):
            vector = vector_files.load(path)
            if fits(vector, info):
                found.append(vector)
    return found


def fits(vector: Vector, info: Info) -> bool:
    """Whether a vector was made for a model."""
    try:
        return not vector.check_compatible(info)
    except LocalprobeError:
        return False


async def fit(session: Session, tell: Progress, cancelled: threading.Event) -> Vector:
    """Fit empathy on the session's model, as `localprobe demo` does, and keep it in the data folder.

    `tell` is called on the event loop with the texts captured. What was captured is kept, so that a fit that was
    cancelled goes on where it was. Raises Cancelled once `cancelled` is set.
    """
    told = on_the_loop(tell)

    def watch(amount: Amount) -> None:
        if cancelled.is_set():
            raise Cancelled("fitting was cancelled")
        left = "" if amount.left is None else f", {amount.left:.0f} s left"
        what = f"capturing texts at every layer, {amount.rate:,.0f} tok/s{left}"
        told(what, amount.texts, amount.total)

    with session.reserved("fitting empathy") as model:
        return await session.call(_fit, model, watch)


def _fit(model: Model, watch: Callable[[Amount], None]) -> Vector:
    from localprobe.contrast.pairs import read_pairs, shipped
    from localprobe.probing.fit import fit as fit_probe
    from localprobe.vectors import files as vector_files

    pairs = read_pairs(shipped("empathy"))
    vector = fit_probe(model, pairs, concept="empathy", validate=False, capturing=watch).vector
    vector_files.save(vector, folder() / f"empathy-{_plain(model.info.model)}.safetensors")
    return vector


def _plain(name: str) -> str:
    """A model's name as part of a file's."""
    return "".join(each if each.isalnum() or each in ".-" else "-" for each in Path(name).name)
