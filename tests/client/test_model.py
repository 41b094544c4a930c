"""A model over HTTP answers as the same model in this process does."""

from __future__ import annotations

import numpy as np
import pytest

import localprobe as lp
from localprobe.client.model import RemoteModel
from localprobe.engine import Sampler
from localprobe.generation.answer import Answer, collect
from localprobe.generation.events import Finished, Score, Token
from localprobe.model import Model
from localprobe.serve.settings import Settings
from localprobe.vectors.vector import Vector
from tests.serve.server import Server, serving

PROMPT = "My friend sounds sad. What do I do?"


def check_equal(over_http: Answer, here: Answer) -> None:
    """Token for token the same, and the same numbers within what float32 and batches leave."""
    assert over_http.ids.tolist() == here.ids.tolist()
    assert over_http.pieces == here.pieces
    assert over_http.reason == here.reason
    np.testing.assert_allclose(over_http.logprobs, here.logprobs, atol=1e-5)
    np.testing.assert_allclose(over_http.projections, here.projections, rtol=1e-5, atol=1e-5)
    assert [(g.index, g.gate, g.open) for g in over_http.gates] == [(g.index, g.gate, g.open) for g in here.gates]
    assert [(a.index, a.probe) for a in over_http.alerts] == [(a.index, a.probe) for a in here.alerts]
    assert (over_http.midpoint, over_http.reach) == pytest.approx((here.midpoint, here.reach))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.0, "tokens": 5},
        {"seed": 3, "system": "Be brief."},
        {"raw": True, "steer": "0.4 warm"},
        {"steer": "warm", "dose": 0.4},
        {"steer": "brief", "alpha": 2.0, "layer": 1, "positions": "response"},
        {"steer": "ablate warm; 0.3 brief @2 response"},
        {"steer": "0.5 warm when brief > 0", "alarms": ["warm@2 > 0.1", "brief < 0"]},
        {"sampler": Sampler(temperature=1.0, top_k=20, top_p=0.9), "seed": 11},
    ],
    ids=str,
)
def test_an_answer_is_the_one_that_the_model_gives_here(remote: RemoteModel, local: Model, options: dict) -> None:  # type: ignore[type-arg]
    check_equal(remote.answer(PROMPT, **{"tokens": 24, **options}), local.answer(PROMPT, **{"tokens": 24, **options}))


def test_many_prompts_are_answered_in_their_order_and_a_repeated_one_differently(
    remote: RemoteModel, local: Model
) -> None:
    prompts = ["Hello", "And you?", "Hello", "Hello"]
    answers = remote.answers(prompts, tokens=12, steer="0.2 warm")
    for over_http, here in zip(answers, local.answers(prompts, tokens=12, steer="0.2 warm"), strict=True):
        check_equal(over_http, here)
    assert len({answer.text for answer in answers}) == 4


def test_a_knob_steers_with_its_exact_numbers(remote: RemoteModel, local: Model) -> None:
    knob = remote.knob(remote.vector("warm"), layer=2, dose=1 / 3, positions="response")
    check_equal(remote.answer(PROMPT, steer=knob, tokens=12), local.answer(PROMPT, steer=knob, tokens=12))


def test_a_vector_may_score_what_it_does_not_steer(remote: RemoteModel, local: Model, library: Vector) -> None:
    check_equal(
        remote.answer(PROMPT, watch=remote.vector("warm"), tokens=12), local.answer(PROMPT, watch=library, tokens=12)
    )


def test_the_events_of_a_stream_are_those_of_the_answer(remote: RemoteModel) -> None:
    events = list(remote.stream(PROMPT, steer="0.2 warm", tokens=12))
    assert [event.index for event in events if isinstance(event, Token)] == list(range(12))
    assert [event.index for event in events if isinstance(event, Score)] == list(range(12))
    assert isinstance(events[-1], Finished)
    check_equal(
        collect(events, 1)[0],
        collect(remote.stream(PROMPT, steer="0.2 warm", tokens=12), 1)[0],
    )


def test_it_says_what_it_is(remote: RemoteModel, local: Model, server: Server) -> None:
    assert remote.served
    same = ("model", "engine", "layers", "width", "vocabulary", "context", "weights", "dtype", "architecture")
    for name in same:
        assert getattr(remote.info, name) == getattr(local.info, name)
    assert remote.info.capabilities.operators == local.info.capabilities.operators
    np.testing.assert_allclose(remote.scale, local.scale)
    assert remote.models() == ["fake"]
    assert repr(remote).startswith(f"<RemoteModel fake at {server.url.removeprefix('http://')}: 6 layers of width")


def test_what_needs_the_engine_is_refused_in_words(remote: RemoteModel) -> None:
    with pytest.raises(lp.UsageError, match=r"fake runs on the server 127\.0\.0\.1:\d+, .* a model of this machine"):
        lp.fit(remote, "empathy", record=False)
    with pytest.raises(lp.UsageError, match="a model of this machine"):
        remote.lens("Hello")


def test_the_servers_default_is_what_can_be_asked_for(library: Vector) -> None:

    with serving(Settings(steering="0.5 warm")) as server, lp.connect(server.url) as model:
        assert model.default == "0.5 warm"
        assert model.answer(PROMPT, tokens=12).text != model.answer(PROMPT, tokens=12, steer=model.default).text
