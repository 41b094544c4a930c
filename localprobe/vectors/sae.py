"""A feature of a sparse autoencoder as a vector: its row of the decoder steers, its column of the encoder reads it.

    feature(Path("gemma-scope/layer_20/width_16k"), 123, layer=20)

An autoencoder of the residual stream x writes feature f as activation times W_dec[f], and computes the activation from
x @ W_enc[:, f]. Folders of SAELens (cfg.json, old and new; sae_weights.safetensors) and of Gemma Scope 2 (config.json,
params.safetensors) say where it was trained; a bare safetensors file or npz (Gemma Scope's params.npz) does not.

The threshold of the vector is the score along the normalised encoder above which the feature is active. With
w = W_enc[:, f], and b = b_dec . w if b_dec is taken off the input, else 0:

    standard    (b - b_enc) / |w|
    jumprelu    (b - b_enc + threshold) / |w|                      Rajamanoharan et al., 2024, arXiv:2407.14435
    gated       max(b - b_gate, b - b_mag exp(-r_mag)) / |w|       Rajamanoharan et al., 2024, arXiv:2404.16014
    top-k       none: it depends on the other features
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localprobe.errors import DataError, UsageError, VectorError
from localprobe.store.names import exists, is_file
from localprobe.store.safe_json import parse
from localprobe.store.text_files import read_text
from localprobe.suggest import shown
from localprobe.vectors.sae_weights import Array, Weights, opened
from localprobe.vectors.vector import Direction, Origin, Vector, checked

ARCHITECTURES = {
    "standard": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "gated": ("b_gate", "r_mag", "b_mag"),
    "topk": (),
}
"""Architecture -> the tensors that say when a feature is active."""
_SAME = {"jump_relu": "jumprelu", "batchtopk": "topk", "matryoshka_batchtopk": "topk"}
_CONFIGS = {"cfg.json": ("sae_weights.safetensors",), "config.json": ("params.safetensors",)}
_BARE = ("params.npz", "sae_weights.safetensors", "params.safetensors")
_HEADS = ("hook_head_index", "hook_point_head_index")
_ONLY = "a vector is of the residual stream after a block: blocks.8.hook_resid_post, or hook_resid_pre of block 9"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an autoencoder apart from its weights."""

    layer: int
    architecture: str
    model: str = ""
    width: int | None = None
    centres: bool | None = None
    """Whether b_dec is taken off the input; None if unknown."""
    normalises: str = "none"
    """What is done to a residual before the encoder, as SAELens calls it."""
    activation: str = "relu"
    bos: bool | None = None


def feature(path: Path, index: int, layer: int | None = None) -> Vector:
    """Feature `index` of the autoencoder in a folder or a file, as a vector of one layer.

    Its direction is the decoder's row, of length 1; `norm` keeps the row's length. `layer` is needed where no
    configuration says it. What the files leave open is told in `notices`. VectorError for an autoencoder of another
    place than the residual stream, an unknown architecture or a damaged file; UsageError for an absent feature.
    """
    file, config = _files(path)
    with opened(file) as weights:
        about = _configured(config, layer) if config else _bare(file, weights, layer)
        features, width = _checked_shapes(file, weights, about)
        if not 0 <= index < features:
            raise UsageError(f"`feature` {index} is out of range: {file} has features 0 to {features - 1}")
        row, reads = weights.row("W_dec", index), weights.column("W_enc", index)
        threshold, notices = _threshold(weights, about, index, reads)
        if about.normalises == "layer_norm":  # a residual less its mean, against w, is the residual against this
            reads = reads - reads.mean()
    try:
        direction = _direction(row, reads, threshold, about.layer)
    except VectorError as error:
        raise VectorError(f"{file}, feature {index}: {error}") from error
    origin = Origin(about.model, width=width, method=f"feature {index} of a sparse autoencoder", bos=about.bos)
    told = tuple(f"{file.name}: {notice}" for notice in notices)
    return Vector(f"feature {index}", origin, {about.layer: direction}, about.layer, told)


