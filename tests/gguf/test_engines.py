"""The folder means the same to transformers, mlx-lm and llama.cpp."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.gguf import to_folder
from tests.gguf.reference import Reference
from tests.gguf.test_round_trip import MODELS, llama3_factors, logits, random_model
from tests.gguf.writer import write_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0"
TEXT = "She couldn't come, because her brother was ill.\n\nHe said: "
IDS = np.random.default_rng(1).integers(0, 260, 40).tolist()
MLX_DIFFERS = {"phi3 long"}  # mlx-lm takes the long factors for short texts too


def mlx(ids: list[int], output: Path, folders: list[Path]) -> dict[str, Any]:
    """What mlx-lm makes of folders, in a process of its own, with a BLAS that is not 20 times too slow."""
    environment = os.environ | ({"LD_PRELOAD": OPENBLAS} if Path(OPENBLAS).exists() else {})
    script = Path(__file__).with_name("mlx_logits.py")
    subprocess.run(
        [sys.executable, script, json.dumps(ids), output, *folders], env=environment, check=True, capture_output=True
    )
    return dict(np.load(output))


@pytest.mark.mlx
@pytest.mark.slow
def test_mlx_lm_gives_the_logits_of_transformers(tmp_path: Path) -> None:
    pytest.importorskip("mlx_lm")
    folders, expected = [], {}
    for name in MODELS.keys() - MLX_DIFFERS:
        class_name, extra, metadata = MODELS[name]
        model = random_model(class_name, extra)
        rope = {"rope_freqs": llama3_factors()} if name == "llama 3" else {}
        path = write_model(model, tmp_path / f"{name}.gguf", metadata, **rope)
        folders.append(to_folder(path, "f", tmp_path / name))
        expected[name] = logits(model, IDS)
    found = mlx(IDS, tmp_path / "found.npz", folders)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-3, err_msg=name)


@pytest.mark.real
@pytest.mark.mlx
@pytest.mark.slow
def test_residuals_of_smollm2(smollm2_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlx_lm")
    ids = transformers.AutoTokenizer.from_pretrained(smollm2_folder)(TEXT).input_ids
    model = transformers.AutoModelForCausalLM.from_pretrained(smollm2_folder)
    with torch.no_grad():
        states = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    found = mlx(ids, tmp_path / "found.npz", [smollm2_folder])[f"{smollm2_folder.parent.name} residuals"]
    for layer in range(29):  # the state after the last block is given normed
        np.testing.assert_allclose(found[layer], states[layer + 1][0].numpy(), rtol=1e-3, atol=0.05)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("which", ["smollm2", "gemma"])
def test_logits_of_llama_cpp(which: str, request: pytest.FixtureRequest) -> None:
    """llama.cpp rounds activations to 8 bits where weights are quantised, so its logits are only near."""
    path: Path = request.getfixturevalue(which)
    folder: Path = request.getfixturevalue(f"{which}_folder")
    ids = transformers.AutoTokenizer.from_pretrained(folder)(TEXT).input_ids
    reference = Reference(path)
    assert ids == reference.ids(TEXT)
    theirs = reference.logits(ids)
    reference.close()
    ours = logits(transformers.AutoModelForCausalLM.from_pretrained(folder), ids)
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert np.median(cosines) > 0.999
    assert cosines.min() > 0.99
    assert ours[-1].argmax() == theirs[-1].argmax()
    assert (ours.max(1) - ours[np.arange(len(ids)), theirs.argmax(1)]).max() < 1  # where they differ, it is close


@pytest.mark.real
@pytest.mark.slow
def test_a_chat_has_the_ids_of_llama_cpp(smollm2: Path, smollm2_folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2_folder)
    chat = [{"role": "user", "content": "Hi <|im_end|> there"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n")
    reference = Reference(smollm2, vocab_only=True)
    assert tokenizer(text, add_special_tokens=False).input_ids == reference.ids(text, special=True, bos=False)
    reference.close()
