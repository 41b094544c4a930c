"""A model's config.json: whether transformers can run it as a causal language model, and how long a row may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, UnsupportedModel, UsageError, first_line
from localprobe.models.checkpoint import read_json

_UNKNOWN = 2048
"""The limit if neither config nor tokenizer names one."""


def read_config(folder: Path, trust_remote_code: bool) -> Any:
    """The transformers config of a folder.

    Raises CorruptFile if it cannot be read, UnsupportedModel if transformers has no decoder for it.
    """
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    raw = read_json(folder / "config.json")
    kind = raw.get("model_type")
    if not isinstance(kind, str):
        raise CorruptFile(f"{folder / 'config.json'} does not describe a model: it names no model_type")
    if not trust_remote_code and kind not in CONFIG_MAPPING:
        if "AutoModelForCausalLM" in (raw.get("auto_map") or {}):
            raise UnsupportedModel(
                f"architecture {kind!r} is Python code in {folder}: give trust_remote_code if you trust its authors"
            )
        raise UnsupportedModel(f"architecture {kind!r} is not known to transformers {transformers.__version__}")
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # configs validate their values with various errors
        raise CorruptFile(f"{folder / 'config.json'} does not describe a model: {first_line(error)}") from None
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"architecture {kind!r} is an encoder-decoder: it has no single residual stream to probe"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and "AutoModelForCausalLM" not in (
        getattr(config, "auto_map", None) or {}
    ):
        raise UnsupportedModel(f"architecture {kind!r} is no causal language model of transformers")
    return config


def context_of(config: Any, longest: int | None, requested: int | None) -> int:
    """The model's own limit, or the `requested` one, if that is less.

    `config` is that of the text decoder, `longest` the limit of the tokenizer. Raises UsageError if more is requested.
    """
    own = _positions(config) or longest or _UNKNOWN
    if requested is None:
        return own
    if not 1 <= requested <= own:
        raise UsageError(f"a context of {requested} tokens is out of range: this model takes 1 to {own}")
    return requested


def rope_length(config: Any) -> int | None:
    """The most tokens of a row that transformers rotates by a long RoPE's factors for short rows; None without such.

    `config` is that of the text decoder; its `rope_parameters` may be one dict per kind of layer. Code of a model's own
    may call long RoPE `su`. `dynamic` frequencies change with the length too, but only beyond the context.
    """
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    own = getattr(config, "original_max_position_embeddings", getattr(config, "max_position_embeddings", 0))
    lengths = {
        int(kind.get("original_max_position_embeddings", own))
        for kind in (rope, *rope.values())
        if isinstance(kind, dict) and (kind.get("rope_type") or kind.get("type")) in ("longrope", "su")
    }
    if len(lengths) > 1:
        raise UnsupportedModel(
            f"its kinds of layers have long RoPE from different lengths on ({sorted(lengths)} tokens): not supported"
        )
    return lengths.pop() if lengths else None


def _positions(config: Any) -> int | None:
    """max_position_embeddings, extended if the RoPE scaling extends it beyond that value.

    A yarn config has the length before scaling. `linear` and `dynamic` ones may have either; the value is then used as
    it is, since too short a context is safe. llama3 and longrope configs have the extended length.
    """
    positions = getattr(config, "max_position_embeddings", None) or 0
    rope = getattr(config, "rope_parameters", None) or {}
    if positions > 0 and isinstance(rope, dict) and rope.get("rope_type") == "yarn":
        before = rope.get("original_max_position_embeddings") or positions
        return max(int(positions), int(before * rope.get("factor", 1)))
    return int(positions) if positions > 0 else None
