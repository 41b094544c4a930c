"""A model's config.json, and whether transformers can run what it describes as a causal language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localprobe.errors import CorruptFile, UnsupportedModel, first_line
from localprobe.models.checkpoint import read_json


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
