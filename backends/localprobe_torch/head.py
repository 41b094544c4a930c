"""Logits of chosen positions, by the model's own head: projection, scaling and soft-capping as it does them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from localprobe.errors import UnsupportedModel

_CHUNK = 2**26  # floats of logits made at a time: 256 MB


class Head:
    """Turns final hidden states into logits.

    A causal language model of transformers is a decoder and, after it, a head. The decoder is run apart, so that the
    head sees the positions that are wanted and no others: its `forward` is swapped for one that returns their hidden
    states while the model's own `forward` runs.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.decoder = find_decoder(model)
        self.kind: Any = None
        """The type that the decoder returns, known once it has run."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocabulary) float32 of hidden states (n, width)."""
        output = (hidden[None],) if self.kind is tuple else self.kind(last_hidden_state=hidden[None])
        ids = torch.zeros(1, len(hidden), dtype=torch.int64, device=hidden.device)
        own = self.decoder.__dict__.get("forward")  # accelerate puts one there
        self.decoder.forward = lambda *_args, **_kwargs: output
        try:
            return self._model(input_ids=ids, use_cache=False).logits[0].float()  # type: ignore[no-any-return]
        finally:
            del self.decoder.forward
            if own is not None:
                self.decoder.forward = own

    def chunks(self, hidden: Tensor, vocabulary: int) -> Iterator[tuple[slice, Tensor]]:
        """The same a part at a time, where all positions at once would take too much memory."""
        step = max(_CHUNK // vocabulary, 1)
        for start in range(0, len(hidden), step):
            part = slice(start, min(start + step, len(hidden)))
            yield part, self(hidden[part])


def find_decoder(model: Any) -> Any:
    """The text decoder inside of a causal language model, without the towers of a multimodal one.

    Raises UnsupportedModel if there is none apart from the head.
    """
    for decoder in (model.get_decoder(), model.base_model, getattr(model, "model", None)):
        if isinstance(decoder, PreTrainedModel) and decoder is not model:
            return decoder
    raise UnsupportedModel(f"{type(model).__name__} does not keep its decoder apart from its head")
