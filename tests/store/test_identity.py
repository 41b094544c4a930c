"""Which model a result was measured on."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from localprobe.fake import FakeEngine
from localprobe.store.identity import ModelIdentity

LLAMA = ModelIdentity("smollm2-135m", "llama", "llama", quantisation="Q4_1", weights="abc")


def test_it_is_the_part_of_the_info_that_figures_depend_on() -> None:
    info = FakeEngine().info
    assert asdict(ModelIdentity.of(info)) == {
        name: getattr(info, name)
        for name in (
            *("model", "engine", "architecture", "version", "device", "dtype", "quantisation", "weights"),
            *("layers", "width", "template_args"),
        )
    }


def test_its_name_says_engine_and_quantisation() -> None:
    assert LLAMA.name == "smollm2-135m (llama, Q4_1)"
    assert replace(LLAMA, engine="torch", quantisation=None).name == "smollm2-135m (torch)"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"engine": "torch", "quantisation": None, "weights": "of the same model, dequantised"}, True),
        ({"model": "/models/copy.gguf"}, True),
        ({"model": "/models/copy.gguf", "weights": "xyz"}, False),
        ({"architecture": "gemma", "weights": "xyz"}, False),
        ({"model": "another", "weights": ""}, False),
    ],
)
def test_two_loads_are_of_one_model_by_its_name_or_else_by_its_weights(changes: dict[str, str], same: bool) -> None:
    other = replace(LLAMA, **changes)
    assert LLAMA.same_weights(other) is same
    assert other.same_weights(LLAMA) is same


def test_weights_that_neither_load_names_do_not_make_them_one() -> None:
    one, other = ModelIdentity("one", "torch"), ModelIdentity("other", "torch")
    assert not one.same_weights(other)
