"""The work behind the Probing screen: which sets there are, a study that can be watched and stopped, and its run."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual.content import Content

from localprobe.contrast.pairs import Pair, read_pairs, shipped
from localprobe.errors import LocalprobeError, UsageError
from localprobe_tui.plots import HIGH, LOW
from localprobe_tui.work import in_thread, on_the_loop

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.probing.study import Choices, Study, Texts
    from localprobe.store.runs import Run
    from localprobe_tui.session import Session

METHODS = ("mean-difference", "logistic", "pca", "lda")
POOLINGS = ("mean-without-first", "mean", "last", "answer")


class Stopped(LocalprobeError):
    """The study was cancelled."""


def sets() -> list[str]:
    """Names of the contrast sets that ship."""
    names = []
    for path in sorted(shipped("neutral").parent.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            if "positive" in json.loads(file.readline()):
                names.append(path.stem)
    return names


def path_of(name: str) -> Path:
    """The file of a set that ships, or of a path that was typed. UsageError if nothing was typed."""
    if not name.strip():
        raise UsageError("no contrast set: type the path of a JSONL file with positive and negative")
    return shipped(name) if name in sets() else Path(name.strip()).expanduser()


def read(name: str) -> list[Pair]:
    """The pairs of a set or a file. DataError, UsageError."""
    return read_pairs(path_of(name))


def outline(pairs: list[Pair]) -> Content:
    """What a set holds, and its first pair."""
    scenarios = len({pair.scenario for pair in pairs} - {""})
    count = f"{len(pairs)} pairs" + (f" of {scenarios} scenarios" if scenarios else "")
    first = pairs[0]
    return Content("\n").join(
        [
            Content.assemble((count, "bold"), ", for example:\n"),
            Content.assemble(("high  ", f"bold {HIGH}"), first.positive),
            Content.assemble(("low   ", f"bold {LOW}"), first.negative),
        ]
    )


class Work:
    """One study: `capture`, then `conclude`. The engine is reserved for the first part only."""

    def __init__(self, session: Session, pairs: list[Pair], choices: Choices) -> None:
        """Raises DataError for pairs that cannot be split."""
        from localprobe.probing.study import texts_of

        self._session, self._choices = session, choices
        self._stop = threading.Event()
        self.texts: Texts = texts_of(pairs, choices)

    def stop(self) -> None:
        """End the statistics at their next step; a capture ends when its task is cancelled."""
        self._stop.set()

    async def run(self, capturing: Callable[[Amount], None], step: Callable[[str], None]) -> Study:
        """Do it all. What is captured stays in the store, so that a study that was stopped goes on where it was."""
        from localprobe.capture.job import Capture
        from localprobe.probing.study import LIMIT, conclude

        with self._session.reserved(f"capturing texts for a probe of {self._choices.concept}"):
            model = self._session.model
            assert model is not None  # it is reserved
            layers = model.layers()
            capture = Capture(model.engine, self.texts.all, layers, self._choices.pooling, limit=LIMIT)
            amounts = cast("AsyncGenerator[Amount, None]", self._session.iterate(lambda: iter(capture)))
            async with aclosing(amounts):
                async for amount in amounts:
                    capturing(amount)
            info, scale = model.info, await self._session.call(lambda: model.scale)
        tell = on_the_loop(step)

        def progress(name: str) -> None:
            if self._stop.is_set():
                raise Stopped("the study was cancelled")
            tell(name)

        return await in_thread(
            lambda: conclude(self._choices, self.texts, capture.residuals, layers, info, scale, progress)
        )


def keep(found: Study, session: Session, pairs: str) -> Run:
    """Store a study as a run, as `localprobe validate` does. LocalprobeError if the disk refuses."""
    from localprobe.store.runs import Runs, measured_on

    origin = found.vector.origin
    about = {"hashes": {f"pairs {pairs}": hashlib.sha256(path_of(pairs).read_bytes()).hexdigest()}}
    on = measured_on(session.model.info) if session.model else {"model": origin.model, "engine": origin.engine}
    name = f"{found.vector.concept} on {origin.model} ({origin.engine})"
    return Runs().add("validate", name, {"pairs": pairs, "measured_on": on, **found.as_json()}, about=about)
