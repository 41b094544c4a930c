"""A model's config.json, and whether transformers can run what it describes as a causal language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe_torch.quiet import first_line


def read_config(folder: Path, trust_remote_code: bool) -> Any:
    """The transformers config of a folder.

    Raises CorruptFile if it cannot be read, UnsupportedModel if it is of no decoder that transformers knows.
    """
    import transformers

    raw = _read(folder / "config.json")
    kind = raw.get("model_type")
    if "AutoModelForCausalLM" in (raw.get("auto_map") or {}) and not trust_remote_code and not _known(kind):
        raise UnsupportedModel(
            f"Architecture {kind!r} is Python code in {folder}: load it with trust_remote_code, if you trust its authors"
        )
    if not trust_remote_code and not _known(kind):
        raise UnsupportedModel(f"Architecture {kind!r} is not known to transformers {transformers.__version__}")
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # configs check their values, each with an error of its own
        raise CorruptFile(f"{folder / 'config.json'} does not describe a model: {first_line(error)}") from None
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"Architecture {kind!r} is an encoder-decoder: it has no single residual stream to probe"
        )
    if not _is_causal(type(config)) and "AutoModelForCausalLM" not in (getattr(config, "auto_map", None) or {}):
        raise UnsupportedModel(f"Architecture {kind!r} is no causal language model of transformers")
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read: {first_line(error)}") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise CorruptFile(f"{path} does not describe a model: it names no model_type")
    return raw


def _known(kind: object) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return kind in CONFIG_MAPPING


def _is_causal(config: type) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    return config in MODEL_FOR_CAUSAL_LM_MAPPING
