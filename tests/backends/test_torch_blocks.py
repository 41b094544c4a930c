"""Architectures that are not known by path: found by structure and proven, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from localprobe.engine import Prompt, Row, Sampler
from localprobe.engines import canary
from localprobe.errors import UnsupportedModel
from localprobe_torch.blocks import find_blocks
from tests.backends.torch_models import (
    SMALL,
    VOCABULARY,
    load,
    own_greedy,
    own_model,
    own_view,
    random_ids,
    write_folder,
)

GPT = {"vocab_size": VOCABULARY, "n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}
FALCON = {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 28,
}

RUNS: dict[str, Any] = {
    "olmo2: norms after the sublayers": lambda: transformers.Olmo2Config(**SMALL),
    "granite: logits are divided": lambda: transformers.GraniteConfig(**SMALL, logits_scaling=4.0),
    "cohere2: some layers see a window": lambda: transformers.Cohere2Config(**SMALL, sliding_window=8),
    "mixtral: experts": lambda: transformers.MixtralConfig(**SMALL, num_local_experts=4),
    "gptj: attention of its own": lambda: transformers.GPTJConfig(**GPT, rotary_dim=8),
    "falcon: ALiBi": lambda: transformers.FalconConfig(**FALCON, alibi=True),
    "opt: learned positions, a decoder inside": lambda: transformers.OPTConfig(
        **FALCON, ffn_dim=96, word_embed_proj_dim=64, max_position_embeddings=256
    ),
    "gpt_oss: attention sinks, experts": lambda: transformers.GptOssConfig(
        **SMALL, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, head_dim=16
    ),
    "llama4_text: chunks of attention": lambda: transformers.Llama4TextConfig(
        **SMALL, head_dim=16, num_local_experts=2, intermediate_size_mlp=96, attention_chunk_size=8
    ),
    "gemma3: a vision tower beside, with as many layers": lambda: transformers.Gemma3Config(
        text_config=SMALL | {"head_dim": 16, "sliding_window": 8, "layer_types": ["sliding_attention"] * 3},
        vision_config=VISION | {"patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=384,
        boi_token_index=383,
        eoi_token_index=382,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_architecture_that_nobody_told_us_of_runs(name: str, tmp_path: Path) -> None:
    folder = write_folder(RUNS[name](), tmp_path / "model")
    engine, model = load(folder), own_model(folder)
    assert engine.info.layers == 3
    prompts = random_ids(23, 9, 31)
    outputs = engine.forward([Row(ids, full=tuple(range(len(ids)))) for ids in prompts], [0, 1])
    stream = engine.open([Prompt(ids, sampler=Sampler(temperature=0)) for ids in prompts], room=12)
    answers = np.stack([stream.step(np.zeros(3)).ids for _ in range(12)])
    for row, (ids, output) in enumerate(zip(prompts, outputs, strict=True)):
        hidden, logprobs = own_view(model, ids)
        np.testing.assert_allclose(output.residuals, hidden, atol=1e-4 * np.abs(hidden).max())
        np.testing.assert_allclose(output.full, logprobs, atol=1e-4)
        assert answers[:, row].tolist() == own_greedy(model, ids, 12)
    engine.close()


REFUSED: dict[str, tuple[Any, str]] = {
    "t5": (
        lambda: transformers.T5Config(vocab_size=VOCABULARY, d_model=64, d_ff=96, num_layers=2, num_heads=4, d_kv=16),
        "is an encoder-decoder",
    ),
    "bert": (lambda: transformers.BertConfig(**SMALL), "computes something else in a batch"),
    "vit": (lambda: transformers.ViTConfig(**VISION, patch_size=14), "no causal language model"),
    "gemma3n_text": (
        lambda: transformers.Gemma3nTextConfig(
            **SMALL | {"num_hidden_layers": 6, "intermediate_size": [96] * 6},
            head_dim=16,
            vocab_size_per_layer_input=VOCABULARY,
            hidden_size_per_layer_input=16,
            num_kv_shared_layers=2,
            layer_types=["sliding_attention", "full_attention"] * 3,
            sliding_window=8,
            laurel_rank=8,
            activation_sparsity_pattern=[0.0] * 6,
        ),
        r"block 0 gives \(4, 2, 13, 64\), not \(2, 13, 64\)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", REFUSED)
def test_what_cannot_be_probed_is_refused_with_the_reason(architecture: str, tmp_path: Path) -> None:
    config, reason = REFUSED[architecture]
    if architecture == "vit":
        folder = write_folder(transformers.LlamaConfig(**SMALL), tmp_path / "model")
        config().save_pretrained(folder)
    else:
        folder = write_folder(config(), tmp_path / "model")
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        load(folder)
    assert f"architecture {architecture!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


CAPTURED: dict[str, tuple[Any, str]] = {
    "lfm2": (lambda: transformers.Lfm2Config(**SMALL, full_attn_idxs=[1]), r"keeps a recurrent state \(conv\)"),
    "jamba": (
        lambda: transformers.JambaConfig(
            **SMALL, attn_layer_period=2, attn_layer_offset=1, num_experts=2, mamba_d_state=8
        ),
        r"keeps a recurrent state \(conv, recurrent\)",
    ),
    "mamba": (
        lambda: transformers.MambaConfig(vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=3, state_size=8),
        r"keeps a recurrent state \(conv, recurrent\)",
    ),
    "gpt_neo": (
        lambda: transformers.GPTNeoConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=8,
        ),
        "computes something else with a KV cache",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", CAPTURED)
def test_what_cannot_be_resumed_is_captured_and_steered_but_not_decoded(architecture: str, tmp_path: Path) -> None:
    config, reason = CAPTURED[architecture]
    folder = write_folder(config(), tmp_path / "model")
    engine, model = load(folder), own_model(folder)
    prompts = random_ids(23, 9, 31)
    outputs = engine.forward([Row(ids, full=tuple(range(len(ids)))) for ids in prompts], range(engine.info.layers))
    for ids, output in zip(prompts, outputs, strict=True):
        np.testing.assert_allclose(output.full, own_view(model, ids)[1], atol=1e-3)  # nats
        alone = engine.forward([Row(ids)], range(engine.info.layers))[0].residuals
        np.testing.assert_allclose(output.residuals, alone, atol=1e-4 * np.abs(alone).max())
    assert all(check.passed for check in canary.run(engine))
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        engine.open([Prompt(prompts[0])], room=2)
    assert str(caught.value).endswith("it can be captured, not decoded")
    assert "\n" not in str(caught.value)
    assert engine.info.notes[0].startswith("this model ")
    engine.close()


class _Odd(transformers.LlamaForCausalLM):  # type: ignore[misc]
    """A Llama whose decoder can be given other lists."""

    def __init__(self, **lists: list[torch.nn.Module]) -> None:
        super().__init__(transformers.LlamaConfig(**SMALL))
        self.config.model_type = "odd"
        for name, modules in lists.items():
            setattr(self.model, name, torch.nn.ModuleList(modules))


def test_blocks_are_the_one_list_of_as_many_as_the_config_says() -> None:
    model = _Odd(four=[torch.nn.Identity() for _ in range(4)])
    assert find_blocks(model) == list(model.model.layers)


def test_lists_inside_of_blocks_do_not_count() -> None:
    model = _Odd()
    for block in model.model.layers:
        block.experts = torch.nn.ModuleList(torch.nn.Identity() for _ in range(3))
    assert find_blocks(model) == list(model.model.layers)


def test_blocks_may_be_of_several_kinds() -> None:
    mixed = [torch.nn.Identity(), torch.nn.ReLU(), torch.nn.ReLU()]
    assert find_blocks(_Odd(layers=mixed)) == mixed


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"layers": []}, "has no list of 3 blocks"),
        ({"adapters": [torch.nn.Identity() for _ in range(3)]}, r"several lists of 3 blocks \(layers, adapters\)"),
    ],
)
def test_a_structure_that_is_not_clear_is_refused(lists: dict[str, list[torch.nn.Module]], reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason):
        find_blocks(_Odd(**lists))
