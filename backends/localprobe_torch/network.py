"""A loaded network, run with taps after its blocks, with or without a cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from localprobe.errors import EngineError
from localprobe_torch.head import Head
from localprobe_torch.kv import ColumnCache, Frame
from localprobe_torch.memory import check_room
from localprobe_torch.taps import Plan, Taps


class Network:
    """The decoder, its blocks and its head. Used under `torch.inference_mode`, by one thread at a time."""

    def __init__(self, model: Any, blocks: Sequence[nn.Module], context: int, rope_length: int | None = None) -> None:
        config = model.config.get_text_config(decoder=True)
        self.head = Head(model)
        self.device = _device(model.get_input_embeddings(), torch.device("cpu"))
        """Device of the ids."""
        self.devices = [_device(block, self.device) for block in blocks]
        """Device of the residual of each layer."""
        self.dtype: torch.dtype = model.dtype
        self.width: int = config.hidden_size
        self.layers = len(blocks)
        self.vocabulary: int = getattr(model.get_output_embeddings(), "out_features", None) or config.vocab_size
        """Length of a row of logits."""
        self.context = context
        """Maximum number of positions of a row."""
        self.rope_length = rope_length
        """Rows of more tokens are rotated by other factors: transformers chooses by the last position of a pass."""
        self.column_bytes: dict[torch.device, int] = {}
        """Bytes of the KV cache per position of a row, on each device."""
        for device, own in zip(self.devices, _by_layer(config, self.layers), strict=True):
            self.column_bytes[device] = self.column_bytes.get(device, 0) + 2 * _key_width(own) * self.dtype.itemsize
        self.closed = False
        self._taps = Taps(blocks)
        self._cache_word = _cache_word(self.head.decoder)
        self._takes_positions = _takes_positions(self.head.decoder)

    def forward(self, ids: Tensor, plan: Plan) -> Tensor | None:
        """Run right-padded `ids` (rows, columns) without a cache.

        Attention is causal, so padding on the right needs no mask. Rows are on one side of `rope_length`. Returns the
        hidden states after the final norm (rows, columns, width), or None if `plan` ended the pass early.
        """
        places = {}
        if self._takes_positions:
            places["position_ids"] = torch.arange(ids.shape[1], device=ids.device)[None]  # (1, columns)
        return self._run(plan, input_ids=ids, use_cache=False, **places)

    def extend(
        self,
        ids: Tensor,
        frame: Frame,
        cache: ColumnCache,
        plan: Plan,
        longest: int | None = None,
        *,
        long: bool = False,
    ) -> Tensor:
        """Run `ids` (rows, columns) at the places given by `frame`, and store their keys and values in `cache`.

        `longest` is the length of the longest row after the pass, without padding; None for any. With `long` the last
        column is padding, and the pass is rotated as one of rows beyond `rope_length`. Returns the hidden states after
        the final norm (rows, columns, width).
        """
        cache.place(frame)
        # positions beyond are padding: they may have no embedding, and do not make short rows long ones
        positions = frame.positions.clamp(max=(longest or self.context) - 1)
        if long:
            assert self.rope_length is not None
            positions[:, -1] = self.rope_length
        with frame.masked():
            kept = {self._cache_word: cache}
            states = self._run(plan, input_ids=ids, position_ids=positions, use_cache=True, **kept)
        assert states is not None
        return states

    def _run(self, plan: Plan, **inputs: Any) -> Tensor | None:
        self.check_open()
        output = None
        with self._taps.following(plan):
            output = self.head.decoder(**inputs)
        if output is None:
            return None
        self.head.kind = type(output)
        return output[0]  # type: ignore[no-any-return]

    def check_columns(self, count: int, what: str) -> None:
        """Raise OutOfMemory, whose message `what` starts, if a cache of `count` more positions does not fit."""
        for device, size in self.column_bytes.items():
            check_room(count * size, device, what)

    def check_open(self) -> None:
        """Raise EngineError once the engine is closed: without its hooks a pass would not be steered."""
        if self.closed:
            raise EngineError("the engine is closed: load the model again")

    def close(self) -> None:
        """Remove the hooks and release the weights."""
        if not self.closed:
            self.closed = True
            self._taps.remove()
            del self.head


def _cache_word(decoder: nn.Module) -> str:
    """The name of a decoder's cache argument: `cache` since transformers 5.24, which warns about the earlier name."""
    return "cache" if "cache" in inspect.signature(decoder.forward).parameters else "past_key_values"


def _takes_positions(decoder: nn.Module) -> bool:
    """Whether a decoder takes explicit positions. One that does not, such as RWKV or XLNet, counts from 0 itself."""
    parameters = inspect.signature(decoder.forward).parameters.values()
    return any(taken.name == "position_ids" or taken.kind is taken.VAR_KEYWORD for taken in parameters)


def _device(block: nn.Module, default: torch.device) -> torch.device:
    """The device a block runs on; accelerate may keep its weights elsewhere."""
    placed = getattr(getattr(block, "_hf_hook", None), "execution_device", None)
    if placed is not None:
        return torch.device(placed if not isinstance(placed, int) else f"cuda:{placed}")
    weights = next(block.parameters(), None)
    return default if weights is None or weights.device.type == "meta" else weights.device


def _by_layer(config: Any, layers: int) -> list[Any]:
    """The config of each layer: in some models, such as Gemma 4, layers have heads of unequal size."""
    own = getattr(config, "per_layer_config", None)
    return list(own) if own is not None and len(own) == layers else [config] * layers


def _key_width(config: Any) -> int:
    """Elements in the keys of one position and layer; an estimate if the config does not specify it."""
    heads = getattr(config, "num_attention_heads", None) or 1
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(size * (getattr(config, "num_key_value_heads", None) or heads))
