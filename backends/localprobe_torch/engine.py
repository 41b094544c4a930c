"""The torch engine: the contract of `localprobe.engine` on top of a `Network` and a `Vocabulary`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from localprobe.batches import apart
from localprobe.checks import check_prompts, check_rows, check_sides
from localprobe.engine import Info, IntArray, Output, Prompt, Reserve, Row, Stream, Watch
from localprobe.errors import UsageError
from localprobe.models.tokens import Vocabulary
from localprobe_torch.batch import BatchStream
from localprobe_torch.joining import JoinStream
from localprobe_torch.logprobs import LogProbabilities
from localprobe_torch.memory import out_of_memory, release
from localprobe_torch.network import Network
from localprobe_torch.residuals import Residuals
from localprobe_torch.rows import pad, to_host
from localprobe_torch.steering import plan_steering
from localprobe_torch.taps import Plan

_FULL = "the batch does not fit into memory: use fewer or shorter rows"


class TorchEngine:
    """A loaded model. Made by `TorchBackend.load`."""

    def __init__(self, info: Info, network: Network, vocabulary: Vocabulary) -> None:
        self._info = info
        self._network = network
        self._vocabulary = vocabulary

    @property
    def info(self) -> Info:
        return self._info

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return self._vocabulary.encode(text, template=template)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return self._vocabulary.decode(ids)

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        check_rows(self.info, rows, layers)
        return apart(self.info, rows, lambda part: self._forward(part, layers))

    def _forward(self, rows: Sequence[Row], layers: Sequence[int]) -> list[Output]:
        network = self._network
        with out_of_memory(_FULL):
            residuals = Residuals(rows, layers, network.width, network.devices[max(layers, default=0)])
            logprobs = LogProbabilities(rows)
            if layers or logprobs.count:
                lengths = [len(row.ids) for row in rows]
                adds = plan_steering([row.steering for row in rows], [0] * len(rows), lengths, network.devices)
                plan = Plan(adds, residuals.reads(), None if logprobs.count else max(layers))
                states = network.forward(pad([row.ids for row in rows], network.device), plan)
                if states is not None:
                    logprobs.read(states, network)
            means, tokens, targets, full = to_host([*residuals.tensors(), *logprobs.tensors(network)])
        parts = zip(residuals.outputs(means, tokens), *logprobs.outputs(targets, full), strict=True)
        return [Output(*part) for part in parts]

    @torch.inference_mode()
    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> BatchStream | JoinStream:
        check_prompts(self.info, prompts, room, watch)
        if reserve is None:
            return BatchStream(self._network, prompts, room, watch, self._reusable(prompts, reuse))
        if reuse is not None:
            raise UsageError("a stream that rows can join begins anew: give `reserve` or `reuse`, not both")
        return JoinStream(self._network, self.info, prompts, room, watch, reserve)

    def close(self) -> None:
        if not self._network.closed:
            self._network.close()
            release()

    def _reusable(self, prompts: Sequence[Prompt], reuse: Stream | None) -> BatchStream | None:
        """The stream to reuse, after checking that it holds what the prompts keep."""
        if not prompts:
            raise UsageError("there is no prompt to decode from: give at least one")
        if reuse is None:
            if any(prompt.keep for prompt in prompts):
                raise UsageError("positions can only be kept with an earlier stream to reuse")
            return None
        if not isinstance(reuse, BatchStream) or reuse.network is not self._network:
            raise UsageError("the stream to reuse belongs to another engine, or was opened with `reserve`")
        lengths = reuse.lengths
        if len(prompts) != len(lengths) or any(prompt.copies != 1 for prompt in prompts):
            raise UsageError(f"the stream to reuse has {len(lengths)} rows: give one prompt, without copies, for each")
        check_sides(self.info, prompts, lengths)
        for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
            if prompt.keep > length:
                raise UsageError(f"row {row} cannot keep {prompt.keep} positions: its cache holds {length}")
        return reuse
