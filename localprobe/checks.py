"""Argument checks that the core makes before it calls an engine, so that engines need not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from localprobe.engine import (
    Coordinates,
    FloatArray,
    Info,
    IntArray,
    Operator,
    Prompt,
    Reserve,
    Row,
    Sampler,
    Span,
    Steering,
    Watch,
)
from localprobe.errors import OutOfMemory, UnsupportedModel, UsageError, VectorError

LONGEST = 1e18
"""The longest edit of a residual: the squares in a model's norms stay finite in float32. Beyond it a row turns into
NaN, which in a cache that rows share can reach the others."""


def check_text(what: str, *texts: str) -> None:
    """Raises UsageError if a text holds half a character (a lone surrogate), which no tokenizer takes."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(text[error.start]):04x}"
            raise UsageError(f'{what} holds "{half}", half a character (a lone surrogate): remove it') from error


def check_layer(info: Info, layer: int) -> None:
    """Raises UsageError if the model has no such block."""
    if not 0 <= layer < info.layers:
        raise UsageError(f"layer {layer} is out of range: {info.model} has layers 0 to {info.layers - 1}")


def check_vector(info: Info, vector: FloatArray, what: str = "vector") -> None:
    """Raises VectorError if `vector` cannot be added to, or projected on, this model's residuals."""
    if vector.shape != (info.width,):
        shape = vector.shape[0] if vector.ndim == 1 else vector.shape
        raise VectorError(f"the {what} has width {shape}, but residuals of {info.model} have width {info.width}")
    if not np.isfinite(vector).all():
        raise VectorError(f"the {what} holds NaN or infinity at index {int(np.argmin(np.isfinite(vector)))}")


def check_steering(info: Info, steering: Steering) -> None:
    """Raises UsageError or VectorError if a term cannot be applied by this engine."""
    able = info.capabilities
    check_operators(info, (term.operator for term in steering))
    for term in steering:
        check_layer(info, term.layer)
        if term.coordinates is not None:
            check_coordinates(info, term.coordinates)
        else:
            check_vector(info, term.delta, "steering vector")
            if (length := float(np.linalg.norm(term.delta.astype(np.float64)))) > LONGEST:
                raise UsageError(
                    f"the steering adds a vector of length {length:g}: {LONGEST:g} is the most; lower the dose"
                )
        if term.layer < able.first_layer:
            raise UsageError(
                f"layer {term.layer} cannot be steered by {info.engine}: the lowest that can is {able.first_layer}"
            )
        if term.start < 0 or (term.stop is not None and term.stop < term.start):
            raise UsageError(f"steered positions [{term.start}, {term.stop}) are not a span")
        if not able.span_steering and (term.start, term.stop) != (0, None):
            raise UsageError(f"{info.engine} can only steer all positions: give positions `all`")


def check_operators(info: Info, operators: Iterable[Operator]) -> None:
    """Raises UsageError if this engine lacks one of the operators."""
    able = info.capabilities.operators
    if missing := sorted(set(operators) - set(able)):
        raise UsageError(f"{info.engine} cannot {' or '.join(missing)}, only {', '.join(able)}: use another engine")


def check_coordinates(info: Info, wanted: Coordinates) -> None:
    """Raises UsageError or VectorError for directions that are not orthonormal or do not fit this model, for a share
    outside 0 to 1, and for bounds or a target that no coordinate can have."""
    if wanted.basis.ndim != 2 or not len(wanted.basis):
        raise VectorError(f"the directions to steer along have shape {wanted.basis.shape}, not (k, width)")
    for direction in wanted.basis:
        check_vector(info, direction, "direction to steer along")
    if not np.allclose(wanted.basis @ wanted.basis.T, np.eye(len(wanted.basis)), atol=1e-3):
        raise VectorError("the directions to steer along are not orthonormal: normalise them")
    if wanted.target.shape != (len(wanted.basis),) or not np.isfinite(wanted.target).all():
        raise UsageError(f"the target {wanted.target.tolist()} is not one finite number per direction")
    if not 0 <= wanted.share <= 1:
        raise UsageError(f"the share to ablate is {wanted.share}: give a number from 0 to 1")
    if np.abs(wanted.target).max() > LONGEST:
        raise UsageError(f"the target {wanted.target.tolist()} is beyond {LONGEST:g}: give a smaller one")
    if any(np.isfinite(bound) and abs(bound) > LONGEST for bound in (wanted.low, wanted.high)):
        raise UsageError(f"the bounds [{wanted.low:g}, {wanted.high:g}] are beyond {LONGEST:g}: give smaller ones")
    if not wanted.low <= wanted.high or wanted.low == float("inf") or wanted.high == float("-inf"):
        raise UsageError(f"the bounds [{wanted.low:g}, {wanted.high:g}] hold no number")


