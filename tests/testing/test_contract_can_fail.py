"""The contract suite is no rubber stamp: each bug that an engine could have makes the right test fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from localprobe.engine import Step
from localprobe.fake import FakeEngine, Fault, tokenizer, transformer
from localprobe.fake import engine as fake_engine
from localprobe.fake import stream as fake_stream
from localprobe.fake.engine import FakeEngine as Engine
from localprobe.fake.stream import FakeStream as Stream
from localprobe.fake.transformer import Cache, Transformer
from localprobe.sampling import sample
from localprobe.testing import EngineContract


def fails(test: str) -> bool:
    """Whether the fake engine, as it is now, fails a test of the contract with any of its parameters."""
    return any(_fails_with(FakeEngine(), test, arguments) for arguments in _parameters(test))


def _fails_with(engine: FakeEngine, test: str, arguments: dict[str, Any]) -> bool:
    try:
        getattr(EngineContract(), test)(engine, **arguments)
    except (Exception, pytest.fail.Exception):
        return True
    return False


def _parameters(test: str) -> Iterator[dict[str, Any]]:
    marks = [
        mark.args for mark in getattr(getattr(EngineContract, test), "pytestmark", []) if mark.name == "parametrize"
    ]
    if not marks:
        yield {}
    for argument, values in marks:
        yield from ({argument: value} for value in values)


@pytest.mark.parametrize(
    ("fault", "caught_by"),
    [
        ("steering ignored", "test_the_residual_moves_by_delta_at_its_layer_and_not_below"),
        ("decode unsteered", "test_steering_reaches_every_generated_token"),
    ],
)
def test_silent_no_ops_are_caught(fault: Fault, caught_by: str) -> None:
    engine = FakeEngine(fault=fault)
    assert any(_fails_with(engine, caught_by, arguments) for arguments in _parameters(caught_by))


Patch = pytest.MonkeyPatch
_encode = tokenizer.encode
_run, _forward, _open = Transformer.run, Engine.forward, Engine.open
_step, _steer, _drop = Stream.step, Stream.steer, Stream.drop
_project = Stream._project


def bos_put_twice(patch: Patch) -> None:
    patch.setattr(
        tokenizer, "encode", lambda text, template: np.append(np.int32(256), _encode(text, template=template))
    )


def specials_read_in_plain_text(patch: Patch) -> None:
    patch.setattr(
        tokenizer, "encode", lambda text, template: _encode(text if template else "<|bos|>" + text, template=True)
    )


def spaces_cleaned_up(patch: Patch) -> None:
    decode = tokenizer.decode
    patch.setattr(tokenizer, "decode", lambda ids: decode(ids).strip())


def partial_characters_dropped(patch: Patch) -> None:
    decode = tokenizer.decode
    patch.setattr(tokenizer, "decode", lambda ids: decode(ids).replace("\ufffd", ""))


def steering_one_layer_off(patch: Patch) -> None:
    def run(self, ids, cache, steering, *depth):
        off = tuple(replace(term, layer=min(term.layer + 1, 5)) for term in steering)
        return _run(self, ids, cache, off, *depth)

    patch.setattr(Transformer, "run", run)


def steering_one_position_off(patch: Patch) -> None:
    def run(self, ids, cache, steering, *depth):
        off = tuple(replace(term, start=max(term.start - 1, 0)) for term in steering)
        return _run(self, ids, cache, off, *depth)

    patch.setattr(Transformer, "run", run)


def only_the_last_term_counts(patch: Patch) -> None:
    patch.setattr(
        Transformer, "run", lambda self, ids, cache, steering, *depth: _run(self, ids, cache, steering[-1:], *depth)
    )


def alpha_zero_not_bitwise(patch: Patch) -> None:
    def run(self, ids, cache, steering, *depth):
        noisy = tuple(replace(term, delta=term.delta + np.float32(1e-5)) for term in steering)
        return _run(self, ids, cache, noisy, *depth)

    patch.setattr(Transformer, "run", run)


def first_row_steers_the_batch(patch: Patch) -> None:
    patch.setattr(
        Engine,
        "forward",
        lambda self, rows, layers=(): _forward(self, [replace(row, steering=rows[0].steering) for row in rows], layers),
    )


def rows_see_the_row_before(patch: Patch) -> None:
    def forward(self, rows, layers=()):
        outputs = _forward(self, rows, layers)
        for before, after in pairwise(outputs):
            after.residuals[:] += np.float32(1e-4) * before.residuals[:, -1:]
        return outputs

    patch.setattr(Engine, "forward", forward)


def padding_is_attended_to(patch: Patch) -> None:
    def forward(self, rows, layers=()):
        longest = max(len(row.ids) for row in rows)
        outputs = []
        for row in rows:
            pad = longest - len(row.ids)
            (output,) = _forward(self, [replace(row, ids=np.pad(row.ids, (pad, 0)), spans=None)], layers)
            outputs.append(replace(output, residuals=output.residuals[:, pad:]))
        return outputs

    patch.setattr(Engine, "forward", forward)


def last_residual_after_the_final_norm(patch: Patch) -> None:
    def run(self, *arguments):
        residuals = _run(self, *arguments)
        return np.concatenate([residuals[:-1], transformer.rms_norm(residuals[-1:])])

    patch.setattr(Transformer, "run", run)


def layers_in_model_order(patch: Patch) -> None:
    patch.setattr(Engine, "forward", lambda self, rows, layers=(): _forward(self, rows, sorted(layers)))


def logits_instead_of_logprobs(patch: Patch) -> None:
    patch.setattr(fake_engine, "log_softmax", lambda logits: logits)


def causal_mask_missing(patch: Patch) -> None:
    def run(self, ids, cache, *rest):
        _run(self, ids, cache, *rest)  # a second pass over the same tokens sees them all in the cache
        return _run(self, ids, cache.grown(2 * len(ids) + cache.length, cache.length), *rest)

    patch.setattr(Transformer, "run", run)


def scores_one_step_early(patch: Patch) -> None:
    def step(self, uniforms):
        result = _step(self, uniforms)
        return Step(result.ids, result.logprobs, self._run_pending())

    patch.setattr(Stream, "step", step)


def scores_of_the_layer_below(patch: Patch) -> None:
    def project(self, residuals):
        return _project(self, np.concatenate([residuals[:1], residuals[:-1]]))

    patch.setattr(Stream, "_project", project)


def new_dose_one_token_late(patch: Patch) -> None:
    def steer(self, row, steering):
        after = self._rows[row].cache.length + 1
        _steer(self, row, tuple(replace(term, start=max(term.start, after)) for term in steering))

    patch.setattr(Stream, "steer", steer)


def new_dose_rewrites_the_past(patch: Patch) -> None:
    def steer(self, row, steering):
        _steer(self, row, steering)
        state = self._rows[row]
        replayed = Cache(state.cache.keys.shape[1])
        self._model.run(np.array(self.history[row], np.int32), replayed, steering)
        state.cache = replayed

    def opened(self, prompts, **options):
        stream = _open(self, prompts, **options)
        stream.history = [list(prompt.ids) for prompt in prompts]
        return stream

    def step(self, uniforms):
        for row, state in enumerate(self._rows):
            if state.pending is not None and hasattr(self, "history"):
                self.history[row].append(state.pending)
        return _step(self, uniforms)

    patch.setattr(Stream, "steer", steer)
    patch.setattr(Stream, "step", step)
    patch.setattr(Engine, "open", opened)


def dropping_takes_the_last_rows(patch: Patch) -> None:
    patch.setattr(Stream, "drop", lambda self, rows: _drop(self, range(len(self._rows) - len(rows), len(self._rows))))


def copies_share_one_cache(patch: Patch) -> None:
    grown = Cache.grown
    patch.setattr(
        Cache, "grown", lambda self, capacity, keep: self if keep == self.length else grown(self, capacity, keep)
    )


def cuts_ignored(patch: Patch) -> None:
    patch.setattr(
        fake_stream,
        "sample",
        lambda logits, samplers, uniforms: sample(logits, [replace(s, top_k=0, top_p=1) for s in samplers], uniforms),
    )


def logprobs_at_the_samplers_temperature(patch: Patch) -> None:
    def hot(logits, samplers, uniforms):
        scale = np.array([[s.temperature or 1] for s in samplers], np.float32)
        return sample(logits / scale, [replace(s, temperature=min(s.temperature, 1)) for s in samplers], uniforms)

    patch.setattr(fake_stream, "sample", hot)


def cache_kept_after_a_new_dose(patch: Patch) -> None:
    def take_caches(self, prompts, room):
        caches = [
            row.cache.grown(len(prompt.ids) + room, min(row.cache.length, len(prompt.ids) - 1))
            for row, prompt in zip(self._rows, prompts, strict=True)
        ]
        self.close()
        return caches

    patch.setattr(Stream, "take_caches", take_caches)


def positions_restart_on_reuse(patch: Patch) -> None:
    def run(self, ids, cache, steering, *depth):
        start = cache.length if len(ids) > 1 else 0
        return _run(self, ids, cache, tuple(replace(t, start=t.start + start) for t in steering), *depth)

    patch.setattr(Transformer, "run", run)


def closed_streams_go_on(patch: Patch) -> None:
    patch.setattr(Stream, "close", lambda self: None)


BUGS: dict[Callable[[Patch], None], str] = {
    bos_put_twice: "test_plain_text_has_the_models_bos_once_and_no_eos",
    specials_read_in_plain_text: "test_special_tokens_are_read_in_templates_only",
    spaces_cleaned_up: "test_decode_gives_the_text_back",
    partial_characters_dropped: "test_bytes_that_are_not_yet_utf8_give_the_replacement_character",
    steering_one_layer_off: "test_the_residual_moves_by_delta_at_its_layer_and_not_below",
    steering_one_position_off: "test_only_the_span_is_steered",
    only_the_last_term_counts: "test_terms_at_one_layer_add_up",
    alpha_zero_not_bitwise: "test_alpha_zero_is_bitwise_no_steering",
    first_row_steers_the_batch: "test_each_row_has_its_own_steering",
    rows_see_the_row_before: "test_rows_do_not_see_each_other",
    padding_is_attended_to: "test_a_batch_equals_its_rows_alone",
    last_residual_after_the_final_norm: "test_the_residual_moves_by_delta_at_its_layer_and_not_below",
    layers_in_model_order: "test_layers_come_in_the_order_asked_for",
    logits_instead_of_logprobs: "test_logprobs_are_normalised_and_targets_are_their_entries",
    causal_mask_missing: "test_no_position_sees_a_later_one",
    scores_one_step_early: "test_scores_are_projections_of_prompt_and_answer",
    scores_of_the_layer_below: "test_scores_are_projections_of_prompt_and_answer",
    new_dose_one_token_late: "test_a_new_dose_takes_effect_on_the_very_next_token",
    new_dose_rewrites_the_past: "test_a_new_dose_takes_effect_on_the_very_next_token",
    dropping_takes_the_last_rows: "test_dropping_rows_leaves_the_others",
    copies_share_one_cache: "test_copies_share_a_prompt_and_nothing_else",
    cuts_ignored: "test_sampled_tokens_follow_the_reference",
    logprobs_at_the_samplers_temperature: "test_sampled_tokens_follow_the_reference",
    cache_kept_after_a_new_dose: "test_after_a_new_dose_only_what_it_left_alone_is_kept",
    positions_restart_on_reuse: "test_after_a_new_dose_only_what_it_left_alone_is_kept",
    closed_streams_go_on: "test_a_closed_stream_refuses_and_leaves_the_engine_usable",
}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_bug_is_caught(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    assert not fails(BUGS[bug])
    bug(monkeypatch)
    assert fails(BUGS[bug])
