"""Converting the rotary position embeddings of a GGUF file to Hugging Face's rope parameters.

transformers 5 reads them from `rope_parameters`, mlx-lm from `rope_theta` and `rope_scaling`; `config.py` writes both.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header
from localprobe.gguf.sizes import Sizes
from localprobe.gguf.tensors import load
from localprobe.suggest import shown

Rope: TypeAlias = dict[str, Any]
_LARGEST = float(np.finfo(np.float32).max)
_TOLERANCE = 1e-4  # the tensor is float32; Llama 3's own values agree to 1e-7


def rope(header: Header, sizes: Sizes) -> Rope:
    """The parameters of a model's (global) attention layers: rope_type, rope_theta and those of the type.

    Raises UnsupportedModel for a scaling that Hugging Face does not support.
    """
    family = header.architecture
    default = 1_000_000.0 if family == "gemma3" else 10_000.0
    theta = positive(header, f"{family}.rope.freq_base", default)
    return {"rope_theta": theta, **_scaling(header, sizes, theta)}


def partial_factor(header: Header, sizes: Sizes) -> float:
    """Rotated fraction of each head: 1 except for some Phi models. Raises UnsupportedModel for other families."""
    family = header.architecture
    rotated = header.value(f"{family}.rope.dimension_count", int) or sizes.head_width
    if not 2 <= rotated <= sizes.head_width or rotated % 2:
        raise CorruptFile(
            f"{header.path}: {family}.rope.dimension_count is {rotated}, heads are {sizes.head_width} wide"
        )
    if rotated != sizes.head_width and family != "phi3":
        raise UnsupportedModel(
            f"{header.path}: it rotates {rotated} of the {sizes.head_width} numbers of a head, which a {family} model "
            "in Hugging Face's form cannot: use the llama engine"
        )
    return rotated / sizes.head_width


def _scaling(header: Header, sizes: Sizes, theta: float) -> Rope:
    prefix = f"{header.architecture}.rope"
    if header.architecture == "phi3":
        return _long_rope(header, sizes)
    kind = header.value(f"{prefix}.scaling.type", str) or "linear"
    factor = positive(header, f"{prefix}.scaling.factor", positive(header, f"{prefix}.scale_linear", 1.0))
    if kind == "none" or factor == 1.0:
        return _llama3(header, sizes, theta) if "rope_freqs.weight" in header.tensors else {"rope_type": "default"}
    odd = [key for key in header.metadata if key.startswith((f"{prefix}.scaling.yarn_", f"{prefix}.scaling.attn_"))]
    odd += [name for name in header.tensors if name == "rope_freqs.weight"]
    if kind not in ("linear", "yarn") or odd:
        raise UnsupportedModel(
            f"{header.path}: its rope scaling ({' with '.join([shown(kind), *odd])}) has no Hugging Face form known "
            "here: use the llama engine"
        )
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    original = _original_context(header) or sizes.context
    return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}


def _long_rope(header: Header, sizes: Sizes) -> Rope:
    """Phi-3's long context: two sets of one factor per frequency."""
    if "rope_factors_long.weight" not in header.tensors:
        return {"rope_type": "default"}
    original = _original_context(header) or sizes.context
    return {
        "rope_type": "longrope",
        "short_factor": _factors(header, sizes, "rope_factors_short.weight").tolist(),
        "long_factor": _factors(header, sizes, "rope_factors_long.weight").tolist(),
        "factor": max(1.0, sizes.context / original),
        "attention_factor": positive(header, "phi3.rope.scaling.attn_factor", 1.0),
        "original_max_position_embeddings": original,
    }


def _llama3(header: Header, sizes: Sizes, theta: float) -> Rope:
    """Llama 3's scaling, reconstructed from the factor of each frequency, which is all that a GGUF file stores.

    Wavelengths under `original / high` keep their frequency, those over `original / low` have it divided by `factor`,
    with a smooth transition between the two. Only two of the three numbers matter: (c original, c low, c high) is the
    same scaling for every c, so low is 1, as in every Llama 3.
    """
    factors = _factors(header, sizes, "rope_freqs.weight")
    if (factors == 1).all():
        return {"rope_type": "default"}
    factor = float(factors.max())
    half = np.arange(0, sizes.head_width, 2) / sizes.head_width
    wavelengths = 2 * np.pi * theta**half  # (head_width / 2,)
    for original, high in _candidates(wavelengths, factors, factor):
        if np.allclose(_llama3_factors(wavelengths, factor, original, high), factors, rtol=_TOLERANCE):
            return {
                "rope_type": "llama3",
                "factor": short_decimal(factor),
                "low_freq_factor": 1.0,
                "high_freq_factor": high,
                "original_max_position_embeddings": round(original),
            }
    raise UnsupportedModel(f"{header.path}: its rope factors are not those of Llama 3's scaling: use the llama engine")


def _candidates(
    wavelengths: NDArray[np.float64], factors: NDArray[np.float64], factor: float
) -> list[tuple[float, float]]:
    """(original context, high) pairs to try: Llama 3's own, then those derived from the smooth part.

    There, (1/f - 1/factor) / (1 - 1/factor) = (original / wavelength - 1) / (high - 1), a straight line.
    """
    smooth = (factors > 1) & (factors < factor)
    candidates = [(8192.0, 4.0)]
    if smooth.sum() >= 2:
        height = (1 / factors[smooth] - 1 / factor) / (1 - 1 / factor)
        slope, start = np.polyfit(1 / wavelengths[smooth], height, 1)
        if slope > 0 > start:
            candidates.append((round(-slope / start), round(1 - 1 / start, 4)))
    return candidates


def _llama3_factors(
    wavelengths: NDArray[np.float64], factor: float, original: float, high: float
) -> NDArray[np.float64]:
    smooth = np.clip((original / wavelengths - 1) / (high - 1), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth))


def _factors(header: Header, sizes: Sizes, name: str) -> NDArray[np.float64]:
    """(rotated numbers of a head / 2,) factors that frequencies are divided by."""
    info = header.tensors.get(name)
    rotated = round(sizes.head_width * partial_factor(header, sizes))
    if info is None or info.shape != (rotated // 2,):
        raise CorruptFile(f"{header.path}: the tensor {name} is missing or not {rotated // 2} numbers")
    factors = load(header, info).astype(np.float64)
    if not np.isfinite(factors).all() or (factors <= 0).any():
        raise CorruptFile(f"{header.path}: the tensor {name} holds numbers that cannot be factors")
    return factors


def _original_context(header: Header) -> int | None:
    """Context length in tokens before it was extended."""
    key = f"{header.architecture}.rope.scaling.original_context_length"
    length = header.value(key, int)
    if length is not None and length < 1:
        raise CorruptFile(f"{header.path}: {key} is {length}")
    return length


def positive(header: Header, key: str, default: float) -> float:
    """A positive number; 0 or an absent key gives the default. Raises CorruptFile."""
    value = header.value(key, float) or default
    if not 0 < value <= _LARGEST:
        raise CorruptFile(f"{header.path}: {key} is {value}")
    return short_decimal(value)


def short_decimal(value: float) -> float:
    """The shortest decimal that is the same float32: 1e-05 rather than 9.99999975e-06."""
    return float(str(np.float32(value)))