def check_rows(info: Info, rows: Sequence[Row], layers: Sequence[int]) -> None:
    """Raises UsageError or VectorError if these are not valid arguments of `Engine.forward`."""
    for layer in layers:
        check_layer(info, layer)
    for row in rows:
        check_ids(info, row.ids)
        check_steering(info, row.steering)
        length = len(row.ids)
        for span in row.spans or ():
            _check_span(span, length)
        for position in row.full:
            _check_position(position, length)
        if row.targets is not None:
            for position, target in row.targets.tolist():
                _check_position(position, length)
                _check_id(info, target)


def check_prompts(info: Info, prompts: Sequence[Prompt], room: int, watch: Sequence[Watch] = ()) -> None:
    """Raises UsageError or VectorError if these are not valid arguments of `Engine.open`, UnsupportedModel if the model
    cannot decode."""
    check_decoding(info)
    if room < 1:
        raise UsageError(f"an answer needs room for at least 1 token, not {room}")
    for watched in watch:
        check_layer(info, watched.layer)
        check_vector(info, watched.vector, "watched vector")
    check_sides(info, prompts)
    for prompt in prompts:
        check_ids(info, prompt.ids, room)
        check_steering(info, prompt.steering)
        check_sampler(prompt.sampler)
        if prompt.top and not info.capabilities.top:
            raise UsageError(f"{info.engine} cannot list the most likely tokens: ask for none, or use another engine")
        if prompt.top < 0:
            raise UsageError(f"cannot list the {prompt.top} most likely tokens: ask for 0 or more")
        if prompt.copies < 1:
            raise UsageError(f"a prompt needs at least 1 copy, not {prompt.copies}")
        if not 0 <= prompt.keep < len(prompt.ids):
            raise UsageError(f"cannot keep {prompt.keep} of {len(prompt.ids)} positions: the last one is run again")


def check_join(info: Info, prompt: Prompt, room: int, reserve: Reserve) -> None:
    """Raises UsageError or VectorError if a prompt cannot join any stream with a reserve of that size."""
    check_prompts(info, [prompt], room)
    length = len(prompt.ids) + room
    if prompt.copies > reserve.rows or length > reserve.tokens:
        raise UsageError(
            f"{prompt.copies} rows of {length} tokens: the stream has memory for {reserve.rows} rows and "
            f"{reserve.tokens} tokens at most"
        )


def check_place(reserve: Reserve, taken: Iterable[int], more: Sequence[int]) -> None:
    """Raises OutOfMemory if a stream has no place for `more` rows or held prefixes, each of so many tokens, beside
    those that are `taken`."""
    lengths = [*taken, *more]
    if len(lengths) > reserve.rows or sum(lengths) > reserve.tokens:
        raise OutOfMemory(
            f"{len(lengths)} rows of {sum(lengths)} tokens in all: the stream was opened for {reserve.rows} rows and "
            f"{reserve.tokens} tokens, so wait until one ends"
        )


def check_side(rope_length: int | None, *, long: bool, prompts: Iterable[Prompt]) -> None:
    """Raises UsageError if a prompt is not on the side of `rope_length` that a stream is for, `long` or not."""
    for prompt in prompts:
        if rope_length is not None and (len(prompt.ids) > rope_length) != long:
            side = "more than" if long else "up to"
            raise UsageError(
                f"this stream is for rows of {side} {rope_length} tokens, which are rotated by other factors: "
                f"a prompt of {len(prompt.ids)} tokens needs another stream"
            )


