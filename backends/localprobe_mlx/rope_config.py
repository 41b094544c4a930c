"""RoPE in config.json: read as transformers does, and written as mlx-lm reads it.

Older files have `rope_theta` and `rope_scaling`, those of transformers 5 `rope_parameters`, which may hold one dict for
each kind of layer. mlx-lm reads the older keys, and uses a default for a missing one, which makes residuals silently
wrong.
"""

from __future__ import annotations

from types import NoneType

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe_mlx.checkpoint import Config

_SHORT_CONTEXT = {"phi3": 4096}
"""`original_max_position_embeddings` of architectures whose config in transformers has a default for it."""
_LONG_NAMES = {"phi3": ("su", "yarn"), "phimoe": ("su",)}
"""Names that older files of these architectures have for `longrope`."""
_PLAIN = {"default", "mrope"}
_PARTS = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
"""Keys of a default RoPE; others, such as `mrope_section`, are for the model's own use."""


_NUMBERS = ("rope_theta", "partial_rotary_factor", "factor", "original_max_position_embeddings")


class Rope:
    """The RoPE of a config: that of each kind of layer, or one for all. Raises CorruptFile if it is none."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layer_types = dict(enumerate(config.get("layer_types") or ()))
        scaling, parameters = (_object(config, name) for name in ("rope_scaling", "rope_parameters"))
        self.nested = any(kind in parameters for kind in self._layer_types.values())
        """Whether kinds of layers have parameters of their own."""
        if self.nested:
            kinds = {kind: _object(parameters, kind) for kind in self._layer_types.values() if parameters.get(kind)}
            if scaling:
                kinds["full_attention"] = {**kinds.get("full_attention", {}), **scaling}
        else:
            kinds = {"": scaling or parameters}
        self._kinds = {kind: self._complete(rope) for kind, rope in kinds.items()}

    @property
    def main(self) -> Config:
        """That of full attention, or of all layers; empty if the config has none."""
        return self._kinds.get("full_attention") or next(iter(self._kinds.values()), {})

    def of(self, layer: int) -> Config:
        """That of a layer; empty if it is not rotated."""
        return self._kinds.get(self._layer_types.get(layer, "") if self.nested else "", {})

    @property
    def length(self) -> int | None:
        """The most tokens of a row that long RoPE rotates by the factors for short rows; None without long RoPE.

        Raises UnsupportedModel if kinds of layers differ in it.
        """
        ropes = [rope for rope in self._kinds.values() if rope["rope_type"] == "longrope"]
        lengths = {int(rope["original_max_position_embeddings"]) for rope in ropes}
        if len(lengths) > 1:
            raise UnsupportedModel(f"its kinds of layers have long RoPE from different lengths on: {sorted(lengths)}")
        return lengths.pop() if lengths else None

    def extended(self, positions: int) -> int:
        """`max_position_embeddings`, extended where YaRN extends it beyond that value: a config has either length."""
        rope = self.main
        if rope.get("rope_type") != "yarn":
            return positions
        return max(positions, int(rope.get("original_max_position_embeddings", positions) * rope.get("factor", 1)))

    def changes(self) -> Config:
        """Keys of the config as mlx-lm reads them."""
        changes: Config = {}
        rope = self.main
        if "rope_theta" in rope:
            changes["rope_theta"] = changes["rotary_emb_base"] = rope["rope_theta"]  # the second is GPT-NeoX's name
        if "partial_rotary_factor" in rope:
            changes["partial_rotary_factor"] = changes["rotary_pct"] = rope["partial_rotary_factor"]
        if rope and rope["rope_type"] not in _PLAIN:
            changes["rope_scaling"] = {**rope, "type": rope["rope_type"]}
        elif set(self._config.get("rope_scaling") or ()) <= _PARTS:
            changes["rope_scaling"] = None  # some of mlx-lm's models take any dict for a scaling
        if "rope_theta" in (local := self._kinds.get("sliding_attention", {})):
            changes["rope_local_base_freq"] = local["rope_theta"]
        return changes

    def _complete(self, rope: Config) -> Config:
        """A RoPE with the type, the base and the lengths that transformers gives it."""
        config, architecture = self._config, self._config.get("model_type")
        kind = rope.get("rope_type", rope.get("type", "default"))
        kind = "longrope" if kind in _LONG_NAMES.get(str(architecture), ()) else kind
        complete = {**rope, "rope_type": kind}
        for key in ("rope_theta", "partial_rotary_factor"):
            if complete.get(key) is None and config.get(key) is not None:
                complete[key] = config[key]
        if kind in ("llama3", "yarn", "longrope"):
            most = config.get("max_position_embeddings")
            original = None if self.nested else config.get("original_max_position_embeddings")
            if not self.nested:
                original = original or _SHORT_CONTEXT.get(str(architecture))
            original = original or rope.get("original_max_position_embeddings") or most
            complete["original_max_position_embeddings"] = original
            if not (isinstance(original, (int, float)) and original > 0):
                raise CorruptFile(
                    f"config.json: {kind} RoPE needs original_max_position_embeddings, which is {original!r}"
                )
            if complete.get("factor") is None and most:
                complete["factor"] = most / original
        for key in _NUMBERS:
            if not isinstance(complete.get(key, 1), (int, float, NoneType)):
                raise CorruptFile(f"config.json: {key} of its RoPE is {complete[key]!r}, not a number")
        return {key: value for key, value in complete.items() if value is not None}


def _object(config: Config, name: str) -> Config:
    value = config.get(name) or {}
    if not isinstance(value, dict):
        raise CorruptFile(f"config.json: {name} is {value!r}, not an object")
    return value
