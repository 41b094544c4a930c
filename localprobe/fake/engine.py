"""The fake engine: the verbs of the contract over a small transformer. The simplest example of an engine.

It runs one row after another, without padding or masks; a real engine runs its rows as one batch. It does not check
ids, layers, spans or shapes, because `localprobe.checks` does so before an engine is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from localprobe.checks import check_decoding
from localprobe.engine import (
    OPERATORS,
    Capabilities,
    FloatArray,
    Info,
    IntArray,
    Output,
    Prompt,
    Reserve,
    Row,
    Steering,
    Stream,
    Watch,
)
from localprobe.errors import UsageError
from localprobe.fake import tokenizer
from localprobe.fake.stream import LONG_BASE, FakeStream
from localprobe.fake.transformer import BASE, CONTEXT, LAYERS, WIDTH, Cache, Transformer
from localprobe.sampling import log_softmax

Fault: TypeAlias = Literal["steering ignored", "decode unsteered"]


class FakeEngine:
    """A loaded fake model.

    `capabilities` simulates an engine that supports less; `delay` (seconds) slows every decode step; `fault` simulates
    one of two silent failures that real engines have had, so that tests can show that the canary and the contract suite
    catch them. With `rope_length`, longer rows are rotated by other factors.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        seed: int = 0,
        context: int = CONTEXT,
        capabilities: Capabilities = Capabilities(operators=OPERATORS, join=True, top=True),
        delay: float = 0.0,
        fault: Fault | None = None,
        template_args: tuple[str, ...] = (),
        rope_length: int | None = None,
    ) -> None:
        self._model = Transformer(seed)
        self._delay = delay
        self._fault = fault
        self.info = Info(
            engine="fake",
            version=f"numpy {np.__version__}",
            model=name,
            architecture="fake",
            layers=LAYERS,
            width=WIDTH,
            vocabulary=tokenizer.VOCABULARY,
            context=context,
            device="cpu",
            dtype="float32",
            weights=self._model.fingerprint(),
            chat_template=tokenizer.CHAT_TEMPLATE,
            special_text={"bos_token": "<|bos|>", "eos_token": "<|eos|>"},
            marks=tuple(tokenizer.SPECIALS),
            template_args=template_args,
            bos=tokenizer.BOS,
            eos=(tokenizer.EOS, tokenizer.TURN_END),
            capabilities=capabilities,
            rope_length=rope_length,
        )

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return tokenizer.encode(text, template=template)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return tokenizer.decode(ids)

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        self._refuse_unable(row.steering for row in rows)
        return [self._forward_row(row, layers) for row in rows]

    def _forward_row(self, row: Row, layers: Sequence[int]) -> Output:
        scored = row.targets is not None or row.full
        # Without log-probabilities, the blocks above the deepest requested layer are not needed.
        depth = LAYERS if scored or not self.info.capabilities.early_stop else max(layers, default=-1) + 1
        steering = () if self._fault == "steering ignored" else row.steering
        cache = self._cache(len(row.ids), len(row.ids))
        residuals = self._model.run(row.ids, cache, steering, depth)  # (depth, n, width)

        outputs = residuals[list(layers)]  # (layers, n, width)
        if row.spans is not None:
            means = [outputs[:, start:stop].mean(axis=1) for start, stop in row.spans]
            outputs = np.stack(means, axis=1) if means else outputs[:, :0]  # (layers, spans, width)

        targets = np.zeros((0, 2), np.int32) if row.targets is None else row.targets
        # The head is by far the widest matrix of a real model: run it only at the requested positions.
        return Output(
            residuals=outputs,
            targets=self._logprobs(residuals, targets[:, 0])[np.arange(len(targets)), targets[:, 1]],
            full=self._logprobs(residuals, np.array(row.full, dtype=np.int32)),
        )

    def _logprobs(self, residuals: FloatArray, positions: IntArray) -> FloatArray:
        """Next-token log-probabilities (k, vocabulary) at `positions` (k,)."""
        if not len(positions):
            return np.zeros((0, tokenizer.VOCABULARY), np.float32)
        return log_softmax(self._model.logits(residuals[-1, positions]))

    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> FakeStream:
        check_decoding(self.info)
        if reserve and not self.info.capabilities.join:
            raise UsageError("rows cannot join a stream of this engine: open without `reserve`")
        self._refuse_unable(prompt.steering for prompt in prompts)
        if reuse is None:
            caches = [self._cache(len(prompt.ids), len(prompt.ids) + room) for prompt in prompts]
        elif not self.info.capabilities.reuse or not isinstance(reuse, FakeStream):
            raise UsageError("this engine cannot reuse an earlier stream: open without `reuse`")
        else:
            caches = reuse.take_caches(prompts, room)
        return FakeStream(
            self._model,
            prompts,
            caches,
            watch,
            room=room,
            reserve=reserve,
            delay=self._delay,
            fault=self._fault,
            rope_length=self.info.rope_length,
        )

    def close(self) -> None:
        """Nothing to free."""

    def _cache(self, length: int, capacity: int) -> Cache:
        """An empty cache for a row that begins with `length` tokens."""
        return Cache(capacity, LONG_BASE if self.info.is_long(length) else BASE)

    def _refuse_unable(self, steerings: Iterable[Steering]) -> None:
        """Raise for what the capabilities exclude; the core should never request it."""
        able = self.info.capabilities
        distinct = {tuple((t.layer, t.content, t.start, t.stop) for t in steering): steering for steering in steerings}
        if len(distinct) > 1 and not able.row_steering:
            raise UsageError("this engine steers all rows of a batch alike: make one batch per steering")
        for term in (term for steering in distinct.values() for term in steering):
            if term.layer < able.first_layer:
                raise UsageError(f"layer {term.layer} cannot be steered here: the first that can is {able.first_layer}")
            if (term.start, term.stop) != (0, None) and not able.span_steering:
                raise UsageError("this engine can only steer all positions: give positions `all`")
            if term.operator not in able.operators:
                raise UsageError(f"this engine cannot {term.operator}: it can {', '.join(able.operators)}")
