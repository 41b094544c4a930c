"""RoPE with scaling, computed as transformers does.

mlx-lm rotates every row of a model with long RoPE by the factors for long rows, ignores parts of YaRN (`truncate`,
`attention_factor`), and in some architectures the whole scaling. So its modules that scale are replaced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx import nn
from numpy.typing import NDArray

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe_mlx.checkpoint import Config
from localprobe_mlx.rope_config import Rope


class Rotation(NamedTuple):
    """How the numbers of a head are turned."""

    periods: NDArray[np.float64]
    """(rotated numbers / 2,) positions per radian, the inverse of a frequency."""
    scale: float
    """What queries and keys are multiplied by."""


class Side:
    """Whether the rows of the current pass are longer than `Info.rope_length`: shared by all modules of a model."""

    long = False


class Rotary(nn.Module):  # type: ignore[misc]
    """A RoPE module as mlx-lm's models call it."""

    def __init__(self, dims: int, traditional: bool, side: Side, short: Rotation, long: Rotation) -> None:
        super().__init__()
        self.dims = dims
        self.traditional = traditional
        self._side = side
        self._periods = [mx.array(rotation.periods.astype(np.float32)) for rotation in (short, long)]
        self._scales = [rotation.scale for rotation in (short, long)]

    def __call__(self, x: mx.array, offset: Any = 0) -> mx.array:
        """Rotate (rows, heads, length, size) at positions from `offset` on."""
        number = int(self._side.long)
        if self._scales[number] != 1:
            x = x.at[..., : self.dims].multiply(self._scales[number])
        periods = self._periods[number]
        return mx.fast.rope(
            x, self.dims, traditional=self.traditional, base=None, scale=1.0, offset=offset, freqs=periods
        )


def correct_rope(model: Any, config: Config) -> Side | None:
    """Replace the RoPE modules of an mlx-lm model that do not rotate as the config asks. Returns the switch between
    short and long rows, or None if no module was replaced.

    Raises UnsupportedModel if mlx-lm leaves out a scaling and has no module to replace, CorruptFile for parameters that
    are no RoPE.
    """
    from mlx_lm.models import rope_utils as own

    known = (nn.RoPE, own.SuScaledRoPE, own.Llama3RoPE, own.YarnRoPE, own.DynamicNTKScalingRoPE)
    rope, side, replaced = Rope(config), Side(), False
    blocks = list(getattr(model, "layers", []))
    places = [(layer, *place) for layer, block in enumerate(blocks) for place in _modules(block, known)]
    some_scale = any(_scales(module) for *_, module in places)
    default_base = getattr(getattr(model, "args", None), "rope_theta", 10_000.0)
    for layer, parent, name, module in places:
        wanted = {"rope_type": "default", "rope_theta": getattr(module, "base", default_base), **rope.of(layer)}
        if wanted["rope_type"] not in _FORMULAS or _rotates(module, wanted):
            continue
        # With one RoPE for all kinds of layers, those that mlx-lm does not scale are meant so if it scales others.
        if rope.nested or _scales(module) or not some_scale:
            setattr(parent, name, _rotary(module, wanted, side, str(config.get("model_type"))))
            replaced = True
    kind = rope.main.get("rope_type")
    if kind in _SCALING and not replaced and not some_scale and not _has_own(blocks):
        raise UnsupportedModel(
            f"mlx-lm leaves out the RoPE scaling ({kind}) of {config.get('model_type')} models: use another engine"
        )
    return side if replaced else None


def _rotary(module: Any, wanted: Config, side: Side, architecture: str) -> Rotary:
    """What replaces a module of mlx-lm."""
    dims = module.dim if type(module).__name__ == "SuScaledRoPE" else module.dims
    return Rotary(dims, getattr(module, "traditional", False), side, *_rotations(wanted, dims, architecture))


def _modules(block: Any, kinds: tuple[type, ...]) -> Iterator[tuple[Any, str, Any]]:
    """(parent, name, module) of each module of these classes in a block."""
    for _, parent in block.named_modules():
        for name, child in list(parent.items()):
            if type(child) in kinds:
                yield parent, name, child


