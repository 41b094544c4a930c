"""Terms under conditions, while answers are decoded on the fake engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Capabilities, FloatArray, IntArray, Row, Sampler, Term, Watch
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine
from localprobe.generation.conversation import Conversation
from localprobe.generation.decode import Decoding, Request, generate
from localprobe.generation.events import Alert, Event, GateChange, Score, Token
from localprobe.generation.place import PromptPlace
from localprobe.steering.gates import Alarm, Decided, PromptGate, ThinkingGate, TokenGate, gated
from localprobe.steering.positions import Place

WARM = Sampler(temperature=1.0)
LAYER = 2


def unit(seed: int) -> FloatArray:
    vector = np.random.default_rng(seed).standard_normal(32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


PROBE = Watch(3, unit(1))
PUSH = Term(LAYER, 2 * unit(2))


def request(engine: FakeEngine, *terms: Term, key: str = "a", tokens: int = 24) -> Request:
    return Request(engine.encode("Hello there"), terms, WARM, key, tokens)


def run(decoding: Decoding) -> list[Event]:
    events = []
    while not decoding.done:
        events += decoding.step()
    return events


def scores_of(events: Sequence[Event], row: int = 0) -> list[float]:
    return [float(event.values[0]) for event in events if isinstance(event, Score) and event.row == row]


def middle(engine: FakeEngine) -> float:
    """A threshold that half of the tokens of an unsteered answer pass."""
    return float(np.median(scores_of(list(generate(engine, [request(engine)], [PROBE])))))


def captured(engine: FakeEngine, decoding: Decoding, start: int) -> FloatArray:
    """Scores of the answer by one pass over the whole row, under the steering that it reports."""
    ids, steering = decoding.history(0)
    residuals = engine.forward([Row(np.array(ids, np.int32), steering)], [PROBE.layer])[0].residuals[0]
    return np.asarray(residuals[start:] @ PROBE.vector)


def test_a_gate_opens_and_closes_by_the_scores_one_token_late(engine: FakeEngine) -> None:
    gate = TokenGate("calm > x", PROBE, opens=(threshold := middle(engine)), closes=threshold)
    asked = request(engine, gated(PUSH, (gate,)))
    decoding = Decoding(engine, [asked], [PROBE])
    events = run(decoding)
    prompt = len(asked.ids)
    _, steering = decoding.history(0)
    steered = [any(term.covers(prompt + i) for term in steering) for i in range(len(scores_of(events)))]
    assert steered[0] is False  # closed when the answer begins
    expected, state = [], False
    for score, acts in zip(scores_of(events), steered, strict=True):
        expected.append(state)
        state = gate.next(state, score - (float(PUSH.delta @ PROBE.vector) if acts else 0.0))
    assert steered == expected
    assert {True, False} == set(steered)
    changes = [event for event in events if isinstance(event, GateChange)]
    edges = [i for i in range(1, len(steered)) if steered[i] != steered[i - 1]]
    assert [change.index for change in changes][: len(edges)] == edges
    assert [change.open for change in changes] == [i % 2 == 0 for i in range(len(changes))]
    np.testing.assert_allclose(scores_of(events), captured(engine, decoding, prompt), rtol=1e-4, atol=1e-5)


def test_a_gate_that_never_opens_is_bitwise_the_unsteered_answer(engine: FakeEngine) -> None:
    closed = TokenGate("calm > 1e9", PROBE, 1e9, 1e9)
    plain, steered = (
        list(generate(engine, [request(engine, *terms)], [PROBE])) for terms in ((), (gated(PUSH, (closed,)),))
    )
    assert [event for event in plain if isinstance(event, Token)] == [e for e in steered if isinstance(e, Token)]
    assert scores_of(plain) == scores_of(steered)


def test_hysteresis_holds_a_gate_between_its_thresholds() -> None:
    gate = TokenGate("calm > 2 until 1", PROBE, opens=2.0, closes=1.0)
    state = False
    states = [state := gate.next(state, score) for score in (1.5, 2.5, 1.5, 1.0, 0.9, 1.5)]
    assert states == [False, True, True, True, False, False]
    below = TokenGate("calm < 1 until 2", PROBE, opens=1.0, closes=2.0, above=False)
    assert [below.next(False, 0.5), below.next(True, 1.5), below.next(True, 2.5), below.next(False, 1.5)] == [
        True,
        True,
        False,
        False,
    ]


def test_rows_of_a_batch_have_gates_of_their_own(engine: FakeEngine) -> None:
    threshold = middle(engine)
    gates = [
        TokenGate("calm > x", PROBE, threshold, threshold),
        TokenGate("calm < x", PROBE, threshold, threshold, False),
    ]
    requests = [request(engine, gated(PUSH, (gate,))) for gate in gates] + [request(engine, PUSH), request(engine)]
    together = list(generate(engine, requests, [PROBE]))
    for row, each in enumerate(requests):
        alone = list(generate(engine, [each], [PROBE]))
        np.testing.assert_allclose(scores_of(together, row), scores_of(alone), rtol=1e-5)


def test_all_gates_of_a_term_must_be_open(engine: FakeEngine) -> None:
    threshold = middle(engine)
    first = TokenGate("calm > x", PROBE, threshold, threshold)
    never = Decided("if harmful > 1", open=False, score=0.5)
    decoding = Decoding(engine, [request(engine, gated(PUSH, (first, never)))], [PROBE])
    events = run(decoding)
    assert decoding.history(0)[1] == ()
    assert events[0] == GateChange(0, 0, "if harmful > 1", False, 0.5)


def test_a_gate_reads_what_nobody_asked_to_see(engine: FakeEngine) -> None:
    threshold = middle(engine)
    asked = request(engine, gated(PUSH, (TokenGate("calm > x", PROBE, threshold, threshold),)))
    watched = list(generate(engine, [asked], [PROBE]))
    alone = list(generate(engine, [asked]))
    other = list(generate(engine, [asked], [Watch(4, unit(3))]))
    assert not scores_of(alone)
    assert all(len(event.values) == 1 for event in other if isinstance(event, Score))
    for events in (alone, other):
        assert [e for e in events if isinstance(e, (Token, GateChange))] == [
            e for e in watched if isinstance(e, (Token, GateChange))
        ]


def test_an_alarm_tells_of_every_token_above_its_threshold(engine: FakeEngine) -> None:
    threshold = middle(engine)
    alarm = Alarm("calm > x", PROBE, threshold)
    events = list(generate(engine, [request(engine)], [PROBE], alarms=[alarm]))
    fired = [event.index for event in events if isinstance(event, Alert)]
    assert fired == [i for i, score in enumerate(scores_of(events)) if score > threshold]
    assert fired
    steered = list(generate(engine, [request(engine, Term(3, 100 * PROBE.vector))], [PROBE], alarms=[alarm]))
    alerts = [event for event in steered if isinstance(event, Alert)]
    assert len(alerts) < len(scores_of(steered))  # what the steering adds does not fire it


def test_a_condition_on_the_prompt_is_decided_by_the_message_alone(engine: FakeEngine) -> None:
    ids = engine.encode("<|user|>My friend is sad<|end|>", template=True)
    place = PromptPlace.of(engine, ids, message="My friend is sad")
    score, tokens = place.score(PROBE)
    own = engine.encode("My friend is sad")
    residuals = engine.forward([Row(own)], [PROBE.layer])[0].residuals[0, 1:]
    assert score == pytest.approx(float((residuals @ PROBE.vector).mean()), rel=1e-4)
    assert tokens == len(own) - 1
    for above in (True, False):
        decided = PromptGate("if", PROBE, lambda tokens: score - 0.1, above).decide(place)
        assert decided.open is above


def test_a_text_of_the_prompt_is_found_in_its_tokens(engine: FakeEngine) -> None:
    ids = engine.encode("the cat, the hat")
    place = PromptPlace.of(engine, ids)
    found = place.find("the")
    assert [engine.decode(ids[first:stop]) for first, stop in found] == ["the", "the"]
    later = PromptPlace.of(engine, ids, start=found[0][1])
    assert later.find("the") == found[1:]
    with pytest.raises(UsageError, match="the prompt does not contain 'dog'"):
        place.find("dog")


def test_terms_outside_thinking_rest_while_the_model_thinks(engine: FakeEngine) -> None:
    script = "A<think>so much</think>B"
    decoding = Decoding(engine, [request(engine, gated(replace(PUSH, start=3), (ThinkingGate(),)), tokens=len(script))])
    events: list[Event] = []
    for token in engine.encode(script).tolist()[1 if engine.info.bos is not None else 0 :]:
        _sample(decoding, token)
        events += decoding.step()
    changes = [(event.index, event.open) for event in events if isinstance(event, GateChange)]
    assert changes == [(script.index(">"), False), (script.index("B") - 1, True)]
    prompt = len(request(engine).ids)
    _, steering = decoding.history(0)
    covered = "".join(
        letter for i, letter in enumerate(script[:-1]) if any(term.covers(prompt + i) for term in steering)
    )
    assert covered == "A<think>"  # the letter after each mark is predicted from its last one


def test_a_thought_that_the_prompt_opens_ends_at_its_closing_mark(engine: FakeEngine) -> None:
    ids, thought = engine.encode("Q<think>\n"), "so</thinking>much</think>"
    term = gated(replace(PUSH, start=len(ids) - 1), (ThinkingGate(inside=True),))
    decoding = Decoding(engine, [Request(ids, (term,), WARM, "a", 40)])
    assert scripted(decoding, engine, thought + "B") == [(0, False), (len(thought) - 1, True)]


@pytest.mark.parametrize(("said", "open_"), [("<think>so", False), ("<think>so</think>B", True)])
def test_a_term_outside_thinking_that_is_added_in_mid_answer_knows_the_thought(
    engine: FakeEngine, said: str, open_: bool
) -> None:
    decoding = Decoding(engine, [request(engine, tokens=30)])
    scripted(decoding, engine, said)
    decoding.steer(0, (gated(replace(PUSH, start=3), (ThinkingGate(),)),))
    assert bool(decoding._rows[0].gates.steering()) is open_


def scripted(decoding: Decoding, engine: FakeEngine, script: str) -> list[tuple[int, bool]]:
    """Let the model write a text; the token and the state of each change of a gate."""
    events: list[Event] = []
    for token in engine.encode(script).tolist()[1 if engine.info.bos is not None else 0 :]:
        _sample(decoding, token)
        events += decoding.step()
    return [(event.index, event.open) for event in events if isinstance(event, GateChange)]


def _sample(decoding: Decoding, token: int) -> None:
    """Let the next step sample this token."""
    stream = decoding._stream
    step = stream.step

    def forced(uniforms: IntArray) -> object:
        sampled = step(uniforms)
        stream._rows[0].pending = token  # type: ignore[attr-defined]
        stream.step = step  # type: ignore[method-assign]
        return replace(sampled, ids=np.array([token], np.int32))

    stream.step = forced  # type: ignore[method-assign, assignment]


def test_thoughts_in_the_prompt_are_left_out(engine: FakeEngine) -> None:
    ids = engine.encode("ab<think>cd</think>ef<think>g")
    place = PromptPlace.of(engine, ids)
    texts = [engine.decode(ids[first:stop]) for first, stop in place.thoughts()]
    assert texts == [">cd</think", ">g"]
    assert place.thoughts()[-1][1] == len(ids)


def test_turning_a_knob_in_mid_answer_keeps_the_state_of_its_gate(engine: FakeEngine) -> None:
    gate = TokenGate("calm > x", PROBE, opens=-1e9, closes=-1e9)  # open from the second token on
    decoding = Decoding(engine, [request(engine, gated(PUSH, (gate,)))], [PROBE])
    for _ in range(6):
        decoding.step()
    again = TokenGate("calm > x", PROBE, opens=1e9, closes=-1e9)
    decoding.steer(0, (gated(replace(PUSH, delta=3 * PUSH.delta), (again,)),))
    run(decoding)
    _, steering = decoding.history(0)
    prompt = len(request(engine).ids)
    assert [np.linalg.norm(t.delta) for t in steering if t.covers(prompt + 7)] == pytest.approx([6.0])


def test_a_gate_added_in_mid_answer_may_read_what_is_watched_anyway(engine: FakeEngine) -> None:
    decoding = Decoding(engine, [request(engine)], [PROBE])
    for _ in range(4):
        decoding.step()
    decoding.steer(0, (gated(PUSH, (TokenGate("calm > x", PROBE, opens=-1e9, closes=-1e9),)),))
    changes = [event for event in run(decoding) if isinstance(event, GateChange)]
    assert [(change.index, change.open) for change in changes] == [(4, True)]


def test_a_gate_on_a_probe_that_is_not_read_waits_for_the_next_answer(engine: FakeEngine) -> None:
    decoding = Decoding(engine, [request(engine)], [PROBE])
    decoding.step()
    with pytest.raises(UsageError, match="send it again"):
        decoding.steer(0, (gated(PUSH, (TokenGate("x > 1", Watch(4, unit(5)), 1, 1),)),))


def test_a_chat_reuses_its_cache_under_gates_and_repeats_what_each_token_had(engine: FakeEngine) -> None:
    threshold = middle(engine)
    chat = Conversation(engine, watch=[PROBE])

    def steering(place: Place) -> tuple[Term, ...]:
        gate = TokenGate("calm > x", PROBE, threshold, threshold)
        return (gated(replace(PUSH, start=place.length - 1), (gate,)),)

    events = list(chat.say("Hello", steering, tokens=10))
    events = list(chat.say("And then?", steering, tokens=10))
    assert chat.reused > 0
    assert chat._decoding is not None
    start = chat.prompt
    np.testing.assert_allclose(scores_of(events), captured(engine, chat._decoding, start), rtol=1e-3, atol=1e-4)


def test_a_term_whose_gate_is_closed_is_checked_before_it_opens() -> None:
    able = FakeEngine(capabilities=Capabilities())  # it can only add
    never = TokenGate("calm > 1e9", PROBE, 1e9, 1e9)
    turned = gated(replace(PUSH, keep_norm=True), (never,))
    with pytest.raises(UsageError, match="fake cannot keep-norm, only add: use another engine"):
        Decoding(able, [request(able, turned)], [PROBE])
    decoding = Decoding(able, [request(able)], [PROBE])
    decoding.step()
    with pytest.raises(UsageError, match="fake cannot keep-norm, only add: use another engine"):
        decoding.steer(0, (turned,))
