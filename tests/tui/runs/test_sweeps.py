"""Sweeps on the Runs screen: start one from the form, watch it, stop it, open what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select

from localprobe.engines.spec import ModelSpec
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.sweep import run as sweep
from localprobe.fake import FakeEngine
from localprobe.store.runs import Runs
from localprobe.vectors import files as vector_files
from localprobe_tui.runs.screen import RunsScreen
from localprobe_tui.runs.sweep_bar import SweepBar
from localprobe_tui.runs.sweep_form import SweepForm
from tests.tui.runs.runs_screen import listed, open_first, play
from tests.tui.waiting import message, screen, text_of, wait_until

pytestmark = pytest.mark.slow


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


async def start_a_long_one(pilot: Pilot[None], page: RunsScreen, experiment: Path) -> None:
    """Start an experiment of 200 answers on a model that takes its time."""
    experiment.write_text(experiment.read_text().replace("samples = 2", "samples = 40"))
    assert page.session.model is not None
    page.session.model.engine = Slow()
    await start(pilot, page, experiment)


def test_a_sweep_shows_how_far_it_is_and_stops_with_what_is_done(experiment: Path) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await start_a_long_one(pilot, page, experiment)
        stage = page.query_one("#sweeping")
        await wait_until(pilot, lambda: "generating" in text_of(stage) and "of about" in text_of(stage), "progress")
        assert "of 200 answers" in text_of(stage)
        last = page.query_one("#last")  # of a steered answer it says the dose; the unsteered ones come first
        await wait_until(pilot, lambda: text_of(last).startswith(("+", "-")), "a steered answer")
        await pilot.click("#stop")
        await wait_until(pilot, lambda: page.session.busy is None, "the end")
        await listed(pilot, page, 1)
        cells = Runs().all()[0].result["cells"]
        assert 0 < cells["done"] < cells["expected"] == 200
        await open_first(pilot, page)
        await wait_until(pilot, lambda: "answers would show, which are not" in screen(pilot).replace("\n", " "))

    play(scenario, loaded=True)


def test_one_sweep_at_a_time_and_the_next_form_is_filled_in_as_the_last(experiment: Path) -> None:
    async def scenario(pilot: Pilot[None], page: RunsScreen) -> None:
        await start_a_long_one(pilot, page, experiment)
        await wait_until(pilot, lambda: "generating" in screen(pilot) and "^x Stop" in screen(pilot))
        await pilot.press("n")
        await wait_until(pilot, lambda: any("is running" in notice.message for notice in pilot.app._notifications))
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
        page.localprobe.vectors.append(vector_files.load(vector_file))
        await pilot.press("n")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, SweepForm))
        form = pilot.app.screen
        await wait_until(pilot, lambda: "kindness, layer 2" in screen(pilot))
        assert form.query_one("#words", Select).value == "empathy"
        form.query_one("#doses", Input).value = "0.1 0.2"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "have no 0" in text_of(form.query_one("#wrong")))
        form.query_one("#doses", Input).value = "0 0.2-0.3"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "doses: '0.2-0.3' is not a number" in text_of(form.query_one("#wrong")))
        form.query_one("#doses", Input).value = "0, 0.2"
        form.query_one("#samples", Input).value = "0"
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "answers each: '0' is not a whole number" in text_of(form.query_one("#wrong")))
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
        await page.session.load(ModelSpec("fake", "fake"))
        with page.session.reserved("answering"):
            await pilot.press("n")
            assert "the model is busy answering" in await message(pilot)

    play(scenario)
