"""Sweeps of ablations and steering expressions on the fake model: what is done, how it is named, and what it gives."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe import report
from localprobe.engine import Capabilities
from localprobe.errors import DataError, UsageError
from localprobe.experiments import sweep
from localprobe.experiments.cells import Cells
from localprobe.experiments.experiment import Experiment, shares
from localprobe.experiments.experiment_file import read_experiment
from localprobe.experiments.export import as_csv, lines
from localprobe.experiments.expressions import Resolved, canonical, check_operators, names
from localprobe.experiments.grid import Cell, Grid, Steered, count, shard
from localprobe.experiments.merge import merge
from localprobe.experiments.result import SweepResult
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering import resolve
from localprobe.steering.knob import Knob
from localprobe.store.json_values import from_json
from localprobe.store.runs import Runs
from localprobe.vectors import files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.experiments.conftest import Write, loaded

ARMS = 'arms = ["vector", "ablate", "random-ablate"]'
EXPRESSIONS = 'steering = ["ablate  kindness to mean", "0.2 kindness when kindness < 0 until 1"]'
CANONICAL = ("ablate kindness to mean", "0.2 kindness when kindness < 0 until 1")
SCALE = np.arange(1, 7, dtype=np.float32)


def vector(seed: int = 0) -> Vector:
    drawn = np.random.default_rng(seed).standard_normal((6, 32)).astype(np.float32)
    return Vector("kindness", Origin("fake"), {layer: Direction(row) for layer, row in enumerate(drawn)}, 4)


def grid(experiment: Experiment, expressions: Sequence[Resolved] = (), identity: str = "abc") -> Grid:
    steered = Steered("kindness", identity, vector())
    return Grid(experiment, experiment.models[0], FakeEngine().info, SCALE, (steered,), tuple(expressions))


def resolved(text: str, identity: str = "abc") -> Resolved:
    knob = Knob(vector(), 4, 1.0, operator="ablate")
    return Resolved(text, {"kindness": identity}, (knob,), "kindness", 4, "ablate")


@pytest.fixture
def ablating(write: Write) -> Experiment:
    return read_experiment(write(ARMS, "shares = [1, 0, 0.5]"))


@pytest.fixture
def everything(write: Write) -> Experiment:
    """Additions, ablations and expressions, with word lists in which the fake model speaks."""
    return read_experiment(write(ARMS, EXPRESSIONS, "shares = [0.5, 1.0]", "layers = [3]"))


class TestCells:
    def test_an_ablation_has_a_share_and_no_dose(self, ablating: Experiment) -> None:
        cells = [cell for cell in grid(ablating).cells() if cell.arm == "ablate"]
        assert {(cell.share, cell.dose, cell.alpha, cell.operator) for cell in cells} == {
            (0.5, None, None, "ablate"),
            (1.0, None, None, "ablate"),
        }
        assert {cell.treatment for cell in cells} == {"ablated, share 0.5", "ablated, share 1"}

    def test_an_addition_is_named_as_such_and_an_unsteered_answer_as_nothing(self, ablating: Experiment) -> None:
        operators = {(cell.arm, cell.operator, cell.share) for cell in grid(ablating).cells() if cell.dose is not None}
        assert operators == {("baseline", "", None), ("vector", "add", None)}

    def test_the_direction_of_one_layer_is_ablated_at_every_layer(self, ablating: Experiment) -> None:
        of = grid(ablating)
        cell = next(cell for cell in of.cells() if cell.arm == "ablate" and cell.layer == 2 and cell.share == 0.5)
        (knob,) = of.knobs(cell)
        assert (knob.operator, knob.alpha, knob.reach, knob.source) == ("ablate", 0.5, (0, 1, 2, 3, 4, 5), 2)
        assert knob.direction is of.vectors[0].vector.directions[2]

    def test_each_sample_has_a_random_direction_of_its_own(self, ablating: Experiment) -> None:
        of = grid(ablating)
        cells = [cell for cell in of.cells() if cell.arm == "random-ablate" and (cell.layer, cell.share) == (2, 1.0)]
        first, second = ({cell.sample: of.knobs(cell)[0].direction.vector for cell in cells}[i] for i in (0, 1))
        assert abs(first @ second) < 0.8 * np.linalg.norm(first) * np.linalg.norm(second)

    def test_nothing_else_changes_its_name(self, ablating: Experiment, write: Write) -> None:
        plain = read_experiment(write())
        with_ablations = {cell.key for cell in grid(ablating).cells()}
        assert {cell.key for cell in grid(plain).cells()} < with_ablations

    def test_every_coordinate_of_an_ablation_is_in_its_name(self, ablating: Experiment) -> None:
        def keys(**change: object) -> set[str]:
            of = grid(replace(ablating, **change))  # type: ignore[arg-type]
            return {cell.key for cell in of.cells() if cell.share is not None}

        own = keys()
        assert len(own) == 2 * 2 * 2 * 2 * 2  # arms, layers, shares, prompts, samples
        for change in ({"positions": "response"}, {"shares": (0.25,)}, {"layers": (4,)}, {"seed": 1}):
            assert not own & keys(**change)
        assert own == keys(strengths=replace(ablating.strengths, values=(0.0,)))

    def test_an_expression_is_named_by_its_text_and_its_vectors(self, experiment: Experiment) -> None:
        experiment = replace(experiment, arms=(), steering=CANONICAL)

        def keys(*expressions: Resolved) -> set[str]:
            return {cell.key for cell in grid(experiment, expressions).cells() if cell.steering}

        own = keys(resolved("ablate kindness"))
        assert len(own) == 2 * 2  # prompts, samples
        assert own == keys(resolved("ablate kindness"))
        assert not own & keys(resolved("ablate 0.5 kindness"))
        assert not own & keys(resolved("ablate kindness", identity="other"))

    def test_they_are_counted_before_a_model_is_loaded(self, everything: Experiment) -> None:
        of = grid(everything, [resolved(text) for text in CANONICAL])
        assert count(everything) == [len(of.cells())] == [4 * (1 + 2 + 2 * 2 + 2)]

    def test_shards_share_them_out(self, everything: Experiment) -> None:
        cells = grid(everything, [resolved(text) for text in CANONICAL]).cells()
        parts = [shard(cells, (i, 3)) for i in (1, 2, 3)]
        assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)


class TestExperiments:
    def test_a_run_is_named_by_shares_and_expressions(self, write: Write) -> None:
        runs = {
            read_experiment(write(*more)).run
            for more in ((), (ARMS,), (ARMS, "shares = [0.5]"), (EXPRESSIONS,), ('steering = ["ablate kindness"]',))
        }
        assert len(runs) == 5

    def test_an_expression_is_kept_in_its_canonical_form(self, write: Write) -> None:
        assert read_experiment(write(EXPRESSIONS)).steering == CANONICAL

    def test_shares_default_to_all_of_the_direction(self, write: Write) -> None:
        assert read_experiment(write(ARMS)).shares == (1.0,)
        assert read_experiment(write()).shares == ()

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([0.5, 1.5], "`shares` holds 1.5: give shares from 0 to 1"),
            ([-1], "`shares` holds -1"),
            ([float("nan")], "`shares` holds nan"),
            ([0], "`shares` has no share above 0"),
        ],
    )
    def test_shares_out_of_range(self, values: list[float], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            shares(values, ["ablate"])

    @pytest.mark.parametrize(
        ("extra", "message"),
        [
            (["shares = [0.5]"], "shares: `shares` are of the arms ablate and random-ablate"),
            (['steering = ["0.2 kindness whn calm > 1"]'], "steering: .*column 14: .*did you mean 'when'"),
            (
                ['steering = ["ablate kindness", "ablate  kindness"]'],
                "steering: `steering` has 'ablate kindness' twice",
            ),
            (['steering = ["0.2 nobody"]'], "steering: .*column 5: no vector 'nobody': it is none of the experiment's"),
            (["arms = []"], "arms: empty: choose of vector"),
        ],
    )
    def test_mistakes_are_one_line(self, write: Write, extra: list[str], message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            read_experiment(write(*extra))
        assert "\n" not in str(caught.value)

    def test_expressions_alone_need_neither_doses_nor_arms(self, write: Write) -> None:
        path = write(EXPRESSIONS, without="doses = [-0.5, 0, 0.5]")
        assert read_experiment(path).arms == ()
        assert count(read_experiment(path)) == [4 * 3]

    def test_a_file_that_an_expression_names_counts_by_its_bytes(self, write: Write, tmp_path: Path) -> None:
        path = write('steering = ["ablate \\"./calm.safetensors\\""]')
        runs = set()
        for seed in (1, 2):
            files.save(vector(seed), tmp_path / "calm.safetensors")
            experiment = read_experiment(path)
            assert [choice.file for choice in experiment.others] == [tmp_path / "calm.safetensors"]
            runs.add(experiment.run)
        assert len(runs) == 2

    def test_a_vector_of_the_library_counts_by_its_bytes_and_the_experiments_own_come_first(self, write: Write) -> None:
        kept = Library().keep(vector(3), "calm")
        Library().keep(vector(4), "kindness")
        experiment = read_experiment(write('steering = ["ablate calm; 0.1 kindness"]'))
        assert [(choice.name, choice.file, choice.models) for choice in experiment.others] == [
            ("calm", kept, ("fake",))
        ]

    def test_a_vector_that_is_kept_for_another_model_is_refused(self, write: Write) -> None:
        Library().keep(replace(vector(3), origin=Origin("other")), "calm")
        with pytest.raises(
            DataError, match="column 8: the vector 'calm' is kept for other, not for fake: fit one for it"
        ):
            read_experiment(write('steering = ["ablate calm"]'))

    def test_an_engine_that_cannot_ablate_is_refused_by_name(self, ablating: Experiment) -> None:
        info = replace(FakeEngine().info, capabilities=Capabilities())
        with pytest.raises(UsageError, match="fake cannot ablate, only add: use another engine"):
            check_operators(ablating, info)

    def test_names_are_of_vectors_and_probes(self) -> None:
        assert names("ablate a, b; 0.1 c when d > 1") == {"a": 8, "b": 11, "c": 18, "d": 25}
        assert canonical("ablate a") == ("ablate a",)


@pytest.mark.slow
class TestSweeps:
    def test_a_sweep_does_what_its_cells_say(self, everything: Experiment, runs: Runs) -> None:
        run = sweep.run(everything, runs, load=loaded)
        assert run.result["cells"] == {"expected": 36, "done": 36, "measured": 36, "judged": 0}
        answers = Cells(runs, run.id).read()
        with Model(FakeEngine()) as model:
            named = {"kindness": from_library(run.about)}
            for answer in answers:
                cell = answer.cell
                if cell.arm == "steering":
                    knobs = model.steering(cell.steering, find=named.__getitem__)
                elif cell.arm == "ablate":
                    knobs = model.steering(f"ablate {cell.share:g} kindness @0-5 from 3", find=named.__getitem__)
                else:
                    continue
                prompt = next(prompt for prompt in everything.prompts if prompt.id == cell.scenario)
                request = model.request(prompt.text, knobs, raw=prompt.raw, key=cell.stream, tokens=12)
                (said,) = model.answers([request])
                assert said.text == answer.text

    def test_readings_and_kl_are_of_the_unsteered_model(self, everything: Experiment, runs: Runs) -> None:
        run = sweep.run(everything, runs, load=loaded)
        for answer in Cells(runs, run.id).read():
            assert answer.measures is not None
            read = {"kindness:2", "kindness:3"} if answer.cell.arm == "baseline" else {f"kindness:{answer.cell.layer}"}
            assert read <= answer.measures.readings.keys()
            if answer.cell.arm == "ablate" and answer.cell.share == 1 and len(answer.ids):
                assert answer.measures.kl > 0
                assert answer.scores["kindness:3"] == pytest.approx(0, abs=1e-4)  # nothing is left along it
                assert abs(answer.measures.readings["kindness:3"]) > 1e-3
            if "when" in answer.cell.steering:
                assert answer.measures.kl == 0  # closed at the first token

    def test_stopped_and_resumed_or_in_shards_it_is_the_same(
        self, everything: Experiment, runs: Runs, tmp_path: Path
    ) -> None:
        whole = sweep.run(everything, runs, load=loaded)
        stopped, parts = Runs(tmp_path / "stopped.sqlite"), [Runs(tmp_path / f"{i}.sqlite") for i in (1, 2)]
        half = sweep.run(
            everything, stopped, load=loaded, stop=lambda: len(Cells(stopped, whole.id).keys()) > 9, width=4
        )
        assert 9 < half.result["cells"]["done"] < 36
        resumed = sweep.run(everything, stopped, load=loaded)
        for i, part in enumerate(parts, 1):
            sweep.run(everything, part, load=loaded, part=(i, 2))
        joined = Runs(tmp_path / "joined.sqlite")
        list(merge([part.path for part in parts], joined))
        for other in (resumed, joined.get(whole.id)):
            models = [from_json(SweepResult, run.result).models[0] for run in (whole, other)]
            assert models[0].ablations == models[1].ablations
            assert models[0].expressed == models[1].expressed
            assert models[0].sceptic == models[1].sceptic

    def test_the_result_keeps_signs_and_shares_apart(self, everything: Experiment, runs: Runs) -> None:
        result = from_json(SweepResult, sweep.run(everything, runs, load=loaded).result)
        (model,) = result.models
        assert [series.arm for series in model.series] == ["vector"]
        assert [series.arm for series in model.ablations] == ["ablate", "random-ablate"]
        own = model.ablations[0]
        assert [point.share for point in own.curves[0].points] == [0.0, 0.5, 1.0]
        assert own.response.share == 1
        assert own.beyond_random is not None
        assert [each.expression for each in model.expressed] == [*CANONICAL]
        assert model.expressions[0].operator == "ablate"
        assert (result.shares, result.steering) == ((0.5, 1.0), CANONICAL)

    def test_exports_hold_every_column(self, everything: Experiment, runs: Runs) -> None:
        run = sweep.run(everything, runs, load=loaded)
        ablated = [record for record in lines(runs, run, "ablate") if record["arm"] == "ablate"]
        assert {(record["share"], record["dose"], record["alpha"]) for record in ablated} == {
            (0.5, None, None),
            (1.0, None, None),
        }
        rows = list(csv.DictReader(io.StringIO(as_csv(lines(runs, run, "steering")))))
        assert {row["steering"] for row in rows} == {"", *CANONICAL}
        assert {row["operator"] for row in rows} == {"", "ablate", "add"}

    def test_the_page_has_a_section_for_expressions_and_rows_for_ablations(
        self, everything: Experiment, runs: Runs
    ) -> None:
        page = report.page([sweep.run(everything, runs, load=loaded)])
        for words in (
            "What does ablating it do?",
            "its direction ablated",
            "random directions ablated",
            "Steering expressions in fake on fake",
            "0.2 kindness when kindness &lt; 0 until 1",
        ):
            assert words in page

    def test_what_a_prompt_lacks_is_told_before_anything_is_generated(self, write: Write, runs: Runs) -> None:
        experiment = read_experiment(write('steering = ["0.1 kindness on \\"now\\""]'))
        with pytest.raises(UsageError, match=r"prompt raw: .*now"):
            sweep.run(experiment, runs, load=loaded)
        assert not Cells(runs, experiment.run).keys()


@pytest.mark.slow
def test_a_vector_that_was_calibrated_anew_does_not_go_on_under_another_threshold(
    write: Write, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = read_experiment(write('steering = ["0.1 kindness when kindness > fpr 0.01"]'))
    bound = [1.0]
    monkeypatch.setattr(resolve._Resolver, "number", lambda *_, **__: bound[0])
    run = sweep.run(experiment, runs, load=loaded)
    assert run.result["models"][0]["expressions"][0]["thresholds"] == [1.0, 1.0]
    bound[0] = 1.001  # as another machine may measure it
    sweep.run(experiment, runs, load=loaded)
    bound[0] = 2.0
    with pytest.raises(UsageError, match=r"thresholds of .* have changed since the sweep began, from .* to 2, 2"):
        sweep.run(experiment, runs, load=loaded)


def from_library(about: object) -> Vector:
    """The vector that the sweep fitted."""
    (entry,) = Library().entries()
    return entry.vector


def test_cells_without_coordinates_of_today_read_as_before() -> None:
    cell = Cell("k", "s", "m", "e", "", "vector", "p", True, "", "v", 3, 0.3, 3.0, 0)
    assert (cell.operator, cell.share, cell.steering, cell.treatment) == ("", None, "", "+0.30")
