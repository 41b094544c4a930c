"""The check of one architecture of mlx-lm: the MLX engine on a folder of transformers, or on one of mlx-lm's own."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import MODEL_REMAPPING

from architecture_table import compare
from architecture_table.extras import MLX, NOT_BUILT, WRAPPED
from architecture_table.sizes import SIZES, tiny
from localprobe.engine import FloatArray, LoadOptions, Weights
from localprobe.errors import LocalprobeError
from localprobe_mlx import backend
from localprobe_mlx import engine as _engine  # noqa: F401 (imported once, before the copies are made)

_TEXT = ("TextArgs", "TextConfig", "TextModelArgs", "ModelArgs")
_REQUIRED = {"rms_norm_eps": 1e-5, "layer_norm_eps": 1e-5, "norm_eps": 1e-5, "layer_norm_epsilon": 1e-5}
_REQUIRED |= {"rope_theta": 10_000.0, "rotary_pct": 1.0, "rotary_emb_base": 10_000, "hidden_act": "silu"}


def check(job: dict[str, Any]) -> dict[str, Any]:
    """Check the engine on `job["folder"]`, which holds a model of transformers unless `job["native"]`."""
    folder = Path(job["folder"])
    if job["native"] and job["name"] in NOT_BUILT:
        return {"result": "not checked", "note": NOT_BUILT[job["name"]]}
    if job["native"]:
        expected, library = _write(job["name"], folder, Path(job["tokenizer"])), "mlx-lm"
    else:
        expected, library = compare.load(str(folder)), "transformers"
    try:
        engine = backend.load(Weights(job["name"], folder, "folder", "tiny"), LoadOptions())
    except LocalprobeError as error:
        return {"result": "refused", "note": str(error).replace(str(folder), "the folder")}
    compare.check_residuals(engine, expected, library)
    if engine.info.capabilities.no_decoding:
        return {"result": "captures", "note": engine.info.capabilities.no_decoding}
    compare.check_steered(engine)
    return {"result": "works", "note": ""}


def _write(name: str, folder: Path, tokenizer: Path) -> list[FloatArray]:
    """A random model of mlx-lm as a folder, and its residuals of each text alone, (layers, n, width) float32."""
    module = importlib.import_module(f"mlx_lm.models.{MODEL_REMAPPING.get(name, name)}")
    config = _config(name, module)
    mx.random.seed(0)
    model = module.Model(module.ModelArgs.from_dict(config))
    model.update(tree_map_with_path(_random, model.parameters()))
    mx.eval(model.parameters())
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config))
    for file in tokenizer.iterdir():
        shutil.copy(file, folder / file.name)
    try:
        return [_own_residuals(model, ids.tolist()) for ids in compare.texts()]
    except (AttributeError, ValueError):  # blocks that are not called, or not all by one name: the engine says so
        return []


def _config(name: str, module: Any) -> dict[str, Any]:
    """The config of a tiny model, that of its text model inside it if the architecture is a multimodal one."""
    if "text_config" not in {field.name for field in dataclasses.fields(module.ModelArgs)}:
        return {**_values(module.ModelArgs), **MLX.get(name, {}), "model_type": name}
    inner = WRAPPED.get(name)
    if inner is not None:
        module = importlib.import_module(f"mlx_lm.models.{inner}")
    text = _values(next(getattr(module, kind) for kind in _TEXT if hasattr(module, kind)))
    text |= {"model_type": inner or text.get("model_type", name), **MLX.get(inner or name, {}), **MLX.get(name, {})}
    return {"model_type": name, "vocab_size": text["vocab_size"], "text_config": text}


def _random(path: str, array: mx.array) -> mx.array:
    """Matrices of random numbers that keep a vector's length about as it is; vectors as mlx-lm starts them."""
    if array.ndim < 2 or not mx.issubdtype(array.dtype, mx.floating):
        return array
    return mx.random.normal(array.shape, scale=1.0 if "embed" in path else 1.2 * array.shape[-1] ** -0.5)


def _values(kind: Any) -> dict[str, Any]:
    """Tiny values of the fields of a ModelArgs; those with a default only if it is a size."""
    values: dict[str, Any] = {}
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if not required:
            default = field.default if field.default is not dataclasses.MISSING else None
            if (value := tiny(field.name, default)) != default:
                values[field.name] = value
        elif field.name in SIZES:
            values[field.name] = SIZES[field.name]
        elif field.name in _REQUIRED:
            values[field.name] = _REQUIRED[field.name]
        else:
            values[field.name] = _plain(hints[field.name])
    return values


def _plain(kind: Any) -> Any:
    """A value of the type of a field that must be given and is no size."""
    return {bool: False, float: 1.0, int: 2, str: "silu"}.get(kind)


def _own_residuals(model: Any, ids: Sequence[int]) -> FloatArray:
    """What each block gives when mlx-lm runs a text by itself, with its own cache."""
    blocks = model.layers
    outputs: list[mx.array] = []
    classes = [type(block) for block in blocks]
    for block in blocks:
        block.__class__ = _recording(type(block), outputs)
    try:
        model(mx.array([ids]), cache=make_prompt_cache(model))
    finally:
        for block, kind in zip(blocks, classes, strict=True):
            block.__class__ = kind
    return np.stack([np.array(output[0].astype(mx.float32)) for output in outputs])


def _recording(kind: type[nn.Module], outputs: list[mx.array]) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = kind.__call__(self, *args, **kwargs)
        outputs.append(out[0] if isinstance(out, tuple) else out)
        return out

    return type(kind.__name__, (kind,), {"__call__": call})