def check_decoding(info: Info) -> None:
    """Raises UnsupportedModel, with the reason, if this engine cannot decode with the model."""
    if info.capabilities.no_decoding:
        raise UnsupportedModel(only_captured(info.model, info.capabilities.no_decoding))


def only_captured(model: str, reason: str) -> str:
    """What is said of a model that does not decode, for `reason` (`Capabilities.no_decoding`)."""
    return f"{model} {reason}: it can be captured, not decoded"


def check_sides(info: Info, prompts: Sequence[Prompt], held: Sequence[int] = ()) -> None:
    """Raises UsageError if prompts lie on both sides of `info.rope_length`, or if one keeps positions of a row that lay
    on the other side. `held` are the lengths of the rows of the stream to reuse."""
    sides = [info.is_long(len(prompt.ids)) for prompt in prompts]
    why = f"{info.model} rotates texts of more than {info.rope_length} tokens by other factors"
    if sides and any(sides) != all(sides):
        raise UsageError(f"{why}: decode prompts up to that length and longer ones in batches of their own")
    for prompt, side, length in zip(prompts, sides, held, strict=False):
        if prompt.keep and info.is_long(length) != side:
            raise UsageError(f"{why}: of a cache of {length} tokens, a prompt of {len(prompt.ids)} can keep nothing")


def check_growth(rope_length: int | None, lengths: Sequence[int]) -> None:
    """Raises UsageError if running one more token in rows of these `lengths` would take one past `rope_length`, where
    its cached keys no longer hold: `lengths` are the positions run, all on one side."""
    if rope_length is not None and rope_length in lengths:
        raise UsageError(
            f"row {list(lengths).index(rope_length)} holds {rope_length} tokens, and a longer one is rotated by other "
            "factors at every position: open it again with the next token"
        )


def check_ids(info: Info, ids: IntArray, room: int = 0) -> None:
    """Raises UsageError if `ids` are not a valid row for this model with space for `room` more tokens."""
    if ids.ndim != 1 or len(ids) == 0:
        raise UsageError("the text is empty: it has no tokens")
    if int(ids.min()) < 0 or int(ids.max()) >= info.vocabulary:
        _check_id(info, int(ids.min()))
        _check_id(info, int(ids.max()))
    if len(ids) + room > info.context:
        answer = f" and an answer of up to {room}" if room else ""
        raise UsageError(
            f"the text has {len(ids)} tokens{answer}, but {info.model} has a context of {info.context}: shorten it"
        )


def check_prompt_length(info: Info, ids: IntArray) -> None:
    """Raises UsageError if a prompt leaves no room in the model's context for the first token of an answer."""
    if len(ids) >= info.context:
        raise UsageError(f"the prompt has {len(ids)} tokens, and {info.model} holds {info.context}: shorten it")


def check_sampler(sampler: Sampler) -> None:
    """Raises UsageError if a sampling option is out of range."""
    if not (np.isfinite(sampler.temperature) and sampler.temperature >= 0):
        raise UsageError(f"temperature must be 0 or more, not {sampler.temperature}")
    if sampler.top_k < 0:
        raise UsageError(f"top-k must be 0 (keep all) or more, not {sampler.top_k}")
    if not 0 < sampler.top_p <= 1:
        raise UsageError(f"top-p must be above 0 and at most 1, not {sampler.top_p}")
    if not 0 <= sampler.min_p <= 1:
        raise UsageError(f"min-p must be between 0 and 1, not {sampler.min_p}")


def _check_id(info: Info, token: int) -> None:
    if not 0 <= token < info.vocabulary:
        raise UsageError(f"token id {token} is out of range: {info.model} has ids 0 to {info.vocabulary - 1}")


def _check_position(position: int, length: int) -> None:
    if not 0 <= position < length:
        raise UsageError(f"position {position} is out of range: the text has positions 0 to {length - 1}")


def _check_span(span: Span, length: int) -> None:
    start, stop = span
    if not 0 <= start < stop <= length:
        raise UsageError(f"positions [{start}, {stop}) are empty or outside the text, which has {length} tokens")
