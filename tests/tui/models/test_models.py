"""The Models screen: what there is, what fits, and loading it with progress and a way out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input

from localprobe.models import inventory
from localprobe.models.inventory import Item, Use
from localprobe_tui.models.screen import ModelsScreen
from tests.tui.hosting import Host
from tests.tui.waiting import message, screen, text_of, wait_until

pytestmark = pytest.mark.slow

Scenario = Callable[[Pilot[None], ModelsScreen], Awaitable[None]]

FOUND = [
    Item("fake", "made up", "fake", 5_000_000, Path("/here"), "A small one", [Use("fake", True, 400_000_000, True)]),
    Item(
        "large",
        "org/large",
        "folder",
        16_000_000_000,
        None,
        "A large one",
        [
            Use("torch", True, 32_000_000_000, False),
            Use("mlx", False, 5_000_000_000, True),
            Use("llama", True, None, None),
        ],
    ),
]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "items", lambda: FOUND)


def test_a_damaged_file_is_told_and_the_others_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    torn = Item("org/torn:a.gguf", "org/torn:a.gguf", "gguf", 0, Path("/a.gguf"), problem="/a.gguf is cut short")
    monkeypatch.setattr(inventory, "items", lambda: [torn, *FOUND, torn])

    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        assert [told.message for told in pilot.app._notifications] == ["Left out: /a.gguf is cut short, and 1 more"]

    play(scenario)


def play(scenario: Scenario, size: tuple[int, int] = (120, 30)) -> None:
    async def run() -> None:
        host = Host("models")
        async with host.run_test(size=size) as pilot:
            page = host.screen
            assert isinstance(page, ModelsScreen)
            await wait_until(pilot, lambda: page.query_one(DataTable).row_count == 4, "the list")
            await scenario(pilot, page)

    asyncio.run(run())


def test_a_row_for_each_engine_says_what_it_takes_and_whether_it_fits() -> None:
    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        await wait_until(pilot, lambda: "torch" in screen(pilot), "the list on the screen")
        lines = screen(pilot).split("\n")
        row = next(line for line in lines if "torch" in line)
        for shown in ("large", "32.0 GB!", "16.0 GB", "no", "org/large"):
            assert shown in row
        about = page.query_one("#about")
        await wait_until(pilot, lambda: "A small one" in text_of(about))
        assert "takes about 0.40 GB: it fits" in text_of(about)
        assert "Enter loads it" in text_of(about)
        await pilot.press("down")
        await wait_until(pilot, lambda: "more than is free" in text_of(about))
        assert "Enter fetches 16.0 GB" in text_of(about)
        await pilot.press("down")
        await wait_until(pilot, lambda: "mlx is not installed" in text_of(about))
        await pilot.press("down")
        await wait_until(pilot, lambda: "on the graphics card" in text_of(about))

    play(scenario, (80, 24))


def test_enter_loads_the_model_and_marks_its_row() -> None:
    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        await pilot.press("enter")
        await wait_until(pilot, lambda: page.session.state == "ready", "the model")
        await wait_until(pilot, lambda: "▶" in screen(pilot))
        assert page.session.model is not None
        assert page.session.model.info.engine == "fake"
        assert next(line for line in screen(pilot).split("\n") if "▶" in line).split()[1] == "fake"

    play(scenario)


def test_a_click_on_a_row_and_then_on_it_again_loads_it() -> None:
    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        for _ in range(2):
            await pilot.click(DataTable, offset=(10, 1))
        await wait_until(pilot, lambda: page.session.state == "ready", "the model")

    play(scenario)


def test_another_model_is_loaded_by_its_name_and_a_wrong_one_is_a_message() -> None:
    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        await pilot.press("n")
        await pilot.press(*"fakr", "enter")
        assert "no model is named 'fakr' (did you mean 'fake'?)" in await message(pilot)
        await pilot.press("escape")
        page.query_one(Input).value = "fake"
        await pilot.press("enter")
        await wait_until(pilot, lambda: page.session.state == "ready", "the model")

    play(scenario)


def test_an_engine_that_is_not_installed_is_a_message_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe import discovery

    monkeypatch.setattr(discovery, "installed", lambda name: name != "mlx")

    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        await pilot.press("down", "down", "enter")
        assert "pip install 'localprobe[mlx]'" in await message(pilot)

    play(scenario)


def test_a_download_shows_how_far_it_is_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe import models

    def slowly(name: str, backend: Any, *, code: bool, progress: Any) -> None:
        for done in range(100_000):
            progress("downloading org/large", min(done, 1000) * 16_000_000, 16_000_000_000)
            time.sleep(0.01)

    monkeypatch.setattr(models, "resolve", slowly)

    async def scenario(pilot: Pilot[None], page: ModelsScreen) -> None:
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: "downloading org/large" in screen(pilot), "progress")
        await wait_until(pilot, lambda: "of 16,000 MB" in screen(pilot), "an amount")
        await pilot.click("#cancel-load")
        await wait_until(pilot, lambda: page.session.state == "empty", "the end of it")

    play(scenario)
