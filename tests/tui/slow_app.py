"""Importing this runs the app on the slow fake model, and asks it something at once. The model is in this process, or
in a child if `remote` is an argument."""

from __future__ import annotations

import sys

from localprobe import discovery
from localprobe.engines.spec import ModelSpec
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.engine.session import EngineSession
from tests.tui import slow


class Asking(LocalprobeApp):
    """Says something as soon as the model is there."""

    def on_ready(self) -> None:
        self.set_interval(0.1, self._ask)

    def _ask(self) -> None:
        if self.session.state == "ready" and not self.talk.chat.turns:
            self.run_worker(self.talk.send("go on for ever"))


discovery.choose = lambda *_: slow.backend
app = Asking(ModelSpec("fake"), session=EngineSession(remote="remote" in sys.argv))
try:
    app.run()
finally:
    app.leave()
