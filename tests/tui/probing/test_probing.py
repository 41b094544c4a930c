"""The Probing screen: progress, then the verdict, the figures, a text to try, and the way into the chat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static, TextArea

from localprobe.capture.cache import ResidualCache
from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.engine import Output, Row
from localprobe.fake import FakeEngine
from localprobe.probing.result import ProbeResult
from localprobe.store.json_values import from_json
from localprobe.store.runs import Runs
from localprobe.vectors import files as vector_files
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.probing.results import Histogram, Results, VerdictDialog
from localprobe_tui.probing.screen import ProbingScreen
from tests.tui.hosting import Host
from tests.tui.waiting import message, screen, text_of, wait_until

pytestmark = pytest.mark.slow

Scenario = Callable[[Pilot[None], ProbingScreen], Awaitable[None]]


@pytest.fixture
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text was ever captured."""
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples: these tests are not about statistics."""
    config, quick = ProbingScreen._config, {"resamples": 100, "permutations": 50, "random_directions": 20}
    monkeypatch.setattr(ProbingScreen, "_config", lambda page: replace(config(page), **quick))


@pytest.fixture
def shouting(tmp_path: Path) -> Path:
    """Pairs that any model tells apart: one text of each is in capitals."""
    path = tmp_path / "shouting.jsonl"
    lines = []
    for pair in read_pairs(PAIR_SETS.path("empathy"))[::3]:
        texts = {"positive": pair.positive[:60].upper(), "negative": pair.negative[:60].lower()}
        lines.append(json.dumps({**texts, "scenario": pair.scenario}))
    path.write_text("\n".join(lines))
    return path


def play(scenario: Scenario, size: tuple[int, int] = (120, 36), *, loaded: bool = True) -> None:
    """Show the screen at a size, with the fake model loaded, and do something there."""

    async def run() -> None:
        host = Host("probing")
        async with host.run_test(size=size) as pilot:
            if loaded:
                await host.load_fake()
            page = host.screen
            assert isinstance(page, ProbingScreen)
            await scenario(pilot, page)

    asyncio.run(run())


async def fit(pilot: Pilot[None], page: ProbingScreen, pairs: Path) -> None:
    """Choose a file and fit on it, to the end."""
    page.query_one("#pairs", Select).value = "a file"
    await pilot.pause()
    page.query_one("#path", Input).value = str(pairs)
    await pilot.press("enter")
    await wait_until(pilot, lambda: "-fitted" in page.classes, "the verdict")
    await wait_until(pilot, lambda: not page.query_one("#progress").display, "the end of the work")


def test_before_a_fit_it_says_what_a_fit_will_do_and_shows_a_pair() -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await wait_until(pilot, lambda: "fit a probe on fake" in screen(pilot))
        await wait_until(pilot, lambda: "60 pairs of 5 scenarios" in screen(pilot))
        await pilot.press("d")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: page.query_one("#pairs", Select).value == "formality")
        await wait_until(pilot, lambda: text_of(page.query_one("#about")).startswith("40 pairs"))

    play(scenario)


@pytest.mark.slow
def test_progress_is_shown_and_then_the_verdict_and_the_run_is_kept(shouting: Path, nothing_known: None) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        stages: list[str] = []
        stage = page.query_one("#stage", Static)
        update = stage.update
        stage.update = lambda content="", **how: (stages.append(str(content)), update(content, **how))[1]  # type: ignore[method-assign]
        await fit(pilot, page, shouting)
        captured = [each for each in stages if each.startswith("capturing")]
        assert captured[-1].startswith("capturing 80 of 80 texts")
        assert "tok/s" in captured[-1]
        assert "0:00 left" in captured[-1]
        assert "permutation test …" in stages
        kept = Runs().all("validate")[0]
        assert kept.name == "shouting on fake (fake)"
        result = from_json(ProbeResult, kept.result)
        assert text_of(page.query_one("#headline")) == str(result.verdict)
        assert (result.test_pairs, result.pairs) == (6, str(shouting))
        assert list(kept.about["hashes"]) == [f"pairs {shouting}"]
        await wait_until(pilot, lambda: "It does not show" in screen(pilot))
        assert pilot.app.session.busy is None  # type: ignore[attr-defined]

    play(scenario)


def test_arrow_keys_and_a_click_change_the_layer_and_its_figures(shouting: Path) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await fit(pilot, page, shouting)
        assert page.report is not None
        results, result = page.query_one(Results), page.report.result
        chosen = result.layer
        assert results.query_one("#auroc").border_title == f"AUROC · layer {chosen}, chosen on training pairs"
        histogram = results.query_one(Histogram)
        drawn = histogram._shown
        await pilot.press("left")
        row = result.at(chosen - 1)
        await wait_until(pilot, lambda: f"Scores at layer {chosen - 1}: AUROC {row.auroc:.2f}" in screen(pilot))
        assert histogram._shown != drawn
        await wait_until(pilot, lambda: f"{row.accuracy:.0%} right" in screen(pilot))
        await pilot.press("home")
        await wait_until(pilot, lambda: histogram._shown == drawn)
        plot = results.query_one("#plot")
        await pilot.click(plot, offset=(plot.size.width - 3, 4))
        await wait_until(pilot, lambda: "Scores at layer 5" in screen(pilot))

    play(scenario)


def test_a_typed_text_is_scored_and_follows_the_layer(shouting: Path) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await fit(pilot, page, shouting)
        await pilot.press("t")
        await pilot.press(*"HELP", "space", *"ME")
        reading = page.query_one("#reading")
        await wait_until(pilot, lambda: "Reads as high" in text_of(reading), "a score")
        first = text_of(reading)
        tokens = text_of(page.query_one("#tokens")).split("\n")
        assert tokens[0] == "HELP ME"
        assert len(tokens[1]) == len("HELP ME")
        await pilot.press("escape", "left")
        await wait_until(pilot, lambda: text_of(reading) != first)
        page.query_one(TextArea).text = "quiet words in a row"
        await wait_until(pilot, lambda: "Reads as low" in text_of(reading), "a low score")

    play(scenario)


def test_a_text_beyond_the_context_is_a_message(shouting: Path) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await fit(pilot, page, shouting)
        page.query_one(TextArea).text = "x" * 600
        assert "has 601 tokens" in await message(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is page

    play(scenario)


def test_the_probe_goes_into_the_chat_at_the_layer_that_is_shown_and_into_a_file(
    shouting: Path, tmp_path: Path
) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await fit(pilot, page, shouting)
        await pilot.press("left", "c")
        layer = page.query_one(Results).chosen
        host = pilot.app
        assert isinstance(host, Host)
        assert [(each.concept, each.best) for each in host.used] == [("shouting", layer)]
        await pilot.press("s")
        await wait_until(pilot, lambda: pilot.app.screen is not page)
        field = pilot.app.screen.query_one(Input)
        assert field.value.endswith("vectors/shouting-fake.safetensors")
        field.value = str(tmp_path / "saved.safetensors")
        await pilot.press("enter")
        await wait_until(pilot, (tmp_path / "saved.safetensors").exists)
        saved = vector_files.load(tmp_path / "saved.safetensors")
        assert saved.best == layer
        assert set(saved.directions[layer].measures) >= {"auroc", "accuracy"}

    play(scenario)


def test_the_whole_verdict_opens_on_a_small_terminal(shouting: Path) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await fit(pilot, page, shouting)
        headline = text_of(page.query_one("#headline"))
        for shown in (headline[:40], "AUROC · layer", "Scores at layer", "Try a text", "threshold", "f Fit"):
            await wait_until(pilot, lambda shown=shown: shown in screen(pilot), shown)
        assert "It does not show" not in screen(pilot)
        await pilot.press("v")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, VerdictDialog))
        await wait_until(pilot, lambda: "It does not show" in screen(pilot))
        await pilot.press("escape")
        assert pilot.app.screen is page

    play(scenario, (80, 24))


class Slow(FakeEngine):
    """Takes its time for every pass."""

    def forward(self, rows, layers=()):  # type: ignore[no-untyped-def]
        import time

        time.sleep(0.05 * len(rows))
        return super().forward(rows, layers)


@pytest.mark.slow
def test_cancelled_work_frees_the_model_and_keeps_what_was_captured(
    shouting: Path, nothing_known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    put = ResidualCache.put
    monkeypatch.setattr(ResidualCache, "put", lambda *given: (kept.append(1), put(*given))[1])

    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        session: EngineSession = page.session
        assert session.model is not None
        session.model.engine = Slow()
        page.query_one("#pairs", Select).value = "a file"
        await pilot.pause()
        page.query_one("#path", Input).value = str(shouting)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "capturing" in text_of(page.query_one("#stage")), "progress")
        assert session.busy is not None
        assert "probe of shouting" in session.busy
        await pilot.click("#cancel")
        await wait_until(pilot, lambda: session.busy is None, "a free model")
        await wait_until(pilot, lambda: not page.query_one("#progress").display)
        assert 0 < len(kept) < 80
        assert "-fitted" not in page.classes
        assert Runs().all() == []
        session.model.engine = FakeEngine()
        await pilot.press("escape", "f")
        await wait_until(pilot, lambda: "-fitted" in page.classes, "the second fit")

    play(scenario)


def test_a_study_needs_a_model() -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        await wait_until(pilot, lambda: "once a model is loaded" in screen(pilot))
        await pilot.press("f")
        assert "no model is loaded" in await message(pilot)
        await pilot.click("Notice Button")
        assert pilot.app.screen is page

    play(scenario, loaded=False)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot read"), ("{", "line 1: not JSON"), ('{"positive": "a", "negative": "b"}', "too few")],
)
def test_bad_pairs_are_a_message_that_can_be_dismissed(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)

    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        page.query_one("#pairs", Select).value = "a file"
        await pilot.pause()
        page.query_one("#path", Input).value = str(path)
        await pilot.press("enter")
        assert complaint in await message(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is page
        assert not page.query_one("#progress").display

    play(scenario, (80, 24))


class Dying(FakeEngine):
    """An engine whose process is gone."""

    def forward(self, rows: list[Row], layers: object = ()) -> list[Output]:  # type: ignore[override]
        from localprobe.errors import EngineCrashed

        raise EngineCrashed("the fake engine died in forward (SIGKILL); the model can be loaded again")


def test_an_engine_that_dies_is_a_message_and_the_screen_goes_on(shouting: Path, nothing_known: None) -> None:
    async def scenario(pilot: Pilot[None], page: ProbingScreen) -> None:
        assert page.session.model is not None
        page.session.model.engine = Dying()
        page.query_one("#pairs", Select).value = "a file"
        await pilot.pause()
        page.query_one("#path", Input).value = str(shouting)
        await pilot.press("enter")
        assert "died in forward" in await message(pilot)
        await pilot.press("escape")
        assert page.session.state == "dead"
        assert not page.query_one("#progress").display

    play(scenario)