def _direction(row: Array, reads: Array, threshold: float, layer: int) -> Direction:
    vector, probe = checked(row, layer), checked(reads, layer, "probe")
    norm = math.sqrt(float(row @ row))
    return Direction(checked(row / norm, layer) if norm else vector, norm, threshold, probe=probe)


def _files(path: Path) -> tuple[Path, Path | None]:
    """The file of the weights, and the configuration beside it if there is one."""
    if not (exists(path) and path.is_dir()):
        folder = path.parent
        return path, next((folder / name for name in _CONFIGS if _describes(folder / name)), None)
    for name, files in _CONFIGS.items():
        if found := next((path / file for file in files if _describes(path / name) and is_file(path / file)), None):
            return found, path / name
    found = next((path / name for name in _BARE if is_file(path / name)), None)
    if found is None:
        pickled = any(path.glob("*.pt")) or any(path.glob("*.bin"))
        why = "only pickled weights, which localprobe never loads" if pickled else f"none of {', '.join(_BARE)}"
        raise VectorError(f"{path} holds {why}: name the folder of one sparse autoencoder, or its file")
    return found, None


def _describes(config: Path) -> bool:
    """Whether a file is the configuration of an autoencoder; other programs have files of these names too."""
    if not is_file(config):
        return False
    return config.name == "cfg.json" or any(name.startswith("hf_hook_point") for name in _read(config))


def _read(config: Path) -> dict[str, Any]:
    try:
        values = parse(read_text(config), str(config), whole=True)
    except DataError as error:
        raise VectorError(str(error)) from error
    if not isinstance(values, dict):
        raise VectorError(f"{config} holds no JSON object")
    inner = [values[name] for name in ("metadata", "meta") if isinstance(values.get(name), dict)]
    return {name: value for part in (*inner, values) for name, value in part.items() if value is not None}


def _configured(config: Path, layer: int | None) -> About:
    """What a configuration says. VectorError if it is of another place or kind."""
    values = _read(config)
    at = _layer(config, values)
    if layer not in (None, at):
        raise UsageError(f"{config} says layer {at}, not {layer}: give no `layer`")
    gemma = "hf_hook_point_in" in values
    activation = values.get("activation_fn", values.get("activation_fn_str", "relu"))
    named = str(values.get("architecture", "standard"))
    architecture = "topk" if activation == "topk" else _SAME.get(named, named)
    if architecture not in ARCHITECTURES:
        raise VectorError(f"{config}: architecture {shown(named)} is not one of {', '.join(ARCHITECTURES)}")
    normalises = values.get("normalize_activations", "none")
    if isinstance(normalises, bool):  # before SAELens 3
        normalises = "expected_average_only_in" if normalises else "none"
    return About(
        at,
        architecture,
        str(values.get("model_name", "")),
        values.get("d_in"),
        bool(values.get("apply_b_dec_to_input", not gemma)),
        str(normalises),
        str(activation),
        bool(values["prepend_bos"]) if "prepend_bos" in values else None,
    )


def _layer(config: Path, values: dict[str, Any]) -> int:
    """The layer after which an autoencoder was trained."""
    names = ("hook_name", "hook_point", "hf_hook_point_in")
    hook = next((values[name] for name in names if name in values), None)
    if hook is None:
        raise VectorError(f"{config} does not say where it was trained: it has no {', '.join(names)}")
    out = next((values[f"{name}_out"] for name in names[:2] if f"{name}_out" in values), hook)
    out = values.get("hf_hook_point_out", out)
    kinds = " ".join(str(values.get(name)) for name in ("architecture", "type"))
    if out != hook or "transcoder" in kinds or "crosscoder" in kinds:
        raise VectorError(f"{config}: it maps {shown(hook)} to {shown(out)} (a transcoder); {_ONLY}")
    if head := next((name for name in _HEADS if name in values), None):
        raise VectorError(f"{config}: trained on head {shown(values[head])} of {shown(hook)}; {_ONLY}")
    text = hook if isinstance(hook, str) else ""
    if match := re.fullmatch(r"blocks\.(\d{1,4})\.hook_resid_(post|pre)", text, re.ASCII):
        at = int(match[1]) - (match[2] == "pre")  # what enters a block is what left the one before
        if at < 0:
            raise VectorError(f"{config}: trained at {hook}, the embedding, before any block; {_ONLY}")
        return at
    if match := re.fullmatch(r"(?:\w+\.)*(?:layers|h)\.(\d{1,4})(?:\.output)?", text, re.ASCII):  # a block's output
        return int(match[1])
    raise VectorError(f"{config}: trained at {shown(hook)}; {_ONLY}")


