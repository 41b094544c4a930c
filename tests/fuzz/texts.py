"""Readers of JSON and TOML."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import documents
from tests.fuzz.mutations import mutated
from tests.fuzz.registry import Reader, encoded, file_reader, reader


def json_reader(read: Callable[[Path, bytes], object], sound: Sequence[Any]) -> Reader:
    """A reader of JSON documents."""
    texts = [json.dumps(document).encode() for document in sound]
    snippets = [text.encode() for text in documents.ODD if len(text) < 1000]
    return Reader(read, texts, documents.odd_json(sound) | mutated(texts, snippets=snippets))


@reader
def config() -> Reader:
    """A model's config.json, read by the core and by MLX's side."""
    from safetensors.numpy import save

    from localprobe.models import checkpoint
    from localprobe.models.inventory import _is_language_model
    from localprobe.models.shape import shape
    from localprobe.testing.tiny.configs import config
    from localprobe_mlx.checkpoint import Checkpoint

    weights = save({"w": np.ones(2, np.float32)})
    configs = [
        {"architectures": ["LlamaForCausalLM"], **config(name)} for name in ("llama", "gemma3_text", "phi3", "gpt2")
    ]
    configs[1] = {"model_type": "gemma3", "text_config": configs[1], "quantization": {"bits": 4, "group_size": 64}}

    def read(folder: Path, data: bytes) -> None:
        (folder / "config.json").write_bytes(data)
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "tokenizer.json").write_text("{}")
        shape(str(folder))
        _is_language_model(folder)
        checkpoint.check_folder(folder)
        read = Checkpoint(folder)
        _ = read.eos, read.context, read.window, read.quantisation, read.architecture
        read.layer_windows()

    return json_reader(read, configs)


@reader
def index() -> Reader:
    """The index of a folder in several files."""
    from safetensors.numpy import save

    from localprobe.models import checkpoint

    part = save({"a": np.ones(2, np.float32)})

    def read(folder: Path, data: bytes) -> None:
        (folder / "model.safetensors.index.json").write_bytes(data)
        for name, content in (
            ("config.json", b"{}"),
            ("tokenizer.json", b"{}"),
            ("model-1.safetensors", part),
            ("x", part),
        ):
            (folder / name).write_bytes(content)
        checkpoint.check_folder(folder)

    return json_reader(read, [{"metadata": {"total_size": 8}, "weight_map": {"a": "model-1.safetensors", "b": "x"}}])


@reader
def word_lists() -> Reader:
    """Word lists, keyword lists, and system prompts."""
    from localprobe.contrast.system_prompts import read_system_prompts
    from localprobe.errors import DataError
    from localprobe.probing.keywords import read_keywords
    from localprobe.text_metrics.word_lists import read_word_lists

    sound = [
        {"positive": ["help", "listen"], "negative": ["task"]},
        {"positive": "Be kind.", "negative": "Be curt.", "task": "Write."},
        {"care": "mind", "help": "assist"},
    ]

    def read(path: Path) -> None:
        errors = []
        for read in (read_word_lists, read_system_prompts, read_keywords):
            try:
                encoded(read(path))
            except DataError as error:
                errors.append(error)
        if len(errors) == 3:
            raise errors[0]

    return json_reader(file_reader("words.json", read), sound)


@reader
def scenarios() -> Reader:
    """Scenarios as a JSON list."""
    from localprobe.contrast.scenario_file import read_scenarios

    scenario = {
        "id": "a",
        "situation": "In a shop.",
        "question": "And?",
        "rubric": {"0": "no", "2": "yes"},
        "domain": "d",
    }
    sound = [[scenario, {**scenario, "id": "b", "title": "B"}]]
    return json_reader(file_reader("s.json", lambda path: encoded(read_scenarios(path))), sound)


@reader
def results() -> Reader:
    """Stored results of a probe and of a sweep."""
    from localprobe.experiments.result import SweepResult
    from localprobe.probing.result import ProbeResult
    from localprobe.store.json_values import from_json, to_json
    from localprobe.store.safe_json import parse

    def read(folder: Path, data: bytes) -> None:
        values = parse(data.decode(errors="replace"), "the result")
        kind: type[Any] = SweepResult if isinstance(values, dict) and "arms" in values else ProbeResult
        to_json(from_json(kind, values))

    interval = [0.5, 1.0]
    measures = ("auroc", "accuracy", "separation", "std_positive", "std_negative")
    layer = {"layer": 1} | dict.fromkeys(measures, 0.75) | {f"{name}_interval": interval for name in measures}
    probe = {
        "concept": "kindness",
        "config": {},
        "origin": {"model": "fake", "width": 4},
        "train_pairs": 4,
        "test_pairs": 2,
        "layer": 1,
        "layers": [layer],
        "scale": [1.0],
    }
    sweep = {
        **{"format": 1, "name": "a", "concept": "kindness", "positions": "all", "samples": 1, "tokens": 8, "seed": 0},
        **{
            "arms": ["vector"],
            "unit": "dose",
            "sampling": {},
            "cells": {"expected": 1, "done": 1, "measured": 0, "judged": 0},
            "models": [],
        },
    }
    return json_reader(read, [probe, sweep])


_EXPERIMENT = """
name = "mine"
concept = "empathy"
doses = [-0.3, 0, 0.3]
layers = [15, "best", 0.5]
scenarios = ["food_delivery"]
empathy_pressure = [true, false]
arms = ["vector", "system"]
samples = 5
tokens = 80
positions = "all"
seed = 0
measures = true
word_lists = "empathy"
system_prompts = "empathy"
sampling = { temperature = 0.7, top_p = 1.0, top_k = 4, min_p = 0.1 }
judge = { generator = "ollama:x", timeout = 30 }
[[models]]
name = "fake"
engine = "fake"
layers = [1, 2]
context = 512
threads = 2
gpu_layers = 0
dtype = "float32"
alphas = [0, 4]
[[vectors]]
fit = "empathy"
pooling = "mean"
test_fraction = 0.3
seed = 7
models = ["fake"]
[[prompts]]
id = "a"
text = "How are you?"
raw = true
"""


@reader
def experiment() -> Reader:
    """Experiments."""
    from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment

    def read(path: Path) -> None:
        experiment = read_experiment(path)
        encoded(experiment.run)

    sound = [_EXPERIMENT, EXPERIMENTS.path("laptop").read_text()]
    texts = [text.encode() for text in sound]
    snippets = [value.encode() for value in documents.TOML_VALUES if len(value) < 1000]
    return Reader(file_reader("e.toml", read), texts, documents.odd_toml(sound) | mutated(texts, snippets=snippets))


@reader
def settings() -> Reader:
    """The app's settings."""
    from localprobe.store.toml import read_toml
    from localprobe_tui.settings.config import Config

    sound = ['theme = "dark"\n[keys]\n"chat.stop" = "ctrl+x"\n']
    texts = [text.encode() for text in sound]
    return Reader(
        file_reader("config.toml", lambda path: read_toml(path, Config)),
        texts,
        documents.odd_toml(sound) | mutated(texts),
    )
