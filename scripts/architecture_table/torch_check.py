"""The check of one architecture of transformers: a tiny random model, and the torch engine on its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from architecture_table.compare import check_residuals, check_steered, load, save, texts
from architecture_table.extras import NOT_BUILT, TRANSFORMERS
from architecture_table.sizes import HEADS, tiny
from localprobe.engine import FloatArray, LoadOptions, Weights
from localprobe.errors import LocalprobeError
from localprobe_torch import backend
from localprobe_torch.blocks import find_blocks
from localprobe_torch.load import load_engine as _load_engine  # noqa: F401 (imported once, before the copies are made)

_GAIN = 4
"""transformers starts weights so near to zero that every token would be alike."""


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Build the model of `job["name"]` in `job["folder"]`, with its residuals beside it, and check the engine on it."""
    torch.set_num_threads(1)
    if job["name"] in NOT_BUILT:
        return {"result": "not checked", "note": NOT_BUILT[job["name"]]}
    folder = Path(job["folder"])
    with _quiet():
        config = _config(CONFIG_MAPPING[job["name"]], TRANSFORMERS.get(job["name"], {}))
        model = _build(config)
        _write(model, config, folder, job)
        answer = {"text_only": type(model.config) is not type(config)}
        with contextlib.suppress(Exception):  # no stack of hidden states: the engine will say why it refuses
            save(str(folder), _own_residuals(model))
        if job["build"]:
            return {"result": "built", **answer}
        return {**_run(folder, job["name"]), **answer}


def _run(folder: Path, name: str) -> dict[str, Any]:
    try:
        engine = backend.load(Weights(name, folder, "folder", "tiny"), LoadOptions(threads=1))
    except LocalprobeError as error:
        return {"result": "refused", "note": str(error).replace(str(folder), "the folder")}
    if not (folder / "expected.npz").exists():
        return {"result": "FAILED", "note": "loads, but transformers' own hidden states are no stack of its blocks"}
    check_residuals(engine, load(str(folder)), "transformers")
    if engine.info.capabilities.no_decoding:
        return {"result": "captures", "note": engine.info.capabilities.no_decoding}
    check_steered(engine)
    return {"result": "works", "note": ""}


def _build(config: Any) -> Any:
    """A random model in float32. Its class is the one that transformers loads for a causal language model."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    with torch.inference_mode():
        for path, weight in model.named_parameters():
            if weight.ndim > 1 and weight.is_floating_point():
                weight.mul_(_GAIN)
            elif "sinks" in path or path.endswith(("expert_bias", "e_score_correction_bias")):
                weight.normal_(0, 0.1)
    return model


def _config(kind: Any, extras: dict[str, Any]) -> Any:
    """A config of the class `kind` with tiny values; configs inside it likewise. `extras` win."""
    values: dict[str, Any] = {}
    inner = {name: _inner(spec) for name, spec in (getattr(kind, "sub_configs_defaults", None) or {}).items()}
    for field in dataclasses.fields(kind):
        if field.name in inner or field.name.startswith("_") or not field.init:
            continue
        default = field.default if field.default is not dataclasses.MISSING else None
        value = True if field.name == "is_decoder" else tiny(field.name, default)
        if value != default:
            values[field.name] = value
    if values.get("kv_lora_rank"):  # keys are unpacked for every head
        values["num_key_value_heads"] = HEADS
    for name, part in inner.items():
        values[name] = _config(part, extras.get(name, {})).to_dict()
    plain = {name: value for name, value in extras.items() if name not in inner}
    return kind(**values | plain)


def _inner(spec: Any) -> Any:
    """The class of a config inside another, of which some name only the model type."""
    return CONFIG_MAPPING[spec.model_type] if getattr(spec, "model_type", None) else spec.config_class


def _own_residuals(model: Any) -> list[FloatArray]:
    """What transformers computes for each text alone, (layers, n, width) float32: its own hidden states, where it gives
    one after each block; the output of the last block, which it gives only after the final norm, by a plain hook."""
    blocks = find_blocks(model)
    outputs: list[torch.Tensor] = []

    def record(_block: Any, _inputs: Any, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, (tuple, list)) else output)

    hooks = [block.register_forward_hook(record) for block in blocks]
    residuals = []
    for ids in texts():
        outputs.clear()
        with torch.inference_mode():
            states = model(
                input_ids=torch.from_numpy(ids.astype(np.int64))[None], output_hidden_states=True, use_cache=False
            ).hidden_states
        stack = list(outputs)
        if states is not None and len(states) == len(blocks) + 1:
            # They begin with the embeddings, which some models (Mamba) leave out, and end with the final norm's output.
            stack[:-1] = states[:-2] if torch.equal(states[0], outputs[0]) else states[1:-1]
        residuals.append(np.stack([state[0].float().numpy() for state in stack]))
    for hook in hooks:
        hook.remove()
    return residuals


def _write(model: Any, config: Any, folder: Path, job: dict[str, Any]) -> None:
    """The folder as transformers saves it, with the tiny tokenizer; with the whole config, if the model is only the
    text model of a multimodal one."""
    model.save_pretrained(folder)
    if type(model.config) is not type(config):
        config.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    saved["model_type"] = job["name"]  # some are one class under several names
    (folder / "config.json").write_text(json.dumps(saved))
    for file in Path(job["tokenizer"]).iterdir():
        shutil.copy(file, folder / file.name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from localprobe_torch.quiet import quiet

    with quiet():
        yield
