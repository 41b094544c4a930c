"""The Runs screen: find a run, open it, compare two, delete, report."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.fit import fit
from localprobe.probing.result import ProbeResult
from localprobe.store.json_values import from_json, to_json
from localprobe.store.runs import Runs
from localprobe_tui.runs.compare import CompareScreen, rows
from localprobe_tui.runs.detail import Detail
from localprobe_tui.runs.screen import RunsScreen
from localprobe_tui.widgets.dialogs import Notice
from tests.tui.hosting import Host
from tests.tui.runs.runs_screen import listed, open_first, play
from tests.tui.waiting import message, screen, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results() -> dict[str, ProbeResult]:
    """Probes of capitals by two methods, on the fake model."""
    pairs = [
        type(pair)(pair.positive[:60].upper(), pair.negative[:60].lower(), pair.scenario)
        for pair in read_pairs(PAIR_SETS.path("empathy"))[::4]
    ]
    model = Model(FakeEngine())
    configs = [
        ProbeConfig(method, resamples=100, permutations=30, random_directions=20)
        for method in ("mean-difference", "pca")
    ]
    return {config.method: fit(model, pairs, config, concept="shouting").result for config in configs}


@pytest.fixture
def runs(results: dict[str, ProbeResult]) -> Runs:
    """Two validations and nothing else, in the app's own store."""
    store = Runs()
    for method, result in results.items():
        store.add("validate", f"shouting by {method}", to_json(result))
    return store


def test_an_empty_store_says_what_will_be_here() -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await wait_until(pilot, lambda: "No runs yet" in screen(pilot))
        for key in ("enter", "space", "c", "o", "x", "left"):
            await pilot.press(key)
        assert pilot.app.screen is page

    play(scenario)


def test_the_list_is_filtered_by_words(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        chosen = from_json(ProbeResult, runs.all()[0].result).chosen
        await wait_until(pilot, lambda: f"{chosen.auroc:.2f} @{chosen.layer}" in screen(pilot))
        await pilot.press("slash", *"pca")
        await listed(pilot, page, 1)
        await wait_until(pilot, lambda: "shouting by pca" in screen(pilot))
        await pilot.press(*" none")
        await wait_until(pilot, lambda: "No run matches." in screen(pilot))

    play(scenario)


def test_a_validation_opens_with_verdict_figures_and_tables(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await open_first(pilot, page)
        result = page.query_one(Detail).opened.probe  # type: ignore[union-attr]
        assert result is not None
        await wait_until(pilot, lambda: "It does not show" in screen(pilot))
        await pilot.press("f")
        await wait_until(pilot, lambda: f"AUROC · layer {result.layer}" in screen(pilot))
        await pilot.press("home", *["left"] * 6)
        await wait_until(pilot, lambda: "Scores at layer 0: AUROC" in screen(pilot))
        await pilot.press("t")
        await wait_until(pilot, lambda: "All layers" in screen(pilot))
        await wait_until(pilot, lambda: "separation" in screen(pilot))

    play(scenario)


def test_on_a_small_terminal_the_list_and_the_run_take_turns(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await wait_until(pilot, lambda: "shouting by pca" in screen(pilot))
        await open_first(pilot, page)
        await wait_until(pilot, lambda: "It does not show" in screen(pilot))
        assert "shouting by mean-difference" not in screen(pilot)
        await pilot.press("f")
        await wait_until(pilot, lambda: "threshold" in screen(pilot))
        await pilot.press("escape")
        await wait_until(pilot, lambda: "shouting by mean-difference" in screen(pilot))

    play(scenario, (80, 24))


def test_two_validations_are_compared_side_by_side(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await pilot.press("c")
        assert pilot.app.screen is page
        await pilot.press("space", "down", "space")
        await wait_until(pilot, lambda: screen(pilot).count("*") == 2)
        await pilot.press("c")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        await wait_until(pilot, lambda: "bag of words" in screen(pilot))
        seen = screen(pilot)
        assert "shouting by mean-difference" in seen
        assert "shouting by pca" in seen
        await pilot.press("escape")
        assert pilot.app.screen is page

    play(scenario)


def test_a_comparison_sets_the_figures_against_each_other(results: dict[str, ProbeResult]) -> None:
    table = {name: (one, other) for name, one, other in rows(results["mean-difference"], results["pca"])}
    assert table["method"] == ("mean-difference", "pca")
    assert table["model"] == ("fake on fake", "fake on fake")
    chosen = results["pca"].chosen
    assert table["AUROC there"][1].startswith(f"{chosen.auroc:.2f} [{chosen.auroc_interval[0]:.2f}, ")


def test_a_run_is_deleted_only_after_a_yes(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await pilot.press("x")
        assert "This cannot be undone" in await message(pilot)
        await pilot.press("enter")
        assert pilot.app.screen is page
        assert len(runs.all()) == 2
        await pilot.press("x")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Notice))
        await pilot.press("tab", "enter")
        await listed(pilot, page, 1)
        assert [run.name for run in runs.all()] == ["shouting by mean-difference"]

    play(scenario)


def test_the_report_is_written_and_opened(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    urls: list[str] = []
    monkeypatch.setattr(Host, "open_url", lambda app, url, **how: urls.append(url))

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await pilot.press("o")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Notice), "the report")
        path = Path(urls[0].removeprefix("file://"))
        assert path.name == f"{runs.all()[0].id}.html"
        assert "<html" in path.read_text().lower()

    play(scenario)


def test_a_run_that_cannot_be_understood_is_a_message() -> None:
    Runs().add("validate", "of another version", {"verdict": {}})

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 1)
        await pilot.press("enter")
        assert "cannot show run" in await message(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is page

    play(scenario)


def test_a_torn_store_is_a_message(own_data: Path) -> None:
    own_data.mkdir(exist_ok=True)
    (own_data / "runs.sqlite").write_text("this is no database, and long enough to be taken for one" * 20)

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        assert "runs.sqlite" in await message(pilot)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "No runs yet" in screen(pilot))
        await pilot.pause(0.2)
        assert pilot.app.screen is page

    play(scenario)
