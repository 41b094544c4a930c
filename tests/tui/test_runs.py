"""The Runs screen: find a run, open it, compare two, delete, report; start a sweep, watch it, stop it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from localprobe import vectors
from localprobe.contrast.pairs import read_pairs, shipped
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.probing.study import Choices, study
from localprobe.probing.validation import Effort
from localprobe.runs import Runs, measured_on
from localprobe.steering.experiment_file import read_experiment
from localprobe.steering.sweep import run as sweep
from localprobe_tui.dialogs import Notice
from localprobe_tui.runs import RunsScreen
from localprobe_tui.runs_compare import CompareScreen, rows
from localprobe_tui.runs_detail import Detail
from localprobe_tui.runs_list import RunList
from localprobe_tui.runs_sweep import SweepBar
from localprobe_tui.runs_sweep_form import SweepForm
from tests.tui.hosting import Host
from tests.tui.waiting import message, screen, text_of, wait_until

pytestmark = pytest.mark.slow

Scenario = Callable[[Pilot[None], RunsScreen], Awaitable[None]]


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    """A study of capitals by two methods, on the fake model."""
    pairs = [
        type(pair)(pair.positive[:60].upper(), pair.negative[:60].lower(), pair.scenario)
        for pair in read_pairs(shipped("empathy"))[::4]
    ]
    model, effort = Model(FakeEngine()), Effort(100, 30, 20)
    found = {}
    for method in ("mean-difference", "pca"):
        done = study(model, pairs, Choices("shouting", method, effort=effort))
        found[method] = {"measured_on": measured_on(model.info), **done.as_json()}
    return found


@pytest.fixture
def runs(results: dict[str, dict[str, Any]]) -> Runs:
    """Two validations and nothing else, in the app's own store."""
    store = Runs()
    for method, result in results.items():
        store.add("validate", f"shouting by {method}", result)
    return store


@pytest.fixture
def experiment(tmp_path: Path, vector_file: Path) -> Path:
    """A small grid for the fake model, whose context is too short for the scenarios."""
    path = tmp_path / "grid.toml"
    path.write_text(
        f"""
        name = "grid"
        doses = [-0.3, 0, 0.3]
        layers = [2, 3]
        samples = 2
        tokens = 12
        [[models]]
        name = "fake"
        [[vectors]]
        file = {json.dumps(str(vector_file))}
        [[prompts]]
        id = "bus"
        text = "A man at the bus stop is cold."
        """
    )
    return path


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
        auroc = runs.all()[0].result["nested"]
        await wait_until(pilot, lambda: f"{auroc['auroc']:.2f} @{auroc['layer']}" in screen(pilot))
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
        result = page.query_one(Detail).opened.run.result  # type: ignore[union-attr]
        await wait_until(pilot, lambda: "It does not show" in screen(pilot))
        await pilot.press("f")
        await wait_until(pilot, lambda: f"AUROC · layer {result['nested']['layer']}" in screen(pilot))
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


def test_a_comparison_sets_the_figures_against_each_other(results: dict[str, dict[str, Any]]) -> None:
    table = {name: (one, other) for name, one, other in rows(results["mean-difference"], results["pca"])}
    assert table["method"] == ("mean-difference", "pca")
    assert table["model"] == ("fake on fake", "fake on fake")
    nested = results["pca"]["nested"]
    assert table["AUROC there"][1].startswith(f"{nested['auroc']:.2f} [{nested['interval'][0]:.2f}, ")


def test_a_run_is_deleted_only_after_a_yes(runs: Runs) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 2)
        await pilot.press("x")
        assert "It cannot be brought back" in await message(pilot)
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


def test_a_sweep_opens_with_its_dose_response_and_texts_by_dose(experiment: Path) -> None:
    sweep(read_experiment(experiment), Runs())

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await listed(pilot, page, 1)
        await wait_until(pilot, lambda: "10/10" in screen(pilot))
        await open_first(pilot, page)
        await pilot.press("f")
        await wait_until(pilot, lambda: "kindness in fake, layer 2" in screen(pilot))
        await wait_until(pilot, lambda: "answers in empathy language" in screen(pilot))
        await pilot.press("right")
        await wait_until(pilot, lambda: "kindness in fake, layer 3" in screen(pilot))
        row = next(y for y, line in enumerate(screen(pilot).split("\n")) if "layer 3 (←" in line)
        await pilot.click(offset=(screen(pilot).split("\n")[row].index("←"), row))
        await wait_until(pilot, lambda: "kindness in fake, layer 2 (← →)" in screen(pilot))
        await pilot.press("s")
        await wait_until(pilot, lambda: "dose -0.30 (alpha" in screen(pilot))
        await wait_until(pilot, lambda: "unsteered" in screen(pilot))

    play(scenario)


async def start(pilot: Pilot[None], page: RunsScreen, experiment: Path) -> None:
    """Fill in the form with an experiment file, and start."""
    await pilot.press("n")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
    pilot.app.screen.query_one("#vector", Select).value = "an experiment file"
    await pilot.pause()
    pilot.app.screen.query_one("#path", Input).value = str(experiment)
    await pilot.click("#start")


