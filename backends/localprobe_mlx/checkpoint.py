"""A Hugging Face folder on disk: its config and weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from localprobe.errors import CorruptFile, ModelError, UnsupportedModel
from localprobe.models.checkpoint import read_header, read_json
from localprobe.models.config import check_config, text_config
from localprobe.suggest import shown

Config: TypeAlias = dict[str, Any]

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
_WORDS = {dict: "an object", list: "a list", int: "a whole number"}
_ALWAYS_WINDOWED = {"mistral", "mixtral", "phi3", "starcoder2"}
"""Architectures whose every layer has sliding attention, if `sliding_window` is set."""


class Checkpoint:
    """A model folder whose config and safetensors headers have been read. Weights stay on the disk.

    Raises ModelError if the folder is not a model, CorruptFile if a file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} is not a model folder: it has no config.json")
        self.config = read_json(path / "config.json")
        _check(path / "config.json", self.config)
        generation = path / "generation_config.json"
        self._generation = read_json(generation) if generation.is_file() else {}
        files = sorted(path.glob("model*.safetensors"))
        if not files:
            raise ModelError(f"{path} holds no model*.safetensors: MLX loads weights in that format only")
        self.tensors = list(_places(files))
        if not isinstance(self.config.get("model_type"), str) or not self.config["model_type"]:
            raise UnsupportedModel(f"{path / 'config.json'} has no model_type, so nothing can tell what it is")

    @property
    def architecture(self) -> str:
        return str(self.config["model_type"])

    @property
    def text_config(self) -> Config:
        """The config of the language model inside a multimodal model."""
        return dict(text_config(self.config))

    @property
    def eos(self) -> set[int]:
        """Ids that the configs name as the end of an answer."""
        named = (self._generation, self.config, self.text_config)
        declared = [config.get("eos_token_id") for config in named]
        listed = [ids if isinstance(ids, list) else [ids] for ids in declared]
        return {i for ids in listed for i in ids if type(i) is int}

    @property
    def context(self) -> int | None:
        """The model's maximum number of positions."""
        for config in (self.text_config, self.config):
            for key in _CONTEXT_KEYS:
                if isinstance(config.get(key), int):
                    return int(config[key])
        return None

    @property
    def window(self) -> int | None:
        """Window of the layers with sliding attention, if there are any."""
        config = self.text_config
        window = config.get("sliding_window")
        if not isinstance(window, int | float) or not window or config.get("use_sliding_window") is False:
            return None
        return int(window)

    def layer_windows(self) -> list[int | None] | None:
        """The window of each layer, None for full attention. None if the config does not specify it."""
        config, layers = self.text_config, range(int(self.text_config.get("num_hidden_layers") or 0))
        kind = config.get("model_type")
        if self.window is None:
            return [None for _ in layers]
        if config.get("layer_types"):
            return [self.window if kind == "sliding_attention" else None for kind in config["layer_types"]]
        if kind in _ALWAYS_WINDOWED:
            return [self.window for _ in layers]
        if kind == "gemma2":
            return [None if layer % 2 else self.window for layer in layers]
        if kind == "qwen2":
            full = config.get("max_window_layers", 28)  # of the first ones; 28 is what transformers takes
            return [self.window if layer >= full else None for layer in layers]
        return None

    @property
    def quantisation(self) -> str | None:
        """`4bit`, `mxfp4`, ...; None for plain floats."""
        declared = self.config.get("quantization") or self.config.get("quantization_config")
        if not declared:
            return None
        mode = declared.get("mode", "affine")
        return (
            f"{declared['bits']}bit"
            if mode == "affine" and "bits" in declared
            else str(declared.get("quant_method", mode))
        )


_KINDS = {"quantization": dict, "quantization_config": dict, "layer_types": list, "max_window_layers": int}


def _check(path: Path, config: Config) -> None:
    """Raises CorruptFile for a value of a kind that it cannot have."""
    check_config(path, config)
    for part in (config, text_config(config)):
        for name, kind in _KINDS.items():
            value = part.get(name)
            if value is not None and not isinstance(value, kind):
                raise CorruptFile(f"{path}: {name} is {shown(value)}, not {_WORDS[kind]}: fetch the model again")


def _places(files: list[Path]) -> dict[str, Path]:
    """The file of each tensor. CorruptFile for one in two files, of which mlx-lm would take either."""
    places: dict[str, Path] = {}
    for file in files:
        for name in read_header(file):
            if name in places:
                raise CorruptFile(
                    f"{places[name]} and {file.name} both hold the tensor {shown(name)}, and mlx-lm reads both files: "
                    "remove the one that is not the model's"
                )
            places[name] = file
    return places
