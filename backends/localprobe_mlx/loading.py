"""Loading a model folder into a network and a tokenizer, with one-line errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path

from localprobe.engine import LoadOptions
from localprobe.errors import CorruptFile, UnsupportedModel, UsageError, first_line
from localprobe_mlx.activations import correct_activation
from localprobe_mlx.checkpoint import Checkpoint, Config
from localprobe_mlx.corrections import correct_architecture
from localprobe_mlx.dialect import config_for_mlx
from localprobe_mlx.experts import NAMES, apart
from localprobe_mlx.fields import FOREIGN, fields_for_mlx, overrides
from localprobe_mlx.memory import Memory, memory_errors
from localprobe_mlx.rope import Side, correct_rope

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
_ADVICE = "take a smaller or a quantised model, or close other programs"


def check_options(options: LoadOptions) -> None:
    """Raises UsageError for an option that MLX does not support."""
    if options.quantise is not None:
        raise UsageError(
            f"MLX does not quantise while loading ({options.quantise}): take a folder of MLX 4-bit weights"
        )
    if options.gpu_layers is not None:
        raise UsageError("gpu_layers is an option of llama.cpp: MLX puts the whole model on one device")
    if options.threads is not None:
        raise UsageError("MLX chooses its own threads: leave threads out (OMP_NUM_THREADS sets those of OpenBLAS)")
    if options.low_memory:
        raise UsageError("low_memory is an option of llama.cpp: with MLX, take a folder of 4-bit weights")
    if options.dtype is not None and options.dtype not in DTYPES:
        raise UsageError(f"dtype {options.dtype!r} is none of {', '.join(DTYPES)}")
    if options.context is not None and options.context < 1:
        raise UsageError(f"context must be at least 1 token, not {options.context}")


def find_device(name: str | None) -> Any:
    """The `mx.Device` of `cpu` or `gpu`; None takes the best one. Raises UsageError if there is no such device."""
    if name is None:
        return mx.Device(mx.gpu if mx.is_available(mx.gpu) else mx.cpu)
    if name not in ("cpu", "gpu"):
        raise UsageError(f"MLX has no device {name!r}: choose cpu or gpu")
    if name == "gpu" and not mx.is_available(mx.gpu):
        raise UsageError("MLX finds no GPU on this machine: leave the device out, or choose cpu")
    return mx.Device(mx.gpu if name == "gpu" else mx.cpu)


class Loaded(NamedTuple):
    """An mlx-lm model with its weights in memory."""

    model: Any
    dtype: str
    """The name of the type that it computes in."""
    side: Side | None
    """The switch of its RoPE between short and long rows, None if that is mlx-lm's own."""
    corrected: tuple[str, ...]
    """What it computes otherwise than mlx-lm does: its residuals are others."""


def load_model(checkpoint: Checkpoint, options: LoadOptions, memory: Memory) -> Loaded:
    """Load a folder. Raises ModelError, UsageError or OutOfMemory."""
    if checkpoint.config.get("model_file") and not options.trust_remote_code:
        raise UsageError(
            f"{checkpoint.path} brings Python code of its own ({checkpoint.config['model_file']}): "
            "load it with trust_remote_code only if you trust its author"
        )
    if checkpoint.architecture == "gpt2" and checkpoint.config.get("tie_word_embeddings") is False:
        raise UnsupportedModel(
            f"{checkpoint.path} has an unembedding of its own, and mlx-lm takes GPT-2's embedding for it: "
            "use another engine"
        )
    model = _build(checkpoint, options.trust_remote_code)
    side = correct_rope(model, checkpoint.text_config)
    activation = correct_activation(model, checkpoint.text_config)
    architecture = correct_architecture(model, checkpoint.text_config)
    parameters = tree_flatten(model.parameters())
    dtype = _choose_dtype(checkpoint, options.dtype, parameters, memory.gpu)
    _cast(model, DTYPES[dtype])
    memory.check_total(sum(array.nbytes for _, array in tree_flatten(model.parameters())), "the model", _ADVICE)
    if memory.gpu and (limit := mx.device_info().get("max_recommended_working_set_size")):
        mx.set_wired_limit(int(limit))  # else macOS pages a large model out between two steps
    with memory_errors("the model", _ADVICE), _torn_files(checkpoint):
        mx.eval(model.parameters())
    corrected = {"RoPE": side is not None, "activation": activation, architecture: bool(architecture)}
    return Loaded(model, dtype, side, tuple(name for name, changed in corrected.items() if changed))


