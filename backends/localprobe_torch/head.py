"""Logits of selected positions by the model's own head, including its scaling and soft-capping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from localprobe.errors import UnsupportedModel

_CHUNK = 2**26  # logits computed at a time: 256 MB as float32


class Head:
    """Turns final hidden states into logits.

    A causal language model of transformers is a decoder followed by a head. The decoder is run separately, so that the
    head runs only on the requested positions: while the model's own `forward` runs, that of the decoder is replaced by
    one that returns their hidden states.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.decoder = find_decoder(model)
        self.kind: Any = None
        """The type that the decoder returns, set by its first run."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocabulary) float32 of hidden states (n, width)."""
        output = (hidden[None],) if self.kind is tuple else self.kind(last_hidden_state=hidden[None])
        ids = torch.zeros(1, len(hidden), dtype=torch.int64, device=hidden.device)
        own = self.decoder.__dict__.get("forward")  # set by accelerate
        self.decoder.forward = lambda *_args, **_kwargs: output
        try:
            return self._model(input_ids=ids, use_cache=False).logits[0].float()  # type: ignore[no-any-return]
        finally:
            del self.decoder.forward
            if own is not None:
                self.decoder.forward = own

    def chunks(self, hidden: Tensor, vocabulary: int) -> Iterator[tuple[slice, Tensor]]:
        """The same in parts, to limit memory."""
        step = max(_CHUNK // vocabulary, 1)
        for start in range(0, len(hidden), step):
            part = slice(start, min(start + step, len(hidden)))
            yield part, self(hidden[part])


def find_decoder(model: Any) -> Any:
    """The text decoder inside of a causal language model, without the towers of a multimodal one.

    Raises UnsupportedModel if it is not separate from the head.
    """
    for decoder in (model.get_decoder(), model.base_model, getattr(model, "model", None)):
        if isinstance(decoder, PreTrainedModel) and decoder is not model:
            return decoder
    raise UnsupportedModel(f"{type(model).__name__} does not keep its decoder apart from its head")
