"""Which tensors of a checkpoint write to the residual stream, by their names.

The removal is exact where a tensor's product is added to the residual as it is, or times a number. Where a norm stands
between, no change of weights is the same as removing the direction from what is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.models.config import LAYERS, WIDTHS
from localprobe.suggest import shown

_EXPERTS = r"(mlp|block_sparse_moe)\.experts"


@dataclass(frozen=True, slots=True)
class Family:
    """Names of the tensors of a family, as regular expressions without `.weight` or `.bias`."""

    embedding: str
    """The name of the token embedding, (vocabulary, width)."""
    head: str
    """The name of the unembedding."""
    block: str
    """What precedes the names of a block."""
    writes: Mapping[str, str]
    """What of a block writes to the residual stream -> what it is called in a message."""
    reads: tuple[str, ...]
    """What else a block holds: what reads the residual stream, norms before that, buffers."""
    prefix: str = ""
    """What may precede every name but the head's."""
    positions: str = ""
    """The name of the position embedding, (context, width), if there is one."""
    others: tuple[str, ...] = ()
    """What stands outside the blocks."""
    inputs_first: bool = False
    """Whether projections are stored as (inputs, outputs)."""


_LLAMA = Family(
    embedding="model.embed_tokens.weight",
    head="lm_head.weight",
    block=r"model\.layers\.\d+\.",
    writes={
        r"self_attn\.o_proj": "attention",
        r"mlp\.down_proj": "MLP",
        rf"{_EXPERTS}\.\d+\.(w2|down_proj)": "experts",
        rf"{_EXPERTS}\.down_proj": "experts",
        r"mlp\.shared_expert\.down_proj": "shared experts",
    },
    reads=(
        r"self_attn\.(q|k|v|qkv)_proj",
        r"self_attn\.(q|k)_norm",
        r"self_attn\.rotary_emb\.inv_freq",
        r"mlp\.(gate|up|gate_up)_proj",
        r"(input|post_attention)_layernorm",
        r"(mlp|block_sparse_moe)\.gate",
        rf"{_EXPERTS}\.\d+\.(w1|w3|gate_proj|up_proj)",
        rf"{_EXPERTS}\.gate_up_proj",
        r"mlp\.shared_expert\.(gate|up)_proj",
        r"mlp\.shared_expert_gate",
    ),
    others=(r"model\.norm", r"lm_head", r"model\.rotary_emb\.inv_freq"),
)
_GPT2 = Family(
    embedding="wte.weight",
    head="lm_head.weight",
    block=r"h\.\d+\.",
    writes={r"attn\.c_proj": "attention", r"mlp\.c_proj": "MLP"},
    reads=(r"attn\.c_attn", r"attn", r"attn\.masked_bias", r"mlp\.c_fc", r"ln_[12]"),
    prefix="transformer.",
    positions="wpe.weight",
    others=(r"ln_f", r"lm_head"),
    inputs_first=True,
)
_GPT_NEOX = Family(
    embedding="gpt_neox.embed_in.weight",
    head="embed_out.weight",
    block=r"gpt_neox\.layers\.\d+\.",
    writes={r"attention\.dense": "attention", r"mlp\.dense_4h_to_h": "MLP"},
    reads=(
        r"attention\.query_key_value",
        r"attention",
        r"attention\.masked_bias",
        r"attention\.rotary_emb\.inv_freq",
        r"mlp\.dense_h_to_4h",
        r"(input|post_attention)_layernorm",
    ),
    others=(r"gpt_neox\.final_layer_norm", r"embed_out"),
)
_LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3", "phi3", "granite", "mixtral", "qwen2_moe", "qwen3_moe")
KNOWN: dict[str, Family] = {**dict.fromkeys(_LLAMA_LIKE, _LLAMA), "gpt2": _GPT2, "gpt_neox": _GPT_NEOX}
"""Families by model_type. All of these are tested."""

_BETWEEN = re.compile(
    r"\.(post_feedforward_layernorm|post_self_attn_layernorm|post_mlp_layernorm|post_ffn_norm|post_sa_norm|post_norm"
    r"|post_feedforward_layernorm_\d|post_moe_norm)\.|(^|\.)(embed_norm|embedding_norm|word_embeddings_layernorm)\."
)
NORMED = ("gemma2", "gemma3", "gemma3_text", "gemma3n_text", "gemma4_text", "olmo2", "olmo3", "exaone4", "glm4")
"""Architectures with a norm between what writes and the residual stream, refused before anything is converted."""


@dataclass(frozen=True, slots=True)
class Write:
    """A tensor that writes to the residual stream."""

    what: str
    """`token embedding`, `attention`, ..."""
    axis: int
    """Its axis that is as long as the residual: -1 or -2."""