def _scales(module: Any) -> bool:
    return type(module) is not nn.RoPE or module.scale != 1


def _rotates(module: Any, wanted: Config) -> bool:
    """Whether a plain module does what is wanted already."""
    plain = wanted["rope_type"] in ("default", "dynamic") and not _scales(module)
    return plain and bool(module.base == wanted["rope_theta"])


def _has_own(blocks: Sequence[Any]) -> bool:
    """Whether an architecture has RoPE modules of its own, which may scale."""
    names = {type(module).__name__.lower() for block in blocks for _, module in block.named_modules()}
    return any(("rope" in name or "rotary" in name) and name != "rope" for name in names)


def _rotations(rope: Config, dims: int, architecture: str) -> tuple[Rotation, Rotation]:
    """Those of short and of long rows."""
    try:
        short = _FORMULAS[rope["rope_type"]](rope, dims)
        if rope["rope_type"] != "longrope":
            return short, short
        if architecture == "phimoe":  # in transformers the factors stay those of short rows, and only the scale changes
            return short._replace(scale=rope["short_mscale"]), short._replace(scale=rope["long_mscale"])
        return short, _long_rope(rope, dims, "long_factor")
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CorruptFile(f"the RoPE parameters in config.json ({rope['rope_type']}) cannot be used ({what})") from None


def _plain(rope: Config, dims: int) -> Rotation:
    exponents = np.arange(0, dims, 2) / dims  # (dims / 2,)
    return Rotation(float(rope["rope_theta"]) ** exponents, 1.0)


def _linear(rope: Config, dims: int) -> Rotation:
    return Rotation(_plain(rope, dims).periods * rope["factor"], 1.0)


def _llama3(rope: Config, dims: int) -> Rotation:
    """Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, and those between blended."""
    periods, factor = _plain(rope, dims).periods, rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] / (2 * np.pi * periods)  # of each pair, over the original context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return Rotation(periods / ((1 - kept) / factor + kept), 1.0)


def _yarn(rope: Config, dims: int) -> Rotation:
    """YaRN (Peng et al. 2023, section 3.2): interpolation of slow pairs, none of fast ones, a ramp between."""
    periods, factor = _plain(rope, dims).periods, rope["factor"]
    original, base = rope["original_max_position_embeddings"], rope["rope_theta"]

    def pair(turns: float) -> float:
        """The (fractional) index of the pair that turns so often over the original context."""
        return float(dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base)))

    low, high = pair(rope.get("beta_fast") or 32), pair(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    ramp = np.clip((np.arange(dims // 2) - low) / (high - low if high != low else 0.001), 0, 1)
    frequencies = (1 - ramp) / periods + ramp / (factor * periods)
    return Rotation(1 / frequencies, _yarn_scale(rope))


def _yarn_scale(rope: Config) -> float:
    def scale(weight: float = 1.0) -> float:
        return 0.1 * weight * math.log(rope["factor"]) + 1 if rope["factor"] > 1 else 1.0

    if "attention_factor" in rope:
        return float(rope["attention_factor"])
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return scale(rope["mscale"]) / scale(rope["mscale_all_dim"])
    return scale()


def _long_rope(rope: Config, dims: int, factors: str = "short_factor") -> Rotation:
    """LongRoPE (Ding et al. 2024): one factor for each pair, of rows up to the original context and of longer ones."""
    own = np.array(rope[factors], np.float64)
    if own.shape != (dims // 2,):
        raise ValueError(f"{factors} has {own.size} numbers for {dims // 2} pairs")
    factor, original = rope["factor"], rope["original_max_position_embeddings"]
    scale = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    return Rotation(_plain(rope, dims).periods * own, float(rope.get("attention_factor", scale)))


_FORMULAS = {
    "default": _plain,
    "linear": _linear,
    "dynamic": _plain,  # it differs beyond `max_position_embeddings` only, and no row is longer
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _long_rope,
}
_SCALING = {"linear", "llama3", "yarn", "longrope"}
