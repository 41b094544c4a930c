"""The Runs screen, played on in a terminal of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from localprobe_tui.runs.detail import Detail
from localprobe_tui.runs.run_list import RunList
from localprobe_tui.runs.screen import RunsScreen
from tests.tui.hosting import Host
from tests.tui.waiting import wait_until

Scenario = Callable[[Pilot[None], RunsScreen], Awaitable[None]]


def play(scenario: Scenario, size: tuple[int, int] = (120, 36), *, loaded: bool = False) -> None:
    async def run() -> None:
        host = Host("runs")
        async with host.run_test(size=size) as pilot:
            if loaded:
                await host.load_fake()
            page = host.screen_stack[0]
            assert isinstance(page, RunsScreen)
            await scenario(pilot, page)

    asyncio.run(run())


def rows_of(page: RunsScreen) -> int:
    return page.query_one(RunList).row_count


async def listed(pilot: Pilot[None], page: RunsScreen, count: int) -> None:
    await wait_until(pilot, lambda: rows_of(page) == count, f"{count} runs")


async def open_first(pilot: Pilot[None], page: RunsScreen) -> None:
    await pilot.press("enter")
    await wait_until(pilot, lambda: page.query_one(Detail).opened and not page.query_one(Detail).loading, "the run")
