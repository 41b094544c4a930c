"""The views of a logit lens."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from localprobe.fake import FakeEngine
from localprobe.lens.result import Lens
from localprobe.model import Model
from localprobe.vectors.vector import Direction, Origin, Vector


@pytest.fixture
def found(engine: FakeEngine) -> Lens:
    row = np.random.default_rng(3).standard_normal(32).astype(np.float32)
    vector = Vector("<kind>", Origin("fake"), {4: Direction(row)}, 4)
    return Model(engine).lens("It is", vector=vector, top=3)


def test_a_frame_has_one_row_per_layer_position_and_rank(found: Lens) -> None:
    frame = found.to_frame()
    assert len(frame) == 6 * 6 * 3
    at = frame[(frame.layer == 2) & (frame.position == 1) & (frame["rank"] == 2)].iloc[0]
    assert (at.token, at.id, at.logprob) == ("I", found.top[2, 1, 1], found.logprobs[2, 1, 1])
    assert found.scores is not None
    assert at.score == found.scores.values[1]
    assert "score" not in replace(found, scores=None).to_frame()


def test_json_holds_all_of_it(found: Lens) -> None:
    told = json.loads(json.dumps(found.to_json()))
    assert told["probe"] == {"concept": "<kind>", "layer": 4}
    assert [token["text"] for token in told["tokens"]] == ["<|bos|>", "I", "t", " ", "i", "s"]
    row = told["tokens"][1]["lens"][2]
    assert (row["layer"], [each["id"] for each in row["next"]]) == (2, found.top[2, 1].tolist())
    assert row["following"] == pytest.approx(float(found.following[2, 1]))
    assert told["tokens"][-1]["lens"][0]["following"] is None


def test_a_page_is_safe_and_complete(found: Lens) -> None:
    page = found.page()
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert "&lt;kind&gt;" in page
    assert "&lt;|bos|&gt;" in page
    assert "<kind>" not in page
    assert page.count("<tr>") == 1 + 6
    assert page.count("<td") == 6 * (6 + 1)
    first = found.texts[int(found.top[5, 1, 0])]
    assert f"layer 5 after I\n{np.exp(found.logprobs[5, 1, 0]):.1%} {first}" in page
    assert found._repr_html_() in page


def test_a_short_repr(found: Lens) -> None:
    assert repr(found) == "<Lens of fake: 6 tokens, 6 layers, scored by '<kind>' at layer 4>"


def test_a_plot_has_a_cell_for_each_layer_and_token(found: Lens) -> None:
    from matplotlib.figure import Figure

    axis = found.plot(Figure().subplots())
    drawn = axis.images[0].get_array()
    assert drawn is not None
    np.testing.assert_allclose(drawn, np.exp(found.logprobs[:, :, 0]))
    assert [label.get_text() for label in axis.get_xticklabels()] == ["<|bos|>", "I", "t", "␣", "i", "s"]
