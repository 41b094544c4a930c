"""The decode loop, on the fake engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from localprobe.engine import Capabilities, Prompt, Row, Sampler, Steering, Stream, Term, Watch
from localprobe.errors import EngineError, OutOfMemory, UsageError
from localprobe.fake import FakeEngine
from localprobe.generation.decode import Decoding, Request, generate, steps
from localprobe.generation.events import Finished, Score, Token
from localprobe.steering.positions import term

GREEDY = Sampler(temperature=0)
WARM = Sampler(temperature=1.0)


def vector(engine: FakeEngine, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(engine.info.width).astype(np.float32)


def request(engine: FakeEngine, text: str = "Hello there", **how) -> Request:  # type: ignore[no-untyped-def]
    return Request(engine.encode(text), **{"sampler": WARM, "tokens": 12, **how})


def collect(events) -> tuple[dict[int, list[int]], dict[int, list[float]], dict[int, str], dict[int, str]]:  # type: ignore[no-untyped-def]
    """Ids, scores, texts and reasons by row; checks that a score never comes before its token."""
    ids: dict[int, list[int]] = {}
    scores: dict[int, list[float]] = {}
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for event in events:
        match event:
            case Token():
                assert event.index == len(ids.setdefault(event.row, []))
                ids[event.row].append(event.id)
                texts[event.row] = texts.get(event.row, "") + event.text
            case Score():
                assert event.index == len(scores.setdefault(event.row, []))
                assert event.index < len(ids[event.row])
                scores[event.row].append(float(event.values[0]))
            case Finished():
                assert event.row not in reasons
                reasons[event.row] = event.reason
                texts[event.row] = texts.get(event.row, "") + event.text
    return ids, scores, texts, reasons


def test_live_scores_equal_a_capture_of_prompt_and_answer(engine: FakeEngine) -> None:
    v = vector(engine)
    steering: Steering = (term(2, v, 1.5),)
    asked = request(engine, steering=steering)
    ids, scores, _, _ = collect(generate(engine, [asked], [Watch(3, v)]))
    whole = np.array([*asked.ids, *ids[0]], dtype=np.int32)
    captured = engine.forward([Row(whole, steering)], [3])[0].residuals[0, len(asked.ids) :] @ v
    np.testing.assert_allclose(scores[0], captured, rtol=1e-4)


def test_a_row_generates_the_same_in_any_batch(engine: FakeEngine) -> None:
    v = vector(engine)
    requests = [
        request(engine, text, steering=(term(1, v, a),), key=f"cell {i}", tokens=5 + 3 * i)
        for i, (text, a) in enumerate([("One", 0.5), ("Two words", -1.0), ("One", 0.5), ("A longer prompt here", 2.0)])
    ]
    together, *_ = collect(generate(engine, requests))
    for i, each in enumerate(requests):
        alone, *_ = collect(generate(engine, [each]))
        assert alone[0] == together[i]
    in_pairs, *_ = collect(generate(engine, requests, width=2))
    assert in_pairs == together


def test_the_key_names_the_random_numbers(engine: FakeEngine) -> None:
    draws = [collect(generate(engine, [request(engine, key=key)]))[0][0] for key in ("a", "b", "a")]
    assert draws[0] == draws[2] != draws[1]


def test_steering_reaches_every_generated_token(engine: FakeEngine) -> None:
    """A push towards one token makes it the whole answer; the same push on the prompt alone does not."""
    v = 40 * vector(engine, 3)
    last = engine.info.layers - 1
    everywhere, *_ = collect(generate(engine, [request(engine, steering=(Term(last, v),), sampler=GREEDY)]))
    prompt = Term(last, v, 0, len(engine.encode("Hello there")) - 1)
    only_prompt, *_ = collect(generate(engine, [request(engine, steering=(prompt,), sampler=GREEDY)]))
    plain, *_ = collect(generate(engine, [request(engine, sampler=GREEDY)]))
    assert len(set(everywhere[0])) == 1
    assert only_prompt == plain != everywhere  # the last block's residual is read by no later position


def test_a_dose_changed_in_mid_answer_takes_effect_on_the_very_next_token(engine: FakeEngine) -> None:
    v = 40 * vector(engine, 3)
    last = engine.info.layers - 1
    pushed, *_ = collect(generate(engine, [request(engine, steering=(Term(last, v),), sampler=GREEDY)]))
    decoding = Decoding(engine, [request(engine, sampler=GREEDY, tokens=8)])
    events = [e for _ in range(3) for e in decoding.step()]
    decoding.steer(0, (Term(last, v),))
    while not decoding.done:
        events += decoding.step()
    ids, *_ = collect(events)
    plain, *_ = collect(generate(engine, [request(engine, sampler=GREEDY, tokens=8)]))
    assert ids[0][:3] == plain[0][:3]
    assert set(ids[0][3:]) == {pushed[0][0]}
    held, under = decoding.history()
    assert [(t.start, t.stop) for t in under] == [(len(request(engine).ids) + 2, len(held))]


def test_rows_that_share_a_prompt_are_prefilled_once() -> None:
    class Counting(FakeEngine):
        opened: list[int]

        def open(self, prompts: Sequence[Prompt], **how) -> Stream:  # type: ignore[no-untyped-def,override]
            self.opened = [p.copies for p in prompts]
            return super().open(prompts, **how)

    engine = Counting()
    requests = [request(engine, "Same", key=str(i)) for i in range(3)] + [request(engine, "Other", key="3")]
    together, *_ = collect(generate(engine, [requests[i] for i in (0, 3, 1, 2)]))
    assert engine.opened == [3, 1]
    alone = [collect(generate(engine, [each]))[0][0] for each in requests]
    assert [together[i] for i in (0, 2, 3, 1)] == alone


def test_an_end_token_ends_a_row_and_is_no_part_of_its_answer(engine: FakeEngine) -> None:
    ids, scores, _, reasons = collect(
        generate(engine, [request(engine, tokens=400, key="e")], [Watch(2, vector(engine))])
    )
    assert reasons == {0: "end"}
    assert not set(ids[0]) & set(engine.info.eos)
    assert len(scores[0]) == len(ids[0]) > 0


def test_an_answer_that_ends_at_once_has_no_token(engine: FakeEngine) -> None:
    engine.info = replace(engine.info, eos=tuple(range(engine.info.vocabulary)))
    (finished,) = generate(engine, [request(engine)], [Watch(2, vector(engine))])
    assert finished == Finished(0, "end", "")


def test_a_stop_string_ends_a_row_and_is_not_shown(engine: FakeEngine) -> None:
    _, _, texts, _ = collect(generate(engine, [request(engine, tokens=30)]))
    stop = texts[0][4:7]
    _, _, stopped, reasons = collect(generate(engine, [request(engine, tokens=30, stops=(stop,))]))
    assert reasons == {0: "stop"}
    assert stopped[0] == texts[0][: texts[0].index(stop)]


def test_every_token_asked_for_has_a_score_when_the_length_ends_it(engine: FakeEngine) -> None:
    requests = [request(engine, tokens=n, sampler=GREEDY) for n in (1, 3, 5)]
    ids, scores, _, reasons = collect(generate(engine, requests, [Watch(1, vector(engine))]))
    assert {row: len(s) for row, s in scores.items()} == {row: len(i) for row, i in ids.items()} == {0: 1, 1: 3, 2: 5}
    assert set(reasons.values()) == {"length"}


def test_a_full_context_ends_a_row() -> None:
    engine = FakeEngine(context=20)
    ids, _, _, reasons = collect(generate(engine, [request(engine, "abcdefgh", tokens=100, sampler=GREEDY)]))
    assert reasons == {0: "context"}
    assert len(ids[0]) == 20 - 9


def test_a_prompt_that_nearly_fills_the_context_does_not_hold_up_the_others() -> None:
    engine = FakeEngine(context=40)
    requests = [request(engine, "x" * n, tokens=30, sampler=GREEDY) for n in (3, 35, 8, 35)]
    ids, _, _, reasons = collect(generate(engine, requests))
    assert set(reasons) == {0, 1, 2, 3}
    assert reasons[1] == reasons[3] == "context"
    assert len(ids[1]) == len(ids[3]) == 4


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers() -> None:
    engine = FakeEngine(context=8)
    with pytest.raises(UsageError, match=r"the prompt has 12 tokens, and fake holds 8"):
        list(generate(engine, [request(engine)]))


def test_no_tokens_to_generate_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="0 tokens to generate"):
        list(generate(engine, [request(engine, tokens=0)]))


def test_stop_keeps_and_scores_what_was_said(engine: FakeEngine) -> None:
    decoding = Decoding(engine, [request(engine, tokens=50)], [Watch(2, vector(engine))])
    events = [e for _ in range(4) for e in decoding.step()] + decoding.stop()
    ids, scores, _, reasons = collect(events)
    assert reasons == {0: "stopped"}
    assert len(scores[0]) == len(ids[0]) == 4
    assert decoding.done
    assert decoding.stop() == []


class SmallMemory(FakeEngine):
    def open(self, prompts: Sequence[Prompt], **how) -> Stream:  # type: ignore[no-untyped-def,override]
        if sum(p.copies for p in prompts) > 2:
            raise OutOfMemory("no room")
        return super().open(prompts, **how)


def test_a_batch_that_does_not_fit_is_cut(engine: FakeEngine) -> None:
    requests = [request(engine, f"Prompt {i}", key=str(i)) for i in range(5)]
    assert collect(generate(SmallMemory(), requests))[0] == collect(generate(engine, requests))[0]


def test_what_did_not_fit_once_is_not_tried_as_wide_again(engine: FakeEngine) -> None:
    class Counting(SmallMemory):
        tried: list[int]

        def open(self, prompts: Sequence[Prompt], **how) -> Stream:  # type: ignore[no-untyped-def,override]
            self.tried.append(sum(p.copies for p in prompts))
            return super().open(prompts, **how)

    small = Counting()
    small.tried = []
    requests = [request(engine, f"Prompt {i}", key=str(i)) for i in range(8)]
    assert len(collect(generate(small, requests, width=4))[0]) == 8
    assert small.tried == [4, 2, 2, 2, 2]


def test_rows_that_end_together_are_told_together(engine: FakeEngine) -> None:
    requests = [request(engine, key=str(i), tokens=n, sampler=GREEDY) for i, n in enumerate((2, 5, 2, 5))]
    ended = [[e.row for e in events if isinstance(e, Finished)] for events in steps(engine, requests)]
    assert ended == [[], [0, 2], [], [], [1, 3]]


def test_an_engine_that_steers_whole_batches_still_gives_each_row_its_own(engine: FakeEngine) -> None:
    v = vector(engine)
    requests = [request(engine, steering=(term(1, v, a),), key="k") for a in (0.0, 3.0, 0.0, -3.0)]
    whole = FakeEngine(capabilities=Capabilities(row_steering=False))
    assert collect(generate(whole, requests))[0] == collect(generate(engine, requests))[0]


def test_alpha_zero_says_what_the_unsteered_model_says(engine: FakeEngine) -> None:
    zero = collect(generate(engine, [request(engine, steering=(term(1, vector(engine), 0.0),))]))
    assert zero == collect(generate(engine, [request(engine)]))


def test_predictions_that_are_not_finite_are_an_error(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflown(logits: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(logits), np.int32), np.full(len(logits), np.nan, np.float32)

    monkeypatch.setattr("localprobe.fake.stream.sample", overflown)
    with pytest.raises(EngineError, match="predictions that are not finite in float32: lower the dose"):
        list(generate(engine, [request(engine)]))
