"""Numbers of config.json that no model can have."""

from __future__ import annotations

from pathlib import Path

import pytest

from localprobe.errors import CorruptFile
from localprobe.models import shape
from localprobe.models.checkpoint import check_folder
from localprobe.models.config import text_config
from localprobe.models.shape import Shape
from tests.models.fake_hub import folder_files, write_folder


def folder(tmp_path: Path, config: str) -> Path:
    return write_folder(tmp_path / "model", {**folder_files(), "config.json": config.encode()})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"num_hidden_layers": -1}', "num_hidden_layers is -1, which cannot be"),
        ('{"n_layer": 0}', "n_layer is 0"),
        ('{"num_hidden_layers": 1000000}', "num_hidden_layers is 1000000"),
        ('{"num_hidden_layers": "many"}', "num_hidden_layers is 'many'"),
        ('{"num_hidden_layers": 2.5}', "num_hidden_layers is 2.5"),
        ('{"hidden_size": 1' + "0" * 30 + "}", "hidden_size is 1000"),
        ('{"hidden_size": Infinity}', "hidden_size is inf"),
        ('{"hidden_size": 1e999}', "config.json: the number 1e999 is too large"),
        ('{"rope_theta": NaN}', "rope_theta is nan"),
        ('{"max_position_embeddings": Infinity}', "max_position_embeddings is inf"),
        ('{"text_config": {"vocab_size": -7}}', "vocab_size is -7"),
        ('{"a": ' + "[" * 100_000, "deep"),
        ('{"a": "\\ud800"}', "half a character"),
        ("{" + '"a": 1,\n' * 3 + "}", "config.json, line 4: not JSON"),
    ],
)
def test_a_number_that_cannot_be_is_named_before_anything_is_built(config: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=said) as raised:
        check_folder(folder(tmp_path, config))
    assert "config.json" in str(raised.value) and "\n" not in str(raised.value)
    assert shape(str(tmp_path / "model")) is None


@pytest.mark.parametrize(
    "config",
    [
        '{"num_hidden_layers": 3, "hidden_size": 8, "time_step_limit": [0.0, Infinity]}',  # Mamba's
        '{"num_hidden_layers": 3, "hidden_size": 8, "num_key_value_heads": [1, 2, 2], "head_dim": null}',
        '{"num_hidden_layers": 3, "hidden_size": 8, "max_position_embeddings": -1, "sliding_window": null}',
        '{"n_layers": 3, "d_model": 8, "num_attention_heads": 0}',
        '{"num_hidden_layers": 9, "text_config": {"num_hidden_layers": 3, "hidden_size": 8}}',
    ],
)
def test_what_real_configs_hold_is_fine(config: str, tmp_path: Path) -> None:
    path = folder(tmp_path, config)
    check_folder(path)
    assert shape(str(path)) == Shape(3, 8)


def test_the_config_of_the_language_model_is_the_inner_one() -> None:
    assert text_config({"a": 1, "text_config": {"b": 2}}) == {"b": 2}
    assert text_config({"a": 1, "text_config": None}) == {"a": 1, "text_config": None}
