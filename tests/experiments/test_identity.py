"""What names a run and its cells: the content of an experiment, files and vectors by their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.contrast.pairs import PAIR_SETS
from localprobe.engine import Info
from localprobe.errors import UsageError, VectorError
from localprobe.experiments.experiment import Experiment, ModelChoice, VectorChoice, adapted, file_hash, sha256
from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment
from localprobe.experiments.fitted import recipe
from localprobe.experiments.grid import Grid, Steered
from localprobe.probing.config import ProbeConfig
from localprobe.vectors import files
from localprobe.vectors.calibrated_file import keep
from localprobe.vectors.vector import Direction, Origin, Vector
from tests.vectors.test_calibration import measured

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class TestNamesOf010:
    """As commit bebf75a, version 0.1.0, named them: a sweep that it began goes on. They change with the data that
    ships, and with nothing else."""

    @pytest.mark.parametrize(
        ("name", "run", "keys", "streams"),
        [
            ("laptop", "590e9112", ["94c5cffa87dc4681"], ["d22fc689d7deb673"]),
            (
                "paper",
                "8eaafde4",
                ["7d41161da64f2851", "57d6f982e47fa822", "11ca5c03ee4e8d04"],
                ["b67251007a1a69be", "4bbae1eba647a132", "8545614dadec269f"],
            ),
            ("reproduce", "f6acf456", ["b65fecbac7bc162b"], ["430cb74b337bda47"]),
        ],
    )
    def test_experiments_that_ship(self, name: str, run: str, keys: list[str], streams: list[str]) -> None:
        experiment = read_experiment(EXPERIMENTS.path(name))
        assert (experiment.run, hashes(experiment)) == (run, (keys, streams))

    def test_an_experiment_that_says_all_that_a_file_can_say(self, tmp_path: Path) -> None:
        experiment = read_experiment(every_key(tmp_path))
        keys, streams = hashes(experiment, CHATML)
        assert experiment.run == "a962988e"
        assert keys == ["37fedd556ab9d3f2", "05dcfb9de91d64a8"]
        assert streams == ["ac68aa58da70c650", "e6b7189288b4f07a"]

    @pytest.mark.parametrize(("test_fraction", "run"), [(0, "1e8c1d1e"), (0.3, "c118bbac")])
    def test_the_grid_of_reproduce_for_other_models(self, test_fraction: float, run: str) -> None:
        models = [ModelChoice("m", "torch", label="x"), ModelChoice("smollm2-135m")]
        probe = ProbeConfig(test_fraction=test_fraction, seed=3)
        grid = adapted(
            read_experiment(EXPERIMENTS.path("reproduce")), models, PAIR_SETS.path("empathy"), probe, concept="empathy"
        )
        assert grid.run == run


def test_a_template_that_puts_answers_elsewhere_names_what_is_fitted_on_answers(tmp_path: Path) -> None:
    """Such answers were read as thoughts by 0.1.0: a probe of them is another one."""
    thinks = CHATML.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n")
    info = Info("torch", "1", "m", "llama", 32, 8, 9, 512, "cpu", "float32", "w" * 64, chat_template=CHATML)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"positive": "a", "negative": "b"}\n')
    for pooling, names in (("answer", 3), ("mean", 1)):
        choice = VectorChoice("x", fit=pairs, probe=ProbeConfig(pooling=pooling))
        kinds = (info, replace(info, chat_template=thinks), replace(info, template_args=("a=1",)))
        assert len({sha256(recipe(choice, kind)) for kind in kinds}) == names


def hashes(experiment: Experiment, template: str = "{{ messages }}") -> tuple[list[str], list[str]]:
    """A hash of all keys, and one of all streams, for each model of an experiment."""
    info = Info("torch", "1", "m", "llama", 32, 8, 9, 512, "cpu", "float32", "w" * 64, chat_template=template)
    steers = Vector("empathy", Origin("m"), {b: Direction(np.eye(8, dtype=np.float32)[b % 8]) for b in range(32)}, 20)
    keys, streams = [], []
    for model in experiment.models:
        vectors = tuple(
            Steered(choice.name, sha256([choice.sha256]) if choice.file else sha256(recipe(choice, info)), steers)
            for choice in experiment.vectors
            if not choice.models or model.name in choice.models
        )
        cells = Grid(experiment, model, info, np.ones(32, np.float32), vectors).cells()
        keys.append(hashlib.sha256("".join(cell.key for cell in cells).encode()).hexdigest()[:16])
        streams.append(hashlib.sha256("".join(cell.stream for cell in cells).encode()).hexdigest()[:16])
    return keys, streams


def every_key(folder: Path) -> Path:
    """An experiment that says all that a file can say, with the files that it names."""
    (folder / "mine.json").write_text(
        '[{"id": "queue", "situation": "You stand in a queue.", "empathy_pressure":"She weeps.",'
        '"rubric":{"0":"a","1":"b"}}]'
    )
    (folder / "words.json").write_text('{"positive": ["help"], "negative": ["task"]}')
    (folder / "prompts.json").write_text('{"positive": "Be kind.", "negative": "Be quick."}')
    (folder / "v.bin").write_text("a vector")
    (folder / "pairs.jsonl").write_text('{"positive": "a b", "negative": "c d"}\n')
    path = folder / "every.toml"
    path.write_text(
        """
        name = "every"
        concept = "empathy"
        doses = [-1, -0.0, 0.5]
        layers = [1, 1.0, 0, "best", 0.5]
        scenarios = ["the_listener", "mine.json"]
        empathy_pressure = [false, true]
        arms = ["both", "system", "random", "vector"]
        word_lists = "words.json"
        system_prompts = "prompts.json"
        samples = 2
        tokens = 9
        positions = "response"
        seed = 7
        measures = false
        [sampling]
        temperature = 1
        top_k = 5
        top_p = 0.9
        min_p = 0.01
        [judge]
        generator = "ollama:x"
        timeout = 20
        [[models]]
        name = "m"
        engine = "torch"
        label = "safety-trained"
        dtype = "float16"
        device = "cuda"
        quantise = "4bit"
        context = 100
        threads = 2
        gpu_layers = 0
        trust_remote_code = true
        low_memory = true
        layers = "best"
        alphas = [0, 3]
        [[models]]
        name = "other"
        [[vectors]]
        file = "v.bin"
        models = ["m"]
        [[vectors]]
        fit = "pairs.jsonl"
        name = "p"
        method = "lda"
        pooling = "answer"
        test_fraction = 0
        seed = 4
        [[prompts]]
        id = "hello"
        text = "Hello"
        raw = true
        [[prompts]]
        id = "bye"
        title = "Bye"
        text = "Good bye"
        """
    )
    return path


class TestVectors:
    def test_one_from_a_file_is_named_by_its_bytes(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        one, other = tmp_path / "a" / "kind.safetensors", tmp_path / "b" / "kind.safetensors"
        files.save(vector(1.0), one)
        files.save(vector(2.0), other)
        assert VectorChoice("kind", file=one).sha256 != VectorChoice("kind", file=other).sha256
        files.save(vector(1.0), other)
        assert VectorChoice("kind", file=one).content() == VectorChoice("kind", file=other).content()

    def test_one_in_memory_is_named_by_its_tensors_and_layers(self) -> None:
        names = {
            VectorChoice("kind", vector=each).sha256
            for each in (vector(1.0), vector(2.0), vector(1.0, layers=(2,)), vector(1.0, best=3))
        }
        assert len(names) == 4
        assert VectorChoice("kind", vector=vector(1.0)).sha256 in names

    def test_two_experiments_over_files_of_one_name_are_two_runs(self, experiment: Experiment, tmp_path: Path) -> None:
        runs = set()
        for value in (1.0, 2.0):
            files.save(vector(value), tmp_path / "kind.safetensors")
            choice = VectorChoice("kind", file=tmp_path / "kind.safetensors")
            runs.add(replace(experiment, vectors=(choice,)).run)
        assert len(runs) == 2

    def test_a_file_that_changes_under_a_sweep_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "kind.safetensors"
        files.save(vector(1.0), path)
        choice = VectorChoice("kind", file=path)
        assert choice.load().best == 2
        files.save(vector(2.0), path)
        with pytest.raises(VectorError, match="has changed since the sweep began"):
            choice.load()

    def test_a_calibration_changes_no_name(self, experiment: Experiment, tmp_path: Path) -> None:
        path = tmp_path / "kind.safetensors"
        files.save(vector(1.0), path)
        before = VectorChoice("kind", file=path)
        keep(path, {2: (measured(),)})
        after = VectorChoice("kind", file=path)
        assert before.sha256 == after.sha256 != file_hash(path)
        assert before.load().directions[2].calibrations == (measured(),)
        assert replace(experiment, vectors=(before,)).run == replace(experiment, vectors=(after,)).run

    def test_it_has_one_source(self, tmp_path: Path) -> None:
        none: dict[str, Any] = {}
        for sources in (none, {"vector": vector(1.0), "fit": tmp_path / "pairs.jsonl"}):
            with pytest.raises(UsageError, match="vector kind: give one of `file`, `fit` and `vector`"):
                VectorChoice("kind", **sources)

    def test_a_model_in_memory_is_named_by_its_weights(self, experiment: Experiment) -> None:
        runs = {
            replace(experiment, models=(ModelChoice("fake", "fake", weights=weights),)).run
            for weights in ("", "a", "b")
        }
        assert len(runs) == 3


def vector(value: float, layers: tuple[int, ...] = (2, 3), best: int = 2) -> Vector:
    directions = {layer: Direction(np.full(32, value, np.float32)) for layer in layers}
    return Vector("kindness", Origin("fake"), directions, best)
