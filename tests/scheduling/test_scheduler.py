"""Requests that join the rows of others, on the fake engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from localprobe import checks
from localprobe.capture.scale import residual_scale
from localprobe.engine import Capabilities, FloatArray, Prompt, Sampler, Term, Watch
from localprobe.errors import Cancelled, EngineCrashed, EngineError, OutOfMemory, QueueFull, UsageError
from localprobe.fake import FakeEngine
from localprobe.fake.stream import FakeStream
from localprobe.generation.answer import Answer, collect
from localprobe.generation.decode import Request, generate
from localprobe.generation.events import Token
from localprobe.scheduling.job import Limits, Prepared
from localprobe.scheduling.scheduler import Scheduler
from tests.scheduling.listeners import Heard
from tests.scheduling.random_jobs import RandomJobs, arrive

WARM = Sampler(temperature=1.0)


def vector(engine: FakeEngine, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(engine.info.width).astype(np.float32)


def request(engine: FakeEngine, text: str = "Hello there", **how: object) -> Request:
    return Request(engine.encode(text), **({"sampler": WARM, "tokens": 12} | how))  # type: ignore[arg-type]


def alone(engine: FakeEngine, wanted: Prepared) -> Answer:
    return collect(generate(engine, [wanted.request], wanted.watch, alarms=wanted.alarms), 1)[0]


def same(answer: Answer, expected: Answer) -> None:
    """Assert that two answers are the same, but for rounding."""
    assert answer.ids.tolist() == expected.ids.tolist()
    assert (answer.text, answer.reason) == (expected.text, expected.reason)
    np.testing.assert_allclose(answer.logprobs, expected.logprobs, atol=1e-4)
    np.testing.assert_allclose(answer.projections, expected.projections, atol=1e-3, rtol=1e-3)
    assert [(g.index, g.gate, g.open) for g in answer.gates] == [(g.index, g.gate, g.open) for g in expected.gates]
    assert [(a.index, a.probe) for a in answer.alerts] == [(a.index, a.probe) for a in expected.alerts]


def endless(delay: float = 0.0) -> FakeEngine:
    """An engine whose answers end at their limit only."""
    engine = FakeEngine(delay=delay)
    engine.info = replace(engine.info, eos=())
    return engine


@pytest.fixture
def slow() -> FakeEngine:
    """An engine whose answers take a while."""
    return endless(0.01)


def long_answer(text: str = "Hello there", tokens: int = 200) -> Request:
    """A request for an answer that takes a while on a slow engine."""
    return request(FakeEngine(), text, tokens=tokens)


@pytest.fixture
def scheduler(engine: FakeEngine) -> Iterator[Scheduler]:
    scheduler = Scheduler(engine, Limits(rows=4))
    yield scheduler
    scheduler.close()


def ask(scheduler: Scheduler, wanted: Prepared, **how: float) -> Heard:
    heard = Heard()
    scheduler.submit(lambda: [wanted], heard, **how)
    return heard


def test_no_request_reaches_the_tokens_of_another(engine: FakeEngine) -> None:
    """64 random requests, joined in random order with cancels between: each is the answer that it gets alone."""
    scheduler = Scheduler(engine, Limits(rows=5, tokens=1200, prefixes=3, piece=24))
    drawn = RandomJobs(engine, residual_scale(engine), tokens=30)
    jobs = [drawn.draw() for _ in range(64)]
    heard, cancelled = arrive(scheduler, jobs)
    for number, (wanted, listener) in enumerate(zip(jobs, heard, strict=True)):
        if number not in cancelled:
            same(listener.answers()[0], alone(engine, wanted))
    stats = scheduler.stats
    assert stats.reused_tokens > 0
    assert stats.answers >= 64 - len(cancelled)
    assert (stats.rows, stats.waiting, stats.failed) == (0, 0, 0)
    scheduler.close()


def test_a_shared_beginning_is_prefilled_once_for_each_steering(engine: FakeEngine, scheduler: Scheduler) -> None:
    system = "You are a kind and patient assistant, who answers in one sentence. "
    shared = len(engine.encode(system))
    steered = (Term(2, vector(engine, 0)),)
    for steering in ((), steered):
        before = scheduler.stats.reused_tokens
        ask(scheduler, Prepared(request(engine, system + "Who?", steering=steering))).answers()
        assert scheduler.stats.reused_tokens == before, "the other steering's positions are not these"
        for question in ("What?", "Where?"):
            wanted = Prepared(request(engine, system + question, steering=steering))
            same(ask(scheduler, wanted).answers()[0], alone(engine, wanted))
        assert scheduler.stats.reused_tokens - before >= 2 * shared


def test_a_beginning_is_shared_while_its_row_still_decodes(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=4))
    system = "You are a kind and patient assistant, who answers in one sentence. "
    asked = Prepared(long_answer(system + "Who?", 60))
    first = ask(scheduler, asked)
    first.began.wait(10)
    second = ask(scheduler, Prepared(request(slow, system + "What?", tokens=3)))
    same(second.answers()[0], alone(endless(), Prepared(request(slow, system + "What?", tokens=3))))
    assert not first.over.is_set()
    assert scheduler.stats.reused_tokens >= len(slow.encode(system))
    same(first.answers()[0], alone(endless(), asked))
    scheduler.close()


@contextmanager
def at_once(scheduler: Scheduler) -> Iterator[None]:
    """What is asked for in the block arrives together."""
    go = threading.Event()
    held = scheduler.call(go.wait)
    yield
    go.set()
    held.result(10)


def test_prompts_that_arrive_together_are_prefilled_together(
    engine: FakeEngine, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[int] = []
    join = FakeStream.join
    monkeypatch.setattr(
        FakeStream, "join", lambda self, prompts, room: joined.append(len(prompts)) or join(self, prompts, room)
    )
    wanted = [Prepared(request(engine, f"{name} asks")) for name in ("Ann", "Bob", "Cem", "Dee")]
    with at_once(scheduler):
        heard = [ask(scheduler, one) for one in wanted]
    for listener, one in zip(heard, wanted, strict=True):
        same(listener.answers()[0], alone(engine, one))
    assert joined == [4]


def test_a_beginning_that_arrivals_share_is_prefilled_once(engine: FakeEngine, scheduler: Scheduler) -> None:
    system = "You are a kind and patient assistant, who answers in one sentence. "
    wanted = [Prepared(request(engine, f"{system}{name}?")) for name in ("Who", "What", "Where", "When")]
    with at_once(scheduler):
        heard = [ask(scheduler, one) for one in wanted]
    for listener, one in zip(heard, wanted, strict=True):
        same(listener.answers()[0], alone(engine, one))
    assert scheduler.stats.reused_tokens >= 3 * len(engine.encode(system))


def test_a_long_prompt_comes_in_pieces_between_the_steps_of_others(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=3, piece=16, prefixes=0))
    first = ask(scheduler, Prepared(long_answer("Hi", 80)))
    first.began.wait(10)
    long = Prepared(request(slow, "word " * 50, steering=(Term(2, vector(slow, 1)),), tokens=4))
    second = ask(scheduler, long)
    same(second.answers()[0], alone(endless(), long))
    same(first.answers()[0], alone(endless(), Prepared(long_answer("Hi", 80))))
    began = next(at for at, events in enumerate(second.steps))
    assert began == 0
    assert len(first.steps) >= 10
    scheduler.close()


def test_answers_are_begun_in_the_order_of_arrival(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=2))
    begun: list[int] = []

    class Noted(Heard):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def events(self, events) -> None:  # type: ignore[no-untyped-def]
            if not self.steps:
                begun.append(self.number)
            super().events(events)

    heard = [Noted(number) for number in range(8)]
    for number, listener in enumerate(heard):
        wanted = Prepared(request(slow, f"Question {number}", tokens=3))
        scheduler.submit(lambda wanted=wanted: [wanted], listener)
    for listener in heard:
        listener.answers()
    assert begun == sorted(begun)
    scheduler.close()


def test_several_answers_of_one_prompt_are_prefilled_once(engine: FakeEngine, scheduler: Scheduler) -> None:
    asked = request(engine, "Tell me something")
    wanted = [Prepared(replace(asked, key=f"draw {number}")) for number in range(3)]
    heard = Heard(3)
    scheduler.submit(lambda: wanted, heard)
    for answer, one in zip(heard.answers(), wanted, strict=True):
        same(answer, alone(engine, one))
    assert scheduler.stats.prompt_tokens == len(asked.ids)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_more_answers_of_one_prompt_than_rows_come_in_turn(engine: FakeEngine, rows: int) -> None:
    scheduler = Scheduler(engine, Limits(rows=rows))
    heard = Heard(5)
    wanted = [Prepared(request(engine, key=f"answer {number}")) for number in range(5)]
    job = scheduler.submit(lambda: wanted, heard)
    for answer, one in zip(heard.answers(), wanted, strict=True):
        same(answer, alone(engine, one))
    assert (scheduler.stats.waiting, job.reused) == (0, 0)
    scheduler.close()


def test_a_stopped_answer_keeps_its_text_and_its_last_score(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=2))
    heard = Heard()
    wanted = Prepared(long_answer(), (Watch(3, vector(slow, 1)),))
    job = scheduler.submit(lambda: [wanted], heard)
    heard.began.wait(10)
    job.stop()
    (answer,) = heard.answers()
    assert answer.reason == "stopped"
    assert 0 < len(answer) < 200
    assert not np.isnan(answer.scores).any()
    scheduler.close()


def test_steering_changes_in_mid_answer_from_the_next_token_on(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=2))
    heard = Heard()
    v = vector(slow, 1)
    wanted = Prepared(request(slow, tokens=40), (Watch(2, v),))
    job = scheduler.submit(lambda: [wanted], heard)
    heard.began.wait(10)
    job.steer((Term(2, 3 * v, 0),))
    (answer,) = heard.answers()
    scores = answer.scores
    assert scores[-1] - scores[0] > float(2 * v @ v), "what is added shows in the score"
    scheduler.close()


@pytest.mark.parametrize("began", [True, False])
def test_a_cancelled_job_says_no_more_and_makes_room(slow: FakeEngine, began: bool) -> None:
    scheduler = Scheduler(slow, Limits(rows=1))
    first, second = Heard(), Heard()
    job = scheduler.submit(lambda: [Prepared(long_answer())], first)
    first.began.wait(10)
    other = scheduler.submit(lambda: [Prepared(long_answer())], second)
    (job if began else other).cancel()
    third = ask(scheduler, Prepared(request(slow, "Third", tokens=2)))
    if not began:
        job.cancel()
    else:
        second.began.wait(10)
        other.cancel()
    third.answers()
    counted = len(first.steps), len(second.steps)
    time.sleep(0.05)
    assert (len(first.steps), len(second.steps)) == counted
    assert scheduler.stats.cancelled == 2
    scheduler.close()


def test_a_deadline_ends_a_job_that_waits_and_one_that_runs(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=1))
    running = ask(scheduler, Prepared(long_answer()), deadline=0.3)
    waiting = ask(scheduler, Prepared(long_answer()), deadline=0.05)
    for heard in (waiting, running):
        with pytest.raises(TimeoutError):
            heard.answers()
    assert running.steps
    assert not waiting.steps
    assert ask(scheduler, Prepared(request(slow, tokens=2))).text
    scheduler.close()


def test_one_more_than_may_wait_is_refused(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=1, waiting=2))
    first = ask(scheduler, Prepared(long_answer(tokens=60)))
    first.began.wait(10)
    rest = [ask(scheduler, Prepared(request(slow, tokens=2))) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests are waiting"):
        ask(scheduler, Prepared(request(slow, tokens=2)))
    for heard in (first, *rest):
        heard.answers()
    assert ask(scheduler, Prepared(request(slow, tokens=2))).text
    scheduler.close()


def test_what_cannot_be_prepared_fails_alone(engine: FakeEngine, scheduler: Scheduler) -> None:
    def broken() -> list[Prepared]:
        raise UsageError("no such vector")

    heard = Heard()
    scheduler.submit(broken, heard)
    with pytest.raises(UsageError, match="no such vector"):
        heard.answers()
    bad = ask(scheduler, Prepared(request(engine, steering=(Term(99, vector(engine, 0)),))))
    with pytest.raises(UsageError, match="layer 99"):
        bad.answers()
    assert ask(scheduler, Prepared(request(engine))).text


def test_one_that_cannot_join_leaves_those_that_came_with_it_alone(
    engine: FakeEngine, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, bad = FakeStream.join, engine.encode("Bad asks")

    def refusing(self: FakeStream, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        if any(prompt.ids.tolist() == bad.tolist() for prompt in prompts):
            raise UsageError("not this one")
        return join(self, prompts, room)

    monkeypatch.setattr(FakeStream, "join", refusing)
    wanted = [Prepared(request(engine, f"{name} asks")) for name in ("Ann", "Bad", "Cem")]
    with at_once(scheduler):
        heard = [ask(scheduler, one) for one in wanted]
    with pytest.raises(UsageError, match="not this one"):
        heard[1].answers()
    for number in (0, 2):
        same(heard[number].answers()[0], alone(engine, wanted[number]))
    assert (scheduler.stats.waiting, scheduler.stats.failed) == (0, 1)


def test_a_prompt_that_can_never_fit_is_refused_and_others_are_answered(engine: FakeEngine) -> None:
    scheduler = Scheduler(engine, Limits(rows=2, tokens=100, prefixes=0))
    with pytest.raises((UsageError, OutOfMemory)):
        ask(scheduler, Prepared(request(engine, "x" * 95))).answers()
    assert ask(scheduler, Prepared(request(engine))).text
    scheduler.close()


def test_a_prompt_waits_until_memory_is_free(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=4, tokens=100, prefixes=2))
    wanted = [Prepared(request(slow, "y" * 30 + str(number), tokens=20)) for number in range(4)]
    heard = [ask(scheduler, one) for one in wanted]
    for listener, one in zip(heard, wanted, strict=True):
        same(listener.answers()[0], alone(endless(), one))
    scheduler.close()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_predictions_that_are_not_finite_fail_their_own_answer(
    slow: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(slow, Limits(rows=3))
    fine = Prepared(request(slow, tokens=40), (Watch(2, vector(slow, 0)),))
    first = ask(scheduler, fine)
    first.began.wait(10)
    monkeypatch.setattr(checks, "LONGEST", np.inf)
    huge = np.full(32, 2e38, np.float32)
    wild = ask(scheduler, Prepared(request(slow, steering=(Term(2, huge), Term(3, huge)))))
    with pytest.raises(EngineError, match="not finite"):
        wild.answers()
    same(first.answers()[0], alone(endless(), fine))
    scheduler.close()


def test_other_work_runs_between_two_steps(slow: FakeEngine) -> None:
    scheduler = Scheduler(slow, Limits(rows=2))
    heard = ask(scheduler, Prepared(long_answer(tokens=60)))
    heard.began.wait(10)
    assert scheduler.call(lambda: threading.current_thread().name).result(10) == "localprobe scheduler"
    assert not heard.over.is_set()
    with pytest.raises(UsageError, match="wrong"):
        scheduler.call(lambda: (_ for _ in ()).throw(UsageError("wrong"))).result(10)
    heard.answers()
    scheduler.close()


def test_a_crash_of_the_engine_fails_everything_at_once(slow: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler(slow, Limits(rows=1))
    running, waiting = (
        ask(scheduler, Prepared(long_answer())),
        ask(scheduler, Prepared(request(slow))),
    )
    running.began.wait(10)

    def crash() -> None:
        raise EngineCrashed("the engine died")

    with pytest.raises(EngineCrashed):
        scheduler.call(crash).result(10)
    for heard in (running, waiting):
        with pytest.raises(EngineCrashed):
            heard.answers()
    with pytest.raises(EngineCrashed):
        ask(scheduler, Prepared(request(slow)))
    scheduler.close()


def test_closing_lets_answers_end_within_the_grace(slow: FakeEngine) -> None:
    for grace, ends in ((10.0, True), (0.0, False)):
        scheduler = Scheduler(slow, Limits(rows=1))
        heard = [ask(scheduler, Prepared(request(slow, tokens=20))) for _ in range(2)]
        heard[0].began.wait(10)
        scheduler.close(grace)
        for listener in heard:
            if ends:
                assert len(listener.answers()[0]) > 0
            else:
                with pytest.raises(Cancelled):
                    listener.answers()
        with pytest.raises(Cancelled):
            ask(scheduler, Prepared(request(slow)))


def test_rows_on_both_sides_of_long_rope_are_answered_in_turn() -> None:
    engine = FakeEngine(rope_length=40)
    scheduler = Scheduler(engine, Limits(rows=3))
    wanted = [
        Prepared(request(engine, "z" * length, tokens=12), (Watch(2, vector(engine, 1)),))
        for length in (10, 60, 34, 20, 45)
    ]
    heard = [ask(scheduler, one) for one in wanted]
    for listener, one in zip(heard, wanted, strict=True):
        same(listener.answers()[0], alone(engine, one))
    scheduler.close()


def test_an_engine_that_no_row_can_join_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot take up requests"):
        Scheduler(FakeEngine(capabilities=Capabilities()))


def test_every_token_tells_its_place(engine: FakeEngine, scheduler: Scheduler) -> None:
    heard = ask(scheduler, Prepared(request(engine, tokens=9)))
    heard.answers()
    indices = [event.index for events in heard.steps for event in events if isinstance(event, Token)]
    assert indices == list(range(len(indices)))