_ORDER = ("token embedding", "position embedding", "attention", "MLP", "experts", "shared experts")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to change in a checkpoint."""

    architecture: str
    certain: bool
    """Whether the architecture is known; if not, its names are like Llama's, and the result must be checked."""
    writes: dict[str, Write]
    """By the tensor's name."""
    embedding: str
    head: str
    untie: bool
    """Whether the embedding is also the unembedding."""

    @property
    def changed(self) -> dict[str, int]:
        """What is changed -> how many tensors."""
        counts = Counter(write.what for write in self.writes.values())
        return {what: counts[what] for what in _ORDER if counts[what]}


def plan(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> Plan:
    """What writes to the residual stream in a checkpoint, from its config and the shapes of its tensors.

    Raises UnsupportedModel, with the reason, where that is not known or a removal cannot be written into weights.
    """
    architecture = str(config.get("model_type") or "")
    if "text_config" in config:
        raise UnsupportedModel(
            f"{architecture} reads more than text: what its other encoders write to the residual stream cannot be "
            "edited here; give a model of text alone"
        )
    refuse_norms(architecture, tensors)
    family, certain = KNOWN.get(architecture, _LLAMA), architecture in KNOWN
    prefix = family.prefix if family.prefix and any(name.startswith(family.prefix) for name in tensors) else ""
    embedding = prefix + family.embedding
    writes = {name: write for name in tensors if (write := _write(family, name.removeprefix(prefix), architecture))}
    if embedding not in tensors:
        raise _unknown(architecture, f"it has no {family.embedding}")
    _check_shapes(config, tensors, writes)
    untie = _tied(config, family, architecture, tensors)
    if untie and not certain:
        raise UnsupportedModel(
            f"{architecture or 'this architecture'} is not one that localprobe knows, and its embedding is also its "
            "unembedding: whether it can hold the two apart is not known, so the direction cannot be removed from one"
        )
    return Plan(architecture, certain, writes, embedding, family.head, untie)


def refuse_norms(architecture: str, tensors: Iterable[str] = ()) -> None:
    """Raise UnsupportedModel if a norm stands between what writes and the residual stream, by the architecture or by
    the names of its tensors."""
    named = next((name for name in tensors if _BETWEEN.search(name)), "")
    if named or architecture in NORMED:
        raise UnsupportedModel(
            f"{architecture or 'this architecture'} has a norm between its projections and the residual stream"
            f"{f' ({shown(named)[1:-1]})' if named else ''}: no change of weights removes a direction after a norm; "
            "steer against it while the model runs instead"
        )


def _write(family: Family, name: str, architecture: str) -> Write | None:
    """What a tensor writes; None if it writes nothing. UnsupportedModel for a name that is not known."""
    if name == family.embedding:
        return Write("token embedding", -1)
    if name == family.positions:
        return Write("position embedding", -1)
    base, _, kind = name.rpartition(".")
    if kind not in ("weight", "bias"):
        base, kind = name, "weight"
    for pattern, what in family.writes.items():
        if re.fullmatch(family.block + pattern, base):
            return Write(what, -1 if kind == "bias" or family.inputs_first else -2)
    known = (*(family.block + pattern for pattern in family.reads), *family.others)
    if any(re.fullmatch(pattern, base) for pattern in known):
        return None
    raise _unknown(architecture, f"what its tensor {shown(name)} does is not known")


def _unknown(architecture: str, why: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"the removal cannot be written into weights of {architecture or 'an architecture without a name'}: {why}; "
        f"localprobe bakes {', '.join(KNOWN)}, and others whose tensors are named as Llama's"
    )


def _check_shapes(
    config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]], writes: Mapping[str, Write]
) -> None:
    """Raise CorruptFile for a tensor of another width than the config says, or another number of blocks."""
    width = next((config[name] for name in WIDTHS if name in config), None)
    for name, write in writes.items():
        shape = tensors[name]
        if len(shape) < -write.axis or shape[write.axis] != width:
            raise CorruptFile(f"the tensor {shown(name)} has the shape {shape}, the config says a width of {width}")
    layers = next((config[name] for name in LAYERS if name in config), None)
    blocks = {match[0] for name in writes if (match := re.search(r"\.?(layers|h)\.\d+\.", name))}
    if len(blocks) != layers:
        raise CorruptFile(f"{len(blocks)} blocks write to the residual stream, the config says {layers} layers")


def _tied(config: Mapping[str, Any], family: Family, architecture: str, tensors: Mapping[str, Any]) -> bool:
    """Whether the embedding is also the unembedding. A head that is stored is not read where the config ties it."""
    if family.head not in tensors:
        return True
    return bool(config.get("tie_word_embeddings", architecture == "gpt2"))