def _bare(file: Path, weights: Weights, layer: int | None) -> About:
    """What the tensors alone say."""
    if layer is None:
        raise UsageError(f"{file} has no cfg.json beside it that says where it was trained: give its `layer`")
    if layer < 0:
        raise UsageError(f"`layer` {layer} is no layer: the first block is 0")
    if "threshold" in weights.shapes:  # as Gemma Scope computes them, which takes nothing off the input
        return About(layer, "jumprelu", centres=False)
    return About(layer, "gated" if "b_gate" in weights.shapes else "standard")


def _checked_shapes(file: Path, weights: Weights, about: About) -> tuple[int, int]:
    """(features, width). VectorError if tensors are missing or do not fit together."""
    shapes = weights.shapes
    needed = ("W_enc", "W_dec", "b_dec", *ARCHITECTURES[about.architecture])
    if missing := [name for name in needed if name not in shapes]:
        held = shown(", ".join(sorted(shapes)))[1:-1]
        raise VectorError(f"{file} lacks {', '.join(missing)} of a {about.architecture} autoencoder: it holds {held}")
    if len(shapes["W_dec"]) != 2 or shapes["W_enc"] != shapes["W_dec"][::-1]:
        raise VectorError(f"{file}: W_dec {shapes['W_dec']} and W_enc {shapes['W_enc']} are not of one autoencoder")
    features, width = shapes["W_dec"]
    expected = {"b_dec": (width,)} | dict.fromkeys(ARCHITECTURES[about.architecture], (features,))
    if wrong := next((name for name, shape in expected.items() if shapes[name] != shape), None):
        raise VectorError(f"{file}: {wrong} has the shape {shapes[wrong]}, not {expected[wrong]}")
    if about.width not in (None, width):
        raise VectorError(f"{file}: width {width}, and its configuration says d_in {shown(about.width)}")
    return features, width


def _threshold(weights: Weights, about: About, index: int, reads: Array) -> tuple[float, list[str]]:
    """The score along the normalised encoder above which a feature is active, 0 if that is unknown; and why."""
    why = _unknown(about)
    if why:
        return 0.0, [f"{why}: steering and scores hold, but the score at which the feature is active is not known"]
    taken = {name: weights.number(name, index) for name in ARCHITECTURES[about.architecture]}
    off = float(weights.whole("b_dec") @ reads) if about.centres else 0.0
    if about.architecture == "gated":
        bounds = (off - taken["b_gate"], off - taken["b_mag"] * math.exp(-taken["r_mag"]))
        active = max(bounds)
    else:
        active = off - taken["b_enc"] + taken.get("threshold", 0.0)
    length = math.sqrt(float(reads @ reads))
    return (active / length if length and math.isfinite(active) else 0.0), []


def _unknown(about: About) -> str:
    """Why the score at which a feature is active cannot be known; empty if it can."""
    if about.architecture == "topk":
        return "the k strongest features are active, however strong they are"
    if about.normalises == "expected_average_only_in":
        return "residuals are scaled by a number that the file does not hold (normalize_activations)"
    if about.normalises != "none":
        return f"each residual is normalised first (normalize_activations {about.normalises})"
    if about.centres is None:
        return "it does not say whether b_dec is taken off the input (apply_b_dec_to_input)"
    if about.activation not in ("relu", "tanh-relu"):
        return f"the activation {shown(about.activation)} has no known threshold"
    return ""