def test_a_sweep_runs_while_the_model_is_reserved_and_its_run_is_listed(experiment: Path) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        reasons: list[str | None] = []
        page.session.subscribe(lambda: reasons.append(page.session.busy))
        await start(pilot, page, experiment)
        await wait_until(pilot, lambda: len(reasons) == 2, "the end")
        assert reasons == ["sweeping grid (F3 shows it)", None]
        await listed(pilot, page, 1)
        await wait_until(pilot, lambda: "10/10" in screen(pilot))
        assert not page.query_one(SweepBar).display

    play(scenario, loaded=True)


class Slow(FakeEngine):
    """Takes its time for every token."""

    def __init__(self) -> None:
        super().__init__(delay=0.05)


def test_a_sweep_shows_how_far_it_is_and_stops_with_what_is_done(experiment: Path) -> None:
    experiment.write_text(experiment.read_text().replace("samples = 2", "samples = 40"))

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        assert page.session.model is not None
        page.session.model.engine = Slow()
        await start(pilot, page, experiment)
        stage = page.query_one("#sweeping")
        await wait_until(pilot, lambda: "generating" in text_of(stage) and "of about" in text_of(stage), "progress")
        assert "of 200 answers" in text_of(stage)
        assert text_of(page.query_one("#last"))
        await pilot.click("#stop")
        await wait_until(pilot, lambda: page.session.busy is None, "the end")
        await listed(pilot, page, 1)
        cells = Runs().all()[0].result["cells"]
        assert 0 < cells["done"] < cells["expected"] == 200
        await open_first(pilot, page)
        await wait_until(pilot, lambda: "would show that are still to be" in screen(pilot).replace("\n", " "))

    play(scenario, loaded=True)


def test_one_sweep_at_a_time_and_the_next_form_is_filled_in_as_the_last(experiment: Path) -> None:
    experiment.write_text(experiment.read_text().replace("samples = 2", "samples = 40"))

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        assert page.session.model is not None
        page.session.model.engine = Slow()
        await start(pilot, page, experiment)
        await wait_until(pilot, lambda: "generating" in screen(pilot) and "^x Stop" in screen(pilot))
        await pilot.press("n")
        await wait_until(pilot, lambda: any("is under way" in each.message for each in pilot.app._notifications))
        assert page.session.busy == "sweeping grid (F3 shows it)"
        await pilot.press("ctrl+x")
        await wait_until(pilot, lambda: page.session.busy is None, "the end")
        await wait_until(pilot, lambda: "^x Stop" not in screen(pilot))
        await pilot.press("n")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        await wait_until(pilot, lambda: "an experiment file" in screen(pilot))
        await wait_until(pilot, lambda: pilot.app.screen.query_one("#path", Input).value == str(experiment))

    play(scenario, loaded=True)


def test_the_form_sweeps_a_vector_of_the_chat_and_says_what_is_wrong(vector_file: Path, own_data: Path) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        page.localprobe.vectors.append(vectors.load(vector_file))
        await pilot.press("n")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        form = pilot.app.screen
        await wait_until(pilot, lambda: "kindness, layer 2" in screen(pilot))
        assert form.query_one("#words", Select).value == "empathy"
        form.query_one("#doses", Input).value = "0.1 0.2"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "there is no 0" in text_of(form.query_one("#wrong")))
        form.query_one("#doses", Input).value = "0 0.2-0.3"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "doses: '0.2-0.3' is no number" in text_of(form.query_one("#wrong")))
        form.query_one("#doses", Input).value = "0, 0.2"
        form.query_one("#samples", Input).value = "0"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "answers each: '0' is no whole number" in text_of(form.query_one("#wrong")))
        form.query_one("#samples", Input).value = "1"
        await pilot.press("ctrl+s")
        # The scenarios are too long for the fake model's context: that too is a message.
        assert "shorten it" in await message(pilot)
        await pilot.press("escape")
        written = read_experiment(own_data / "experiments" / "kindness-fake.toml")
        assert (written.samples, written.strengths.values) == (1, (0.0, 0.2))
        assert page.session.busy is None

    play(scenario, (80, 24), loaded=True)


def test_an_experiment_for_another_model_is_refused_in_the_form(experiment: Path) -> None:
    experiment.write_text(experiment.read_text().replace('name = "fake"', 'name = "smollm2-135m"'))

    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await start(pilot, page, experiment)
        wrong = pilot.app.screen.query_one("#wrong")
        await wait_until(pilot, lambda: "grid is for smollm2-135m, and fake on fake is loaded" in text_of(wrong))
        await pilot.press("escape")
        assert pilot.app.screen is page

    play(scenario, loaded=True)


def test_a_sweep_needs_a_free_model() -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await pilot.press("n")
        assert "no model is loaded" in await message(pilot)
        await pilot.press("escape")
        await page.session.load("fake", "fake")
        with page.session.reserved("answering"):
            await pilot.press("n")
            assert "the model is busy answering" in await message(pilot)

    play(scenario)
