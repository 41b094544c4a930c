"""Run as a script: what transformers makes of tiny folders. A process of its own, so that mlx need not share one.

    python tiny_logits.py FOLDER...

Writes `logits.npz` (ids, logits) into each folder, and fails on any tensor that is missing or not used.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from localprobe.testing.texts import TEXTS

torch.set_num_threads(1)
for argument in sys.argv[1:]:
    folder = Path(argument)
    model, loaded = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    if unmatched := {key: names for key, names in loaded.items() if names}:
        sys.exit(f"{folder.name}: {unmatched}")
    ids = AutoTokenizer.from_pretrained(folder)(TEXTS[2]).input_ids
    with torch.no_grad():
        output = model(torch.tensor([ids]), output_hidden_states=True)
    sizes = [float(hidden.square().mean().sqrt()) for hidden in output.hidden_states[1:-1]]
    np.savez(folder / "logits.npz", ids=ids, logits=output.logits[0].numpy(), sizes=sizes)
