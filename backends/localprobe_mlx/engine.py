"""The MLX engine: a network, a tokenizer, and the one thread that uses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from localprobe.batches import apart
from localprobe.checks import check_decoding, check_sides, only_captured
from localprobe.engine import (
    OPERATORS,
    Capabilities,
    Info,
    IntArray,
    LoadOptions,
    Output,
    Prompt,
    Reserve,
    Row,
    Stream,
    Watch,
    Weights,
)
from localprobe.errors import UsageError
from localprobe_mlx.checkpoint import Checkpoint
from localprobe_mlx.forward import forward
from localprobe_mlx.loading import check_options, find_device, load_model
from localprobe_mlx.memory import Memory, memory_errors
from localprobe_mlx.network import Network
from localprobe_mlx.rope_config import Rope
from localprobe_mlx.stream import MlxStream
from localprobe_mlx.tokenizer import Tokenizer
from localprobe_mlx.versions import device_name, version
from localprobe_mlx.worker import Worker

_UNKNOWN_CONTEXT = 2048


class MlxEngine:
    """A loaded model. See `localprobe.engine.Engine`. Any thread may call it."""

    def __init__(self, weights: Weights, options: LoadOptions) -> None:
        """Raises ModelError or UsageError, leaving nothing loaded."""
        check_options(options)
        device = find_device(options.device)
        self._network: Network | None = None
        self._memory = Memory(device)
        self._worker = Worker(device)
        try:
            self._worker.run(lambda: self._load(weights, options, device))
        except BaseException:
            self._worker.close()
            raise

    def _load(self, weights: Weights, options: LoadOptions, device: Any) -> None:
        checkpoint = Checkpoint(weights.path)
        loaded = load_model(checkpoint, options, self._memory)
        rope = Rope(checkpoint.text_config)
        network = self._network = Network(
            loaded.model, checkpoint.layer_windows(), side=loaded.side, rope_length=rope.length
        )
        self._tokenizer = Tokenizer(weights.path, trust_remote_code=options.trust_remote_code)
        context, notes = _context(checkpoint, rope, network, options.context)
        self.info = Info(
            engine="mlx",
            # it names what makes residuals differ: as mlx-lm computes these, they were others
            version=", ".join([version(), *(f"{part} as in transformers" for part in loaded.corrected)]),
            model=weights.name,
            architecture=checkpoint.architecture,
            layers=network.layers,
            width=network.width,
            vocabulary=network.vocabulary,
            context=context,
            device=device_name(mx, device),
            dtype=loaded.dtype,
            weights=weights.fingerprint,
            quantisation=checkpoint.quantisation,
            chat_template=self._tokenizer.chat_template,
            special_text=self._tokenizer.special_text,
            marks=self._tokenizer.marks,
            template_args=options.template_args,
            bos=self._tokenizer.bos,
            eos=tuple(sorted(checkpoint.eos | self._tokenizer.eos)),
            capabilities=Capabilities(operators=OPERATORS, join=True, top=True, no_decoding=network.no_decoding),
            notes=notes,
            rope_length=rope.length,
        )

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        return self._tokenizer.encode(text, template=template)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        return self._tokenizer.decode(ids)

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        return apart(self.info, rows, lambda part: self._forward(part, layers))

    def _forward(self, rows: Sequence[Row], layers: Sequence[int]) -> list[Output]:
        def run() -> list[Output]:
            network = self._loaded()
            length = max(len(row.ids) for row in rows)
            what, advice = f"a batch of {len(rows)} rows of {length} tokens", "run fewer or shorter rows at a time"
            whole = len(layers) if any(row.spans is None for row in rows) else 0  # residuals kept at every position
            self._memory.check(len(rows) * length * self._position_bytes(length, whole), what, advice)
            with memory_errors(what, advice):
                return forward(network, rows, layers)

        return self._worker.run(run)

    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> Stream:
        check_decoding(self.info)
        if reuse is not None and not isinstance(reuse, MlxStream):
            raise UsageError("an MLX stream can only reuse another MLX stream")
        if prompts:
            check_sides(self.info, prompts, reuse.lengths if reuse else ())

        def prefill() -> MlxStream:
            network = self._loaded()
            with memory_errors(f"a stream of {len(prompts)} prompts", "open fewer rows or less room"):
                return MlxStream(
                    self._worker, network, self._memory, prompts, room=room, watch=watch, reuse=reuse, reserve=reserve
                )

        return self._worker.run(prefill)

    def close(self) -> None:
        if self._network is not None:
            self._worker.run(self._forget)
            self._worker.close()

    def _position_bytes(self, length: int, layers: int) -> int:
        """Approximate bytes per position of a pass: arrays of a block, attention on the CPU, residuals of layers."""
        size = 4 if self.info.dtype == "float32" else 2
        scores = 0 if self._memory.gpu else length * self.info.width // 64  # heads of 64 are usual
        return size * (24 * self.info.width + scores) + 4 * self.info.width * layers

    def _loaded(self) -> Network:
        if self._network is None:
            raise UsageError("this model is closed: load it again")
        return self._network

    def _forget(self) -> None:
        self._network = None
        mx.clear_cache()


def _context(
    checkpoint: Checkpoint, rope: Rope, network: Network, requested: int | None
) -> tuple[int, tuple[str, ...]]:
    """Tokens that a row may hold, and notes if they are fewer than the model's own limit."""
    notes: list[str] = []
    limit = rope.extended(checkpoint.context) if checkpoint.context else _UNKNOWN_CONTEXT
    if checkpoint.window is not None and checkpoint.window < limit and not network.has_windows:
        limit = checkpoint.window
        notes.append(f"mlx-lm has no sliding window for this model, so rows hold at most {limit} tokens here")
    if requested is not None and requested > limit:
        raise UsageError(f"context {requested} is more than the {limit} tokens that this model can hold")
    if network.no_decoding:
        notes.append(only_captured("this model", network.no_decoding))
    elif not network.batches:
        notes.append("mlx-lm cannot batch answers of different length for this model: they are decoded one by one")
    return requested or limit, tuple(notes)
