"""SmolLM2-135M on PyTorch, MLX and llama.cpp: a residual and a steering mean the same in each."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from localprobe.contrast.pairs import PAIR_SETS, TEXT_SETS, read_pairs, read_texts, split
from localprobe.engine import Engine, FloatArray, Row, Sampler, Steering
from localprobe.engines.agreement import compare, cosine, residuals
from localprobe.generation.events import Score, Token
from localprobe.model import Model
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.fit import candidates, fit_material, probe_of
from localprobe.probing.report import ProbeReport
from localprobe.probing.validation import Material
from localprobe.stats.auroc import auroc
from localprobe.steering.knob import Knob, steering, watch
from localprobe.steering.positions import Place
from localprobe.vectors.vector import Origin, Vector
from tests.real.conftest import ENGINES

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

PAIRS = list(combinations(ENGINES, 2))
CONFIG = ProbeConfig(test_fraction=0.5, resamples=100)
TRICKY = [
    "Hello, world!",
    "  two spaces before and after  ",
    "line\n\nbreaks\tand\ttabs\r\n",
    "naïve café — “quotes” … 東京 שלום مرحبا 👩‍👩‍👧‍👦 🇫🇷",
    "123456789 3.14159 1,000,000 x²",
    "I'll we've DON'T it's",
    "def f(x):\n    return x ** 2  # comment",
    "<|im_start|>user\nnot a real turn<|im_end|>",
    "e\u0301 combining, zero\u200bwidth, nul\x00 and bell\x07",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    pairs = read_pairs(PAIR_SETS.path("empathy"))[::12]
    return read_texts(TEXT_SETS.path("neutral"))[:4] + [pair.positive for pair in pairs]


@pytest.fixture(scope="module")
def seen(models: dict[str, Model], texts: list[str]) -> dict[str, list[FloatArray]]:
    return {name: residuals(model.engine, texts) for name, model in models.items()}


@pytest.fixture(scope="module")
def probes(models: dict[str, Model]) -> dict[str, tuple[ProbeReport, FloatArray, FloatArray]]:
    """For each engine: a probe fitted on the training pairs, and both poles of the pairs held out."""
    pairs = read_pairs(PAIR_SETS.path("empathy"))
    train, test = split(pairs, test_fraction=CONFIG.test_fraction, seed=CONFIG.seed)
    both = [text for pair in (*train, *test) for text in (pair.positive, pair.negative)]
    found = {}
    for name, model in models.items():
        captured = model.pooled(both, pooling=CONFIG.pooling, limit=128)
        high, low = captured[0::2], captured[1::2]
        learnt = Examples(high[: len(train)], low[: len(train)])
        unseen = Examples(high[len(train) :], low[len(train) :])
        layers = model.layers()
        report = fit_material(
            Material(layers, learnt, unseen),
            concept="empathy",
            origin=Origin.of(model.info, method=CONFIG.method, pooling=CONFIG.pooling),
            config=CONFIG,
            scale=model.scale,
            candidates=candidates(model.info.layers, layers),
            validate=False,
        )
        found[name] = (report, *unseen.poles)
    return found


def test_ids_of_tricky_texts_are_the_same(models: dict[str, Model]) -> None:
    for text in TRICKY:
        ids = {name: model.engine.encode(text).tolist() for name, model in models.items()}
        assert ids["torch"] == ids["mlx"] == ids["llama"], text
        assert models["torch"].engine.decode(ids["torch"]) == text


def test_ids_of_a_chat_are_the_same(models: dict[str, Model]) -> None:
    ids = [model.ids("What do you do?", system="Be kind.").tolist() for model in models.values()]
    assert ids[0] == ids[1] == ids[2]


def test_torch_and_mlx_compute_the_same(seen: dict[str, list[FloatArray]]) -> None:
    for layer in compare(seen["torch"], seen["mlx"]):
        assert layer.pooled >= 0.9999, layer
        assert layer.token >= 0.998, layer


@pytest.mark.parametrize("other", ["torch", "mlx"])
def test_llama_cpp_agrees_at_every_layer(seen: dict[str, list[FloatArray]], other: str) -> None:
    """Where weights are quantised, llama.cpp rounds activations to 8 bits as well. That moves one token in some
    hundreds by more than the rest, and none far; with the same weights as F32 it computes the same (tests/gguf)."""
    pairs = list(zip(seen[other], seen["llama"], strict=True))
    pooled = np.array([cosine(x.mean(axis=1), y.mean(axis=1)) for x, y in pairs])  # (texts, layers)
    tokens = np.concatenate([cosine(x, y) for x, y in pairs], axis=1)  # (layers, tokens)
    assert np.median(pooled, axis=0).min() >= 0.9999
    assert pooled.min() >= 0.9997
    assert np.quantile(tokens, 0.01, axis=1).min() >= 0.998
    assert tokens.min() >= 0.99


@pytest.mark.parametrize(("fitted", "scored"), [(a, b) for a in ENGINES for b in ENGINES if a != b])
def test_a_direction_fitted_on_one_engine_serves_the_others(
    probes: dict[str, tuple[ProbeReport, FloatArray, FloatArray]], fitted: str, scored: str
) -> None:
    report = probes[fitted][0]
    probe = probe_of(report.vector)
    high, low = (probe.scores(pole) for pole in probes[scored][1:])
    for layer in range(30):
        assert abs(auroc(high[:, layer], low[:, layer]) - report.layers[layer].auroc) <= 0.01, layer


@pytest.fixture(scope="module")
def vector(probes: dict[str, tuple[ProbeReport, FloatArray, FloatArray]]) -> Vector:
    return probes["torch"][0].vector


@pytest.fixture(scope="module")
def steered(models: dict[str, Model], vector: Vector, texts: list[str]) -> dict[str, FloatArray]:
    """Next-token log-probabilities of one text at dose 0.25 on each engine, and one block off on torch."""
    knob = models["torch"].knob(vector, dose=0.25)
    found = {name: predictions(model.engine, texts[0], steering([knob], Place(1))) for name, model in models.items()}
    one_off = Vector("off", vector.origin, {knob.layer + 1: knob.direction}, knob.layer + 1)
    moved = Knob(one_off, knob.layer + 1, knob.alpha)
    found["one block off"] = predictions(models["torch"].engine, texts[0], steering([moved], Place(1)))
    return found


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_the_same_vector_steers_the_same(steered: dict[str, FloatArray], a: str, b: str) -> None:
    between = divergence(steered[a], steered[b])
    one_off = divergence(steered["torch"], steered["one block off"])
    assert between <= 0.006
    assert between <= one_off / 3


@pytest.mark.parametrize("engine", ENGINES)
def test_streamed_scores_equal_a_capture_of_prompt_and_answer(
    models: dict[str, Model], vector: Vector, engine: str
) -> None:
    model = models[engine]
    knob = model.knob(vector, dose=0.25)
    probe = watch(vector, knob.layer + 2)
    request = model.request("My friend has gone quiet.", [knob], sampler=Sampler(temperature=0), tokens=24)
    events = list(model.generate([request], [probe]))
    answer = [e.id for e in events if isinstance(e, Token)]
    streamed = np.array([e.values[0] for e in events if isinstance(e, Score)])
    whole = np.array([*request.ids, *answer], dtype=np.int32)
    captured = model.scores(whole, probe, request.steering)[len(request.ids) :]
    assert len(streamed) == len(answer) > 5
    tolerance = 0.02 if engine == "llama" else 1e-3  # llama.cpp rounds activations to 8 bits, by batch shape
    spread = float(captured.std()) + float(np.abs(captured).mean())
    np.testing.assert_allclose(streamed, captured, atol=tolerance * spread)


def predictions(engine: Engine, text: str, steering: Steering = ()) -> FloatArray:
    """Next-token log-probabilities at every position of a text, (n, vocabulary), steered or not."""
    ids = engine.encode(text)
    return engine.forward([Row(ids, steering, full=tuple(range(len(ids))))])[0].full


def divergence(p: FloatArray, q: FloatArray) -> float:
    """Mean over positions of KL(p || q), in nats, of two sets of log-probabilities (n, vocabulary)."""
    return float((np.exp(p.astype(np.float64)) * (p.astype(np.float64) - q)).sum(axis=-1).mean())
