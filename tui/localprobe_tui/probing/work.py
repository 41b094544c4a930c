"""The work behind the Probing screen: the available sets, a study that can be stopped, and recording it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual.content import Content

from localprobe.contrast.pairs import PAIR_SETS, Pair, read_pairs
from localprobe.errors import Cancelled, UsageError
from localprobe_tui.engine.work import in_thread, on_the_loop
from localprobe_tui.widgets.plots import HIGH, LOW

if TYPE_CHECKING:
    from localprobe.capture.job import Amount
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.report import ProbeReport
    from localprobe.probing.texts import ProbeTexts
    from localprobe_tui.engine.session import EngineSession


def path_of(name: str) -> Path:
    """The file of a set that ships, or of a path that was typed. UsageError if nothing was typed."""
    if not name.strip():
        raise UsageError("no contrast set: type the path of a JSONL, JSON or CSV file of pairs")
    return PAIR_SETS.resolve(name.strip())


def read(name: str) -> list[Pair]:
    """The pairs of a set or a file. Raises DataError or UsageError."""
    return read_pairs(path_of(name))


def outline(pairs: list[Pair]) -> Content:
    """The size of a set, and its first pair."""
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


class ProbingWork:
    """One study: capture, then the statistics. The engine is reserved for the first part only."""

    def __init__(self, session: EngineSession, pairs: list[Pair], concept: str, config: ProbeConfig) -> None:
        """Raises DataError for pairs that cannot be split."""
        from localprobe.probing.texts import ProbeTexts

        self._session = session
        self._stop = threading.Event()
        self.texts: ProbeTexts = ProbeTexts.of(pairs, concept, config)
        self.notices: list[str] = []
        """How the model reads the texts, where that may surprise; known once `run` has the model."""

    def stop(self) -> None:
        """End the statistics at their next step; a capture ends when its task is cancelled."""
        self._stop.set()

    async def run(self, capturing: Callable[[Amount], None], step: Callable[[str], None]) -> ProbeReport:
        """Capture, fit and validate. Residuals are cached, so fitting again resumes the capture."""
        from localprobe.capture.job import Capture
        from localprobe.probing.config import TOKEN_LIMIT
        from localprobe.probing.fit import conclude
        from localprobe.probing.notices import notices

        pooling = self.texts.config.pooling
        with self._session.reserved(f"capturing texts for a probe of {self.texts.concept}") as model:
            layers = model.layers()
            self.notices = await self._session.call(lambda: [*notices(model.info, self.texts)])
            capture = Capture(model.engine, self.texts.all, layers, pooling, limit=TOKEN_LIMIT)
            amounts = cast("AsyncGenerator[Amount, None]", self._session.iterate(lambda: iter(capture)))
            async with aclosing(amounts):
                async for amount in amounts:
                    capturing(amount)
            info, scale = model.info, await self._session.call(lambda: model.scale)
        tell = on_the_loop(step)

        def progress(name: str) -> None:
            if self._stop.is_set():
                raise Cancelled("the study was cancelled")
            tell(name)

        return await in_thread(lambda: conclude(self.texts, capture.residuals, layers, info, scale, progress))


def keep(report: ProbeReport, pairs: str) -> ProbeReport:
    """Store a study as a run, as `localprobe validate` does. LocalprobeError if the disk refuses."""
    from localprobe.probing.recorded import record

    hashes = {f"pairs {pairs}": hashlib.sha256(path_of(pairs).read_bytes()).hexdigest()}
    return record(report, "validate", pairs=pairs, hashes=hashes)
