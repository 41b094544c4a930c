"""Residuals over HTTP are those that the model gives here."""

from __future__ import annotations

import numpy as np
import pytest

import localprobe as lp
from localprobe.chat_template import Exchange, Marked
from localprobe.client.model import RemoteModel
from localprobe.errors import OutOfMemory
from localprobe.model import Model
from localprobe.serve import capturing

TEXTS = ["A first text.", "And a second one, which is longer.", *(f"text {number}" for number in range(20))]


@pytest.mark.parametrize("pooling", ["mean", "mean-without-first", "last"])
@pytest.mark.parametrize("layers", [None, [2], [-1, 0]], ids=str)
def test_pooled_residuals(remote: RemoteModel, local: Model, pooling: str, layers: list[int] | None) -> None:
    over_http = remote.pooled(TEXTS, layers, pooling)
    here = local.pooled(TEXTS, layers, pooling)
    assert over_http.shape == here.shape
    assert over_http.dtype == np.float32
    np.testing.assert_allclose(over_http, here, rtol=1e-5, atol=1e-5)


def test_every_token(remote: RemoteModel, local: Model) -> None:
    here = {each.index: each for each in local.capture(TEXTS, [1, 3], "tokens", limit=6)}
    for each in remote.capture(TEXTS, [1, 3], "tokens", limit=6):
        assert each.ids.tolist() == here[each.index].ids.tolist()
        assert each.cut == here[each.index].cut
        np.testing.assert_allclose(each.residuals, here[each.index].residuals, rtol=1e-5, atol=1e-5)


def test_the_answer_of_a_chat(remote: RemoteModel, local: Model) -> None:
    texts = [Exchange("Hello", "Good day."), Exchange("Who are you?", "A model.", "Be brief.")]
    np.testing.assert_allclose(
        remote.pooled(texts, [2], "answer"), local.pooled(texts, [2], "answer"), rtol=1e-5, atol=1e-5
    )


def test_no_texts_are_no_residuals(remote: RemoteModel) -> None:
    assert remote.pooled([], [1, 2]).shape == (0, 2, remote.info.width)


@pytest.mark.parametrize(
    ("texts", "layers", "pooling", "words"),
    [
        (["a", " "], None, "mean", "text 2 is empty"),
        (["a"], [9], "mean", "layer 9 is out of range: fake has layers 0 to 5"),
        (["a"], None, "median", "pooling"),
        (["x" * 600], None, "mean", "shorten it"),
        ([Marked("a")], None, "mean", "text 1 has special tokens"),
    ],
)
def test_what_cannot_be_captured_is_a_usage_error(
    remote: RemoteModel,
    texts: list[str],
    layers: list[int] | None,
    pooling: str,
    words: str,
) -> None:
    with pytest.raises(lp.UsageError, match=words):
        remote.pooled(texts, layers, pooling)


def test_texts_that_are_too_many_for_one_request_are_sent_in_halves(
    remote: RemoteModel, local: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max(len(local.engine.encode(text)) for text in TEXTS)
    monkeypatch.setattr(capturing, "MOST_TOKENS", longest)
    np.testing.assert_allclose(remote.pooled(TEXTS, [1]), local.pooled(TEXTS, [1]), rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(capturing, "MOST_TOKENS", longest - 1)
    with pytest.raises(OutOfMemory, match="send fewer at a time"):
        remote.pooled(TEXTS, [1])