def _build(checkpoint: Checkpoint, trust: bool) -> Any:
    """The model, with its weights still on disk."""
    from mlx_lm import utils

    def classes(config: Config) -> tuple[type, type]:
        model, arguments = utils._get_classes(config)
        return _translated(_without_prefix(model), checkpoint.architecture), arguments

    try:
        with _torn_files(checkpoint):
            model, _ = utils.load_model(
                checkpoint.path,
                lazy=True,
                model_config=_config(checkpoint),
                get_model_classes=classes,
                trust_remote_code=trust,
            )
    except (CorruptFile, UnsupportedModel):
        raise
    except (Exception, SystemExit) as problem:  # mlx-lm's Olmo ends the process if a package is missing
        what = f"mlx-lm cannot load {checkpoint.path} ({checkpoint.architecture})"
        foreign = FOREIGN.get(checkpoint.architecture)
        raise UnsupportedModel(f"{what}: {f'{foreign}; use another engine' if foreign else _told(problem)}") from None
    return model


def _told(problem: BaseException) -> str:
    """The first line of an error; of one that goes on with names of weights, the first of them too."""
    lines = [line.strip().rstrip(",.") for line in str(problem).splitlines() if line.strip()]
    return " ".join(lines[:2]) if lines and lines[0].endswith(":") else first_line(problem)


def _config(checkpoint: Checkpoint) -> Config:
    """Changes to the checkpoint's config that mlx-lm needs."""
    fields, changes = fields_for_mlx(checkpoint), config_for_mlx(checkpoint) | overrides(checkpoint)
    if inner := fields.get("text_config"):  # both hold the whole of it, changed
        own = checkpoint.text_config
        changes["text_config"] = inner | {k: v for k, v in changes["text_config"].items() if v != own.get(k)}
    return fields | changes


def _translated(model: type, architecture: str) -> type:
    """The model's class, which takes experts that transformers 5 keeps joined."""
    plain: Callable[..., Config] | None = getattr(model, "sanitize", None)
    if plain is None or architecture not in {*NAMES, "gpt_oss", "kimi_linear"}:
        return model

    def sanitize(self: Any, weights: Config) -> Config:
        return plain(self, apart(architecture, weights))

    return type(model.__name__, (model,), {"sanitize": sanitize})


def _without_prefix(model: type) -> type:
    """GPT-2 saved by transformers names its tensors `transformer.h.0...`, where mlx-lm expects `h.0...`."""
    if not model.__module__.endswith(".gpt2"):
        return model
    plain: Callable[..., Config] = model.sanitize  # type: ignore[attr-defined]

    def sanitize(self: Any, weights: Config) -> Config:
        own = {name.removeprefix("transformer."): array for name, array in weights.items()}
        return plain(self, {name: array for name, array in own.items() if name != "lm_head.weight"})

    return type(model.__name__, (model,), {"sanitize": sanitize})


class _torn_files:  # noqa: N801 (used as a context)
    """Context that names the model if MLX cannot read its weights."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._path = checkpoint.path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, RuntimeError) and "safetensors" in str(problem):
            raise CorruptFile(f"the weights in {self._path} cannot be read ({problem}): fetch them again") from None


def _choose_dtype(checkpoint: Checkpoint, requested: str | None, parameters: list[Any], gpu: bool) -> str:
    """float32 on the CPU, where it is fastest; else the checkpoint's own. Never float16 for a Gemma."""
    gemma = "gemma" in checkpoint.architecture
    if requested == "float16" and gemma:
        raise UsageError("residuals of a Gemma overflow in float16: choose bfloat16 or float32")
    if requested or not gpu:
        return requested or "float32"
    sizes: Counter[str] = Counter()
    for _, array in parameters:
        sizes[str(array.dtype).removeprefix("mlx.core.")] += array.size
    own = [name for name, _ in sizes.most_common() if name in DTYPES]
    if not own or (own[0] == "float16" and gemma):
        return "bfloat16"
    return own[0]


def _cast(model: Any, dtype: Any) -> None:
    """Cast floating-point parameters, except those that the model excludes."""
    casts = getattr(model, "cast_predicate", lambda path: True)

    def cast(path: str, array: mx.array) -> mx.array:
        return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) and casts(path) else array

    model.update(tree_map_with_path(cast, model.parameters()))
