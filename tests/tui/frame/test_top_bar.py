"""The top line: as much of what is loaded as there is room for."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from localprobe_tui.app import LocalprobeApp
from localprobe_tui.frame.top_bar import TopBar
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = pytest.mark.slow


def test_after_a_load_it_names_the_model_its_engine_and_device(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "fake · fake · cpu" in screen(app))

    play(scene)


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (120, "fake · fake · cpu · 40.0 tok/s · 12/512"),
        (84, "fake · 40.0 tok/s · 12/512"),
        (66, "fake · 12/512"),
    ],
)
def test_the_context_used_is_the_last_to_go_where_there_is_no_room(play: Play, width: int, shown: str) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "fake · fake · cpu" in screen(app))  # the load's end empties the details
        app.screen.query_one(TopBar).details = "40.0 tok/s · 12/512"
        await wait_until(pilot, lambda: screen(app).split("\n")[0].rstrip().endswith(f" {shown}"))

    play(scene, size=(width, 24))
