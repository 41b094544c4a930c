"""Runs in a process of its own: logits and residuals of folders, by mlx-lm. Arguments: ids as JSON, output, folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.models.base import create_attention_mask
from mlx_lm.utils import load

mx.set_default_device(mx.cpu)


def main(ids: list[int], output: str, folders: list[str]) -> None:
    found = {}
    for folder in folders:
        model, _ = load(folder)
        row = mx.array([ids])
        found[Path(folder).parent.name] = np.array(model(row)[0].astype(mx.float32))
        if model.model_type == "llama":
            hidden = model.model.embed_tokens(row)
            mask = create_attention_mask(hidden, None)
            residuals = []
            for layer in model.model.layers:
                hidden = layer(hidden, mask)
                residuals.append(np.array(hidden[0].astype(mx.float32)))
            found[f"{Path(folder).parent.name} residuals"] = np.stack(residuals)
    np.savez(output, allow_pickle=False, **found)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:])
