"""The torch engine: the contract of `localprobe.engine` on top of a `Network` and a `Vocabulary`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from localprobe.engine import FloatArray, Info, IntArray, Output, Prompt, Row, Stream, Watch
from localprobe.errors import EngineError, UsageError
from localprobe_torch.checks import check_layers, check_prompt, check_row, check_watch
from localprobe_torch.logprobs import LogProbabilities
from localprobe_torch.memory import out_of_memory, release
from localprobe_torch.network import Network
from localprobe_torch.padding import pad, to_host
from localprobe_torch.residuals import Residuals
from localprobe_torch.steering import plan_steering
from localprobe_torch.stream import TorchStream
from localprobe_torch.taps import Plan
from localprobe_torch.tokens import Vocabulary

_FULL = "The batch does not fit into memory: use fewer or shorter rows"


class TorchEngine:
    """A loaded model. Made by `localprobe_torch.backend.load`."""

    def __init__(self, info: Info, network: Network, vocabulary: Vocabulary) -> None:
        self.info = info
        self._network = network
        self._vocabulary = vocabulary

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return self._vocabulary.encode(text, template=template)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return self._vocabulary.decode(ids)

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        network = self._network
        if network.closed:
            raise EngineError("The engine is closed: load the model again")
        check_layers(layers, network)
        for row in rows:
            check_row(row, network)
        if not rows:
            return []
        with out_of_memory(_FULL):
            residuals = Residuals(rows, layers, network.width, network.devices[max(layers, default=0)])
            wanted = LogProbabilities(rows)
            if layers or wanted.count:
                lengths = [len(row.ids) for row in rows]
                adds = plan_steering([row.steering for row in rows], [0] * len(rows), lengths, network.devices)
                last = None if wanted.count else max(layers)
                states = network.forward(
                    pad([row.ids for row in rows], network.device), Plan(adds, residuals.reads(), last)
                )
                if states is not None:
                    wanted.read(states, network)
            means, tokens, targets, full = to_host([*residuals.tensors(), *wanted.tensors(network)])
        return [
            Output(*parts)
            for parts in zip(residuals.outputs(means, tokens), *wanted.outputs(targets, full), strict=True)
        ]

    @torch.inference_mode()
    def open(
        self, prompts: Sequence[Prompt], *, room: int, watch: Sequence[Watch] = (), reuse: Stream | None = None
    ) -> TorchStream:
        network = self._network
        if network.closed:
            raise EngineError("The engine is closed: load the model again")
        if not prompts:
            raise UsageError("There is no prompt to decode from: give at least one")
        if room < 0:
            raise UsageError(f"room={room} is negative: give the number of tokens that a row may grow by")
        check_watch(watch, network)
        for prompt in prompts:
            check_prompt(prompt, network, room)
        return TorchStream(network, prompts, room, watch, _reusable(prompts, reuse, network))

    def close(self) -> None:
        if not self._network.closed:
            self._network.close()
            release()


def _reusable(prompts: Sequence[Prompt], reuse: Stream | None, network: Network) -> TorchStream | None:
    """The old stream, if what the prompts keep is in it."""
    if reuse is None:
        if any(prompt.keep for prompt in prompts):
            raise UsageError("keep needs an earlier stream to reuse")
        return None
    if not isinstance(reuse, TorchStream) or reuse.network is not network:
        raise UsageError("The stream to reuse belongs to another engine")
    if len(prompts) != reuse.rows or any(prompt.copies != 1 for prompt in prompts):
        raise UsageError(f"The stream to reuse has {reuse.rows} rows: give one prompt, without copies, for each")
    for row, (prompt, length) in enumerate(zip(prompts, reuse.lengths, strict=True)):
        if prompt.keep > length:
            raise UsageError(f"Row {row} cannot keep {prompt.keep} positions: its cache holds {length}")
    return reuse
